from __future__ import annotations

import numpy as np
import pytest
from fastcluster import average
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from unit_vectors import block_of, brute_force, faces, normalised

from facededup.matching import clusters
from facededup.matching.clusters import average_linkage
from facededup.matching.flat import exact_cosine
from facededup.store.base import PairBlock


@pytest.fixture(
    params=["rounds first", "chains only", "rounds only", "by levels", "densely", "in parts"], autouse=True
)
def way(request, monkeypatch):
    """Everything must hold whichever of the two ways of merging does the work, and in how many levels."""
    allowed = {"chains only": 0, "rounds only": 10**9}
    monkeypatch.setattr(clusters, "PAIRS_PER_MERGE", allowed.get(request.param, clusters.PAIRS_PER_MERGE))
    if request.param == "in parts":
        monkeypatch.setattr(clusters, "FACES_AT_ONCE", 5)
    if request.param in ("by levels", "densely"):
        monkeypatch.setattr(clusters, "MOST_EDGES", 50)
        monkeypatch.setattr(clusters, "BINS", 100)
        monkeypatch.setattr(clusters, "DENSE_CLUSTERS", 0 if request.param == "by levels" else 10_000)


def linked(vectors: np.ndarray, cut: float, pairs: PairBlock | None = None, **options) -> np.ndarray:
    pairs = brute_force(vectors, cut) if pairs is None else pairs
    labels = average_linkage(len(vectors), lambda: iter([pairs]), lambda rows: vectors[rows], cut, **options)
    assert labels.dtype == np.int64
    assert (labels[labels] == labels).all()
    assert (labels <= np.arange(len(labels))).all()
    return labels


def by_matrix(vectors: np.ndarray, cut: float) -> np.ndarray:
    """Average linkage of the whole distance matrix; labels are lowest rows."""
    a, b = np.triu_indices(len(vectors), 1)
    tree = average(1 - exact_cosine(vectors[a], vectors[b]))
    flat = fcluster(tree, 1 - cut, criterion="distance")
    _, first, which = np.unique(flat, return_index=True, return_inverse=True)
    return first[which]


@st.composite
def face_sets(draw):
    return faces(
        people=draw(st.integers(1, 40)),
        each=draw(st.integers(2, 8)),
        noise=draw(st.sampled_from([0.1, 0.5, 1.0])),
        dimension=draw(st.sampled_from([2, 8, 128])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@settings(deadline=None, max_examples=50)
@given(face_sets(), st.sampled_from([-1.0, 0.0, 0.4, 0.6, 0.8, 0.9, 0.97]))
def test_equal_to_average_linkage_of_the_whole_matrix(vectors, cut):
    assert linked(vectors, cut).tolist() == by_matrix(vectors, cut).tolist()


@pytest.mark.parametrize("cut", [0.5, 0.6, 0.8])
def test_equal_to_the_whole_matrix_where_most_faces_hang_together(cut):
    strangers = faces(500, 1, 0.5, seed=1)
    vectors = np.concatenate([strangers, faces(30, 10, 0.6, seed=2), faces(3, 60, 0.4, seed=3)])
    assert linked(vectors, cut).tolist() == by_matrix(vectors, cut).tolist()


def test_order_and_cutting_of_the_pairs_do_not_matter():
    vectors = faces(60, 5, 0.7)
    pairs = brute_force(vectors, 0.6)
    order = np.random.default_rng(0).permutation(len(pairs))
    shuffled = block_of(pairs.a[order], pairs.b[order], pairs.cosine[order])
    expected = linked(vectors, 0.6)
    assert linked(vectors, 0.6, shuffled).tolist() == expected.tolist()

    def pieces():
        for start in range(0, len(shuffled), 100):
            part = slice(start, start + 100)
            yield block_of(shuffled.a[part], shuffled.b[part], shuffled.cosine[part])
            yield block_of([], [], [])

    found = average_linkage(len(vectors), pieces, lambda rows: vectors[rows], 0.6)
    assert found.tolist() == expected.tolist()


def test_pairs_below_the_cut_and_pairs_given_twice_change_nothing():
    vectors = faces(40, 5, 0.7)
    more = brute_force(vectors, 0.3)
    twice = block_of(*(np.concatenate([part, part]) for part in (more.a, more.b, more.cosine)))
    assert linked(vectors, 0.6, twice).tolist() == linked(vectors, 0.6).tolist()


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 40), st.sampled_from([0.5, 0.7, 0.9]), st.integers(0, 2**32 - 1))
def test_weights_are_repeated_vectors(count, cut, seed):
    vectors = faces(count, 2, 0.8, 8, seed)
    weights = np.random.default_rng(seed).integers(1, 5, len(vectors))
    repeated = np.repeat(vectors, weights, axis=0)
    first = np.cumsum(weights) - weights
    expected = by_matrix(repeated, cut)[first]
    assert first[linked(vectors, cut, weights=weights)].tolist() == expected.tolist()


