from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components as components_of
from unit_vectors import block_of, brute_force, faces

from facededup.matching.graph_clusters import chinese_whispers, connected_components


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 40), st.integers(0, 60), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_components_are_those_of_scipy(count, edges, blocks, seed):
    random = np.random.default_rng(seed)
    ends = np.sort(random.integers(0, count, (edges if count > 1 else 0, 2)), axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]]
    cosine = random.random(len(ends))
    parts = [block_of(ends[k::blocks, 0], ends[k::blocks, 1], cosine[k::blocks]) for k in range(blocks)]
    labels = connected_components(count, lambda: iter(parts), 0.3)
    kept = ends[cosine >= 0.3]
    graph = coo_array((np.ones(len(kept)), (kept[:, 0], kept[:, 1])), (count, count))
    expected = components_of(graph, directed=False)[1] if count else np.empty(0)
    assert ((labels[:, None] == labels) == (expected[:, None] == expected)).all()
    assert all(labels[row] == np.flatnonzero(labels == labels[row])[0] for row in range(count))


def test_whispers_tell_people_apart_and_always_the_same():
    vectors = faces(20, 6, 0.3, 64)
    pairs = brute_force(vectors, 0.75)
    labels = chinese_whispers(len(vectors), lambda: iter([pairs]), 0.75)
    again = chinese_whispers(len(vectors), lambda: iter([pairs]), 0.75)
    assert labels.tolist() == again.tolist()
    exact = connected_components(len(vectors), lambda: iter([pairs]), 0.75)
    assert len(np.unique(exact)) == 20
    assert labels.tolist() == exact.tolist()


def test_whispers_do_not_follow_one_weak_link_and_ignore_what_is_below_the_cut():
    a, b = np.triu_indices(5, 1)
    ends = np.concatenate((a, a + 5)), np.concatenate((b, b + 5))
    cosine = np.full(len(ends[0]), 0.9)
    pairs = block_of(np.append(ends[0], 4), np.append(ends[1], 5), np.append(cosine, 0.51))
    assert chinese_whispers(10, lambda: iter([pairs]), 0.5).tolist() == [0] * 5 + [5] * 5
    assert connected_components(10, lambda: iter([pairs]), 0.5).tolist() == [0] * 10
    assert chinese_whispers(10, lambda: iter([pairs]), 0.95).tolist() == list(range(10))
    assert chinese_whispers(3, lambda: iter([]), 0.5).tolist() == [0, 1, 2]
