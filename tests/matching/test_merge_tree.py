"""The tree, cut at any height, gives the clusters of average linkage at that cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from unit_vectors import faces

from facededup.matching import merge_tree as module
from facededup.matching.clusters import average_linkage
from facededup.matching.constraints import join, link, separate, spread
from facededup.matching.flat import exact_cosine
from facededup.matching.graph_clusters import connected_components
from facededup.matching.merge_order import Bonds
from facededup.matching.merge_tree import merge_tree, merge_trees
from facededup.store.base import PairBlock


def leaves(tree, n):
    """The members below every node."""
    found = [{member} for member in range(n)]
    for left, right in zip(tree.left, tree.right, strict=True):
        found.append(found[left] | found[right])
    return found


def cut(tree, n, height):
    """The clusters at one height, as sets of members."""
    below = leaves(tree, n)
    parts = {member: below[member] for member in range(n)}
    lower = np.flatnonzero(tree.height < height)
    for step in range(lower[0] if len(lower) else n - 1):
        for member in below[n + step]:
            parts[member] = below[n + step]
    return {frozenset(part) for part in parts.values()}


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0.3, 0.95))
def test_a_cut_tree_is_average_linkage(people, each, seed, height):
    vectors = faces(people + 1, each, 0.7, 16, seed=seed)
    n = len(vectors)
    tree = merge_tree(vectors, np.ones(n, np.int64))
    assert (np.diff(tree.height) <= 1e-12).all()
    labels = fcluster(
        linkage(1 - np.clip(vectors @ vectors.T, -1, 1)[np.triu_indices(n, 1)], "average"),
        1 - height,
        "distance",
    )
    expected = {frozenset(np.flatnonzero(labels == label).tolist()) for label in set(labels.tolist())}
    assert cut(tree, n, height) == expected


@pytest.mark.parametrize("count", [2, 3, 50])
def test_equal_faces_hold_together_up_to_one(count):
    for seed in range(10):
        vectors = np.repeat(faces(1, 1, 0.1, 128, seed), count, axis=0)
        tree = merge_tree(vectors, np.ones(count, np.int64))
        assert all((column == 1.0).all() for column in (tree.height, tree.lowest, tree.mean))


def assert_node_knows_its_cosines(tree, step, vectors):
    """Of the members of a node; gives all their cosines."""
    first, second = np.triu_indices(len(vectors), 1)
    cosines = exact_cosine(vectors[first], vectors[second])
    assert tree.lowest[step] == pytest.approx(cosines.min(), abs=1e-9)
    assert tree.mean[step] == pytest.approx(cosines.mean(), abs=1e-9)
    return cosines


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_every_node_knows_its_weakest_link_and_mean(n, seed):
    vectors = faces(n, 1, 0.2, 8, seed=seed)
    tree = merge_tree(vectors, np.ones(n, np.int64))
    for step, members in enumerate(leaves(tree, n)[n:]):
        some = np.array(sorted(members))
        cosine = assert_node_knows_its_cosines(tree, step, vectors[some])
        weakest = tree.weakest[step]
        assert set(weakest.tolist()) <= members
        assert exact_cosine(vectors[weakest[:1]], vectors[weakest[1:]])[0] == pytest.approx(
            cosine.min(), abs=1e-9
        )


def test_weights_count_as_so_many_equal_faces():
    vectors = faces(6, 1, 0.2, 8, seed=3)
    weights = np.array([1, 3, 1, 1, 2, 1])
    weighted = merge_tree(vectors, weights)
    spread = merge_tree(np.repeat(vectors, weights, axis=0), np.ones(9, np.int64))
    # The repeated faces merge among themselves first, at cosine 1.
    assert weighted.height == pytest.approx(spread.height[3:], abs=1e-6)


def test_many_trees_lie_one_after_the_other(monkeypatch):
    monkeypatch.setattr(module, "TREE_UP_TO", 4)
    sizes = np.array([2, 1, 4, 2, 5])
    vectors = faces(14, 1, 0.2, 8, seed=5)
    place = np.random.default_rng(0).permutation(14)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    trees = merge_trees(vectors, place, offsets, np.ones(14, np.int64))
    assert len(trees.height) == 14 - 5
    assert np.isnan(trees.height[5:]).all()
    for first, start, size in ((0, 0, 2), (1, 3, 4), (4, 7, 2)):
        own = merge_tree(vectors[place[start : start + size]], np.ones(size, np.int64))
        for name in ("left", "right", "height", "lowest", "mean", "weakest"):
            rows = getattr(trees, name)[first : first + size - 1]
            if name == "weakest":
                rows = np.sort(rows)
                assert (rows == np.sort(own.weakest)).all()
            elif size > 2 or name not in ("left", "right"):
                assert rows == pytest.approx(getattr(own, name))


@settings(deadline=None, max_examples=150)
@given(st.integers(2, 5), st.integers(1, 4), st.integers(0, 2**32 - 1), st.floats(0.3, 0.95), st.booleans())
def test_a_cut_tree_obeys_what_find_obeys(people, each, seed, height, single):
    """Faces of one image, decisions, copies: the same groups as by the modules that `find` uses."""
    random = np.random.default_rng(seed)
    vectors = faces(people, each, 0.7, 16, seed=seed)
    n = len(vectors)
    image = np.where(random.random(n) < 0.15, 0, np.arange(n))
    weights = random.choice([1, 1, 1, 3], n)
    couples = np.stack(np.triu_indices(n, 1), axis=1)
    together = couples[random.random(len(couples)) < 0.1]
    apart = couples[random.random(len(couples)) < 0.1]
    person, _ = link(n, together, apart)
    apart = apart[person[apart[:, 0]] != person[apart[:, 1]]]
    kept_apart = spread(apart, person)
    a, b = couples[image[couples[:, 0]] != image[couples[:, 1]]].T
    cosine = exact_cosine(vectors[a], vectors[b])
    # Two faces of one image that are alike make mergers possible that were not before: order matters then.
    twins = vectors[image == 0]
    assume(np.triu(twins @ twins.T, 1).max(initial=-1) < height)
    block = PairBlock(a[cosine >= height], b[cosine >= height], cosine[cosine >= height], cosine < 0)
    if single:
        labels = separate(connected_components(n, lambda: iter([block]), height), kept_apart, lambda: [block])
    else:
        labels = average_linkage(
            n, lambda: iter([block]), vectors.__getitem__, height, weights=weights, apart=kept_apart
        )
    joined = join(labels, person, kept_apart)
    # Where joining two clusters would break a decision, `find` takes the decided faces out of both.
    assume(all(len(set(joined[labels == label])) == 1 for label in set(labels.tolist())))
    offsets = np.array([0, n])
    bonds = Bonds(image, person, kept_apart)
    [tree] = [merge_trees(vectors, np.arange(n), offsets, weights, bonds=bonds, single=single)]
    expected = {frozenset(np.flatnonzero(joined == label).tolist()) for label in set(joined.tolist())}
    assert cut(tree, n, height) == expected
    assert leaves(tree, n)[-1] == set(range(n))
    for step, members in enumerate(leaves(tree, n)[n:]):
        some = np.array(sorted(members))
        assert_node_knows_its_cosines(tree, step, vectors[some])


def test_two_faces_of_one_image_need_a_third_to_meet():
    vectors = np.array([[1, 0.02, 0], [1, 0, 0], [1, 0.6, 0], [1, 0.58, 0.1]], np.float32)
    alone = Bonds(np.array([0, 0, 1, 2]), np.arange(4), np.empty((0, 2), np.int64))
    tree = merge_trees(vectors, np.arange(4), np.array([0, 4]), np.ones(4, np.int64), bonds=alone)
    assert cut(tree, 4, 0.95) == {frozenset({0}), frozenset({1}), frozenset({2, 3})}
    assert cut(tree, 4, 0.85) == {frozenset({0, 1, 2, 3})}


def test_bonds_of_many_clusters_at_once_are_those_of_each():
    random = np.random.default_rng(8)
    sizes = np.array([3, 4, 3, 1, 4, 2, 3, 2])
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    n = int(offsets[-1])
    vectors = faces(n, 1, 0.2, 8, seed=6)
    together = np.arange(n)
    together[[1, 13]] = [0, 12]
    apart = np.array([[3, 5], [4, 6], [8, 7], [18, 17]])
    bonds = Bonds(np.where(random.random(n) < 0.2, 0, np.arange(n)), together, apart)
    weights = random.choice([1, 2], n)
    trees = merge_trees(vectors, np.arange(n), offsets, weights, bonds=bonds)
    for number, (start, stop) in enumerate(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)):
        own = merge_trees(
            vectors[start:stop],
            np.arange(stop - start),
            np.array([0, stop - start]),
            weights[start:stop],
            bonds=bonds.between(start, stop),
        )
        for name in ("left", "right", "height", "lowest", "mean", "weakest"):
            rows = getattr(trees, name)[start - number : stop - number - 1]
            assert rows == pytest.approx(getattr(own, name))
    assert np.isposinf(trees.height).sum() == 2
    assert np.isneginf(trees.height).any()
