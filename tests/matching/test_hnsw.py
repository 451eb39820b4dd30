"""The join through a graph: what it gives are pairs, and nearly all of them."""

from __future__ import annotations

import numpy as np
import pytest
from unit_vectors import brute_force, faces

from facededup.matching import hnsw
from facededup.matching.hnsw import hnsw_join


def joined(vectors, cut, group):
    blocks = list(hnsw_join(vectors, cut, group=group))
    for block in blocks:
        assert (block.a < block.b).all()
        assert (group[block.a] != group[block.b]).all()
    found = {
        (a, b): cosine
        for block in blocks
        for a, b, cosine in zip(block.a.tolist(), block.b.tolist(), block.cosine.tolist(), strict=True)
    }
    assert len(found) == sum(map(len, blocks))
    return found


@pytest.mark.parametrize("answers", [2, 32])
def test_it_finds_nearly_all_pairs_also_of_faces_with_more_than_it_asks_for_at_first(monkeypatch, answers):
    monkeypatch.setattr(hnsw, "FIRST_ANSWERS", answers)
    monkeypatch.setattr(hnsw, "BLOCK", 500)
    monkeypatch.setattr(hnsw, "VERIFIED_AT_ONCE", 1000)
    vectors = faces(40, 40, 0.35, 32)
    group = np.arange(len(vectors)) // 2
    expected = brute_force(vectors, 0.8, group)
    cosines = dict(
        zip(zip(expected.a.tolist(), expected.b.tolist(), strict=True), expected.cosine.tolist(), strict=True)
    )
    found = joined(vectors, 0.8, group)
    assert len(cosines) > 20_000
    assert len(found) >= 0.99 * len(cosines)
    assert all(cosines[pair] == cosine for pair, cosine in found.items())


def test_a_cut_that_takes_everything_and_one_that_takes_nothing():
    vectors = faces(30, 3, 0.5, 16)
    group = np.arange(90)
    assert len(joined(vectors, -1.0, group)) == 90 * 89 // 2
    assert joined(vectors, 1.0, group) == {}
    assert joined(vectors[:1], -1.0, group[:1]) == {}