def test_vectors_are_asked_for_in_ascending_order_and_only_those_in_a_pair():
    vectors = np.concatenate([faces(30, 3, 0.05), -np.eye(32, dtype=np.float32)])
    asked = []

    def gather(rows):
        assert (np.diff(rows) > 0).all()
        asked.extend(rows.tolist())
        return vectors[rows]

    pairs = brute_force(vectors, 0.9)
    average_linkage(len(vectors), lambda: iter([pairs]), gather, 0.9)
    assert sorted(asked) == sorted(set(pairs.a.tolist() + pairs.b.tolist()))


def test_nothing_to_merge():
    vectors = faces(3, 1, 0.1)
    assert linked(vectors[:0], 0.5).tolist() == []
    assert linked(vectors[:1], 0.5).tolist() == [0]
    assert linked(vectors, 0.5, block_of([], [], [])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("count", [2, 3, 100, 400])
def test_many_equal_faces_are_one_even_at_cut_one(count):
    for seed in range(5):
        assert not linked(np.repeat(faces(1, 1, 0.1, 128, seed), count, axis=0), 1.0).any()


def test_a_mean_at_the_cut_merges_whatever_rounding_makes_of_it():
    for seed in range(20):
        one, other = faces(2, 1, 0.1, 32, seed)
        cut = float(exact_cosine(one[None], other[None])[0])
        assert not linked(np.stack((one, one, other)), cut).any()


def test_faces_without_a_pair_meet_through_others():
    """Faces of one image are no pair: alone they stay apart, with a third face they come together."""
    vectors = normalised(np.array([[1.0, 0.1], [1.0, 0.12], [1.0, 0.0]]))
    pair_of_third = block_of([0, 1], [2, 2], exact_cosine(vectors[:2], vectors[[2, 2]]))
    assert linked(vectors, 0.9, pair_of_third).tolist() == [0, 0, 0]
    assert linked(vectors, 0.9, block_of([], [], [])).tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 60), st.floats(0, 0.9), st.integers(0, 2**32 - 1))
def test_missing_pairs_leave_connected_clusters(count, dropped, seed):
    vectors = faces(count, 2, 0.8, 4, seed)
    pairs = brute_force(vectors, 0.7)
    kept = np.random.default_rng(seed).random(len(pairs)) >= dropped
    some = block_of(pairs.a[kept], pairs.b[kept], pairs.cosine[kept])
    labels = linked(vectors, 0.7, some)
    inside = labels[some.a] == labels[some.b]
    graph = coo_array((np.ones(inside.sum()), (some.a[inside], some.b[inside])), shape=(len(vectors),) * 2)
    assert connected_components(graph, directed=False)[0] == len(np.unique(labels))


@pytest.mark.parametrize("way", ["rounds first", "chains only"], indirect=True)
def test_a_long_chain_of_rising_cosines_ends_soon(way):
    """One merger a round: the worst case for merging in rounds alone."""
    count = 3_000
    vectors = np.full((count, 4), 0.5, np.float32)
    path = block_of(np.arange(count - 1), np.arange(1, count), np.linspace(0.9, 0.999, count - 1))
    assert not linked(vectors, 0.9, path).any()
