from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import connected_components
from unit_vectors import faces, normalised

from facededup.matching import shape
from facededup.matching.flat import exact_cosine
from facededup.matching.shape import bridges, describe_clusters


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(1, 9), max_size=12), st.integers(0, 2**32 - 1), st.sampled_from([3, 200]))
def test_shapes_are_those_of_all_pairs(sizes, seed, largest):
    random = np.random.default_rng(seed)
    count = sum(sizes)
    vectors = faces(count + 1, 1, 0.1, 8, seed=seed)
    place = random.permutation(count + 1)[:count]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape, "STACKED", 100)
        patch.setattr(shape, "STACKED_UP_TO", largest)
        patch.setattr(shape, "BLOCK", 2)
        shapes = describe_clusters(vectors, place, offsets, 0.5)
    for number, size in enumerate(sizes):
        members = vectors[place[offsets[number] : offsets[number + 1]]]
        if size == 1:
            assert (shapes.min_cosine[number], shapes.mean_cosine[number]) == (1.0, 1.0)
            assert shapes.medoid[number] == offsets[number]
            continue
        a, b = np.triu_indices(size, 1)
        cosine = exact_cosine(members[a], members[b])
        assert shapes.min_cosine[number] == pytest.approx(cosine.min(), abs=1e-12)
        assert shapes.mean_cosine[number] == pytest.approx(cosine.mean(), abs=1e-12)
        means = np.zeros(size)
        np.add.at(means, a, cosine)
        np.add.at(means, b, cosine)
        chosen = shapes.medoid[number] - offsets[number]
        assert 0 <= chosen < size
        assert means[chosen] == pytest.approx(means.max(), abs=1e-12)


@pytest.mark.parametrize("size", [2, 3, 30, 300])
def test_equal_faces_have_cosine_one(size):
    for seed in range(10):
        vectors = np.repeat(faces(1, 1, 0.1, 128, seed), size, axis=0)
        shapes = describe_clusters(vectors, np.arange(size), np.array([0, size]), 1.0)
        assert (shapes.min_cosine[0], shapes.mean_cosine[0]) == (1.0, 1.0)


@settings(deadline=None, max_examples=80)
@given(st.integers(1, 12), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_bridges_are_the_faces_that_scipy_says_split_the_graph(count, density, seed):
    near = np.triu(np.random.default_rng(seed).random((count, count)) < density, 1)
    near |= near.T
    expected = []
    whole = connected_components(near)[1]
    for vertex in range(count):
        others = np.flatnonzero((whole == whole[vertex]) & (np.arange(count) != vertex))
        parts = connected_components(near[np.ix_(others, others)])[1] if len(others) else np.empty(0, int)
        expected.append(bool((np.bincount(parts) >= 2).sum() >= 2))
    assert bridges(near).tolist() == expected


@pytest.mark.parametrize("stacked", [3, 200])
def test_a_face_between_two_people_is_a_bridge_and_an_outlier_is_none(monkeypatch, stacked):
    monkeypatch.setattr(shape, "STACKED_UP_TO", stacked)
    monkeypatch.setattr(shape, "BLOCK", 2)
    one, other = np.eye(16)[0], np.eye(16)[1]
    between = one + other
    small = 0.02 * np.random.default_rng(0).standard_normal((7, 16))
    vectors = normalised(np.array([one, one, one, between, other, other, other]) + small)
    offsets = np.array([0, 7])
    # Half way between: cosine 0.71 to both sides, which have none with each other.
    shapes = describe_clusters(vectors, np.arange(7), offsets, 0.6)
    assert shapes.bridge.tolist() == [False] * 3 + [True] + [False] * 3
    assert shapes.medoid.tolist() == [3]
    outlier = describe_clusters(vectors[:5], np.arange(5), np.array([0, 5]), 0.6)
    assert not outlier.bridge.any()


def test_the_worst_cosine_is_not_below_minus_one():
    for angle in np.linspace(0, 3, 40):
        opposite = normalised(np.array([[np.cos(angle), np.sin(angle)]]) * [[1], [-1], [1]])
        shapes = describe_clusters(opposite, np.arange(3), np.array([0, 3]), -1.0)
        assert -1.0 <= shapes.min_cosine[0] < -1.0 + 1e-12


def test_bridges_of_a_large_cluster_are_found_and_of_a_huge_one_not_looked_for(monkeypatch):
    one, other = np.eye(16)[0], np.eye(16)[1]
    people = np.repeat([one, one + other, other], [1_000, 1, 1_000], axis=0)
    vectors = normalised(people + 0.02 * np.random.default_rng(0).standard_normal(people.shape))
    shapes = describe_clusters(vectors, np.arange(2_001), np.array([0, 2_001]), 0.6)
    assert np.flatnonzero(shapes.bridge).tolist() == [1_000]
    monkeypatch.setattr(shape, "BRIDGES_UP_TO", 2_000)
    assert not describe_clusters(vectors, np.arange(2_001), np.array([0, 2_001]), 0.6).bridge.any()
