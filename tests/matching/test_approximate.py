from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_vectors import Rows, block_of, brute_force, faces, normalised

from facededup.matching import approximate
from facededup.matching.approximate import (
    Lists,
    RecallMeter,
    approximate_join,
    enough_visits,
    tune_lists,
    wilson_interval,
)
from facededup.matching.selfjoin import self_join
from facededup.store.base import PairBlock


def joined(vectors: np.ndarray, lists: Lists, cut: float, group: np.ndarray) -> PairBlock:
    blocks = list(approximate_join(vectors, lists, cut, group=group))
    assert all(len(block) and (block.a < block.b).all() for block in blocks)
    a, b, cosine = (
        np.concatenate([getattr(block, name) for block in [block_of([], [], []), *blocks]])
        for name in ("a", "b", "cosine")
    )
    order = np.lexsort((b, a))
    return block_of(a[order], b[order], cosine[order])


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60), st.integers(1, 9), st.floats(-0.2, 1.0))
def test_it_finds_once_each_pair_of_which_one_end_visits_the_list_of_the_other(seed, count, lists, cut):
    random = np.random.default_rng(seed)
    vectors = faces(count, 2, 0.4, 8, seed=seed)
    count = len(vectors)
    each = random.integers(1, lists + 1)
    visits = np.argsort(random.random((count, lists)), axis=1)[:, :each].astype(np.int16)
    group = random.integers(0, count, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(approximate, "STRIP", 7)
        patch.setattr(approximate, "BLOCK", 11)
        patch.setattr(approximate, "VERIFIED_AT_ONCE", 3)
        found = joined(vectors, Lists(lists, visits), cut, group)
    expected = brute_force(vectors, cut, group)
    met = [
        visits[b, 0] in visits[a] or visits[a, 0] in visits[b]
        for a, b in zip(expected.a, expected.b, strict=True)
    ]
    met = np.array(met, bool)
    assert found.a.tolist() == expected.a[met].tolist()
    assert found.b.tolist() == expected.b[met].tolist()
    assert found.cosine.tolist() == expected.cosine[met].tolist()


def test_tuned_lists_reach_their_target_with_few_visits_and_the_meter_says_so():
    vectors = faces(1500, 4, 0.35, 32)
    group = np.arange(len(vectors))
    cut = 0.85
    exact = np.concatenate([block.a for block in self_join(Rows(vectors), cut, group=group)])
    lists = tune_lists(vectors, cut, 0.99, group=group)
    assert 1 <= lists.visits.shape[1] < lists.count / 4
    meter = RecallMeter(len(vectors))
    found = joined(vectors, lists, cut, group)
    assert list(meter.counted([found])) == [found]
    recall = meter.measure(Rows(vectors), cut, group=group, screen=None)
    assert len(found) / len(exact) >= 0.99
    assert recall.value == pytest.approx(len(found) / len(exact), abs=0.004)
    assert recall.low < recall.value <= recall.high
    assert recall.queries == 5000


def test_misses_that_come_together_are_weaker_evidence():
    """Forty of 10,000 pairs need a second visit: those of forty queries, or all ten of four."""
    query = np.repeat(np.arange(1000), 10)
    needed = np.ones(10_000, np.int64)
    needed[:400:10] = 2
    assert enough_visits(needed, query, allowed=0.006, most=9) == 1
    together = np.sort(needed)[::-1]
    assert enough_visits(together, query, allowed=0.006, most=9) == 2
    assert enough_visits(together, query, allowed=0.0085, most=9) == 1
    assert enough_visits(needed + 20, query, allowed=0.006, most=9) == 9
    assert enough_visits(needed[:0], query[:0], allowed=0.006, most=9) == 1


def test_the_meter_sees_what_is_missing():
    vectors = faces(300, 4, 0.35, 32)
    group = np.arange(len(vectors))
    exact = brute_force(vectors, 0.85)
    half = slice(0, len(exact), 2)
    meter = RecallMeter(len(vectors))
    list(meter.counted([block_of(exact.a[half], exact.b[half], exact.cosine[half])]))
    recall = meter.measure(Rows(vectors), 0.85, group=group, screen=None)
    assert recall.value == pytest.approx(0.5, abs=0.001)
    assert recall.pairs == 2 * len(exact)
    everything = RecallMeter(len(vectors))
    list(everything.counted([exact]))
    assert everything.measure(Rows(vectors), 0.85, group=group, screen=None).value == 1.0


def test_faces_without_a_pair_say_nothing_of_the_recall():
    lone = normalised(np.eye(128, dtype=np.float32))
    couples = np.repeat(lone[:20], 2, axis=0)
    vectors = np.concatenate((couples, lone[20:]))
    exact = brute_force(vectors, 0.9)
    found = block_of(exact.a[:15], exact.b[:15], exact.cosine[:15])
    meter = RecallMeter(len(vectors))
    list(meter.counted([found]))
    recall = meter.measure(Rows(vectors), 0.9, group=np.arange(len(vectors)), screen=None)
    assert (recall.value, recall.queries, recall.pairs) == (0.75, len(vectors), 40)
    assert (recall.low, recall.high) == wilson_interval(30 / 40, 40)


def test_equal_vectors_and_no_pairs_at_all():
    vectors = np.repeat(faces(1, 1, 0.1), 50, axis=0)
    group = np.arange(50)
    assert len(joined(vectors, tune_lists(vectors, 1.0, 0.999, group=group), 1.0, group)) == 50 * 49 // 2
    lone = np.eye(32, dtype=np.float32)
    lists = tune_lists(lone, 0.5, 0.999, group=group[:32])
    assert len(joined(lone, lists, 0.5, group[:32])) == 0
    recall = RecallMeter(32).measure(Rows(lone), 0.5, group=group[:32], screen=None)
    assert (recall.value, recall.low, recall.high) == (1.0, 0.0, 1.0)


def test_wilson_intervals_as_published():
    """Newcombe, Statistics in Medicine 17 (1998), table I."""
    assert wilson_interval(81 / 263, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson_interval(15 / 148, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson_interval(0 / 20, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson_interval(1 / 29, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson_interval(1.0, 0) == (0.0, 1.0)
