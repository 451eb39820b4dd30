"""The tree, cut at any height, gives the clusters of average linkage at that cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from unit_vectors import faces

from facededup.matching import merge_tree as module
from facededup.matching.flat import exact_cosine
from facededup.matching.merge_tree import merge_tree, merge_trees


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
    for step in np.flatnonzero(tree.height >= height).tolist():
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


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_every_node_knows_its_weakest_link_and_mean(n, seed):
    vectors = faces(n, 1, 0.2, 8, seed=seed)
    tree = merge_tree(vectors, np.ones(n, np.int64))
    for step, members in enumerate(leaves(tree, n)[n:]):
        some = np.array(sorted(members))
        a, b = np.triu_indices(len(some), 1)
        cosine = exact_cosine(vectors[some[a]], vectors[some[b]])
        assert tree.lowest[step] == pytest.approx(cosine.min(), abs=1e-9)
        assert tree.mean[step] == pytest.approx(cosine.mean(), abs=1e-9)
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
