from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from unit_vectors import Rows, block_of, brute_force, faces, normalised

from facededup.matching import selfjoin
from facededup.matching.selfjoin import estimate_pairs, self_join
from facededup.store.base import PairBlock


def joined(vectors: np.ndarray, cut: float, group: np.ndarray | None = None, **options) -> PairBlock:
    """All blocks of a join as one, by (a, b); checks what every block promises."""
    group = np.arange(len(vectors)) if group is None else group
    blocks = list(self_join(Rows(vectors), cut, group=group, **options))
    for block in blocks:
        assert len(block) > 0
        assert (block.a.dtype, block.b.dtype, block.cosine.dtype) == (np.int64, np.int64, np.float64)
        assert not block.new.any()
        keys = block.a * len(vectors) + block.b
        assert (np.diff(keys) > 0).all()
    empty = block_of([], [], [])
    a, b, cosine = (
        np.concatenate([getattr(block, name) for block in [empty, *blocks]]) for name in ("a", "b", "cosine")
    )
    order = np.lexsort((b, a))
    return block_of(a[order], b[order], cosine[order])


def assert_same(found: PairBlock, expected: PairBlock) -> None:
    assert found.a.tolist() == expected.a.tolist()
    assert found.b.tolist() == expected.b.tolist()
    np.testing.assert_allclose(found.cosine, expected.cosine, atol=2e-6)


@st.composite
def sets(draw):
    """Unit vectors with near and exact duplicates, groups, and a cut that is often one of the cosines."""
    count = draw(st.integers(0, 90))
    dimension = draw(st.sampled_from([2, 3, 8, 33]))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vectors = random.standard_normal((count, dimension))
    vectors[:, 0] += draw(st.sampled_from([0.0, 3.0]))
    if count:
        source = random.integers(0, count, count // 2)
        vectors[random.integers(0, count, count // 2)] = vectors[source]
        vectors += draw(st.sampled_from([0.0, 1e-7, 1e-3])) * random.standard_normal(vectors.shape)
    vectors = normalised(vectors)
    group = random.integers(0, max(1, count // draw(st.sampled_from([1, 3]))), count)
    cut = draw(st.sampled_from([-1.0, 0.0, 0.5, 0.9, 1.0]) | st.floats(-1, 1))
    if count > 1 and draw(st.booleans()):
        cosines = brute_force(vectors, -1.0).cosine
        cut = float(cosines[draw(st.integers(0, len(cosines) - 1))])
    return vectors, group, cut


@settings(deadline=None, max_examples=60)
@given(sets(), st.sampled_from([13, 29, 30, 31, 64, 4096]))
def test_the_join_is_brute_force_for_every_block_size(made, block):
    vectors, group, cut = made
    assert_same(joined(vectors, cut, group, block=block), brute_force(vectors, cut, group))


@pytest.mark.parametrize("block", [1, 2, 3])
def test_blocks_of_a_row_or_two(block):
    vectors = faces(4, 3, 0.5)
    assert_same(joined(vectors, 0.6, block=block), brute_force(vectors, 0.6))


@settings(deadline=None, max_examples=30)
@given(sets())
@example((normalised(np.ones((40, 5))), np.arange(40), 1.0))
def test_strips_of_a_dense_tile_lose_nothing(made):
    vectors, group, cut = made
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selfjoin, "DENSE_TILE", 5)
        assert_same(joined(vectors, cut, group, block=64), brute_force(vectors, cut, group))


def test_pairs_at_the_cut_are_kept_and_just_below_it_dropped():
    vectors = faces(60, 5, 0.6)
    cosines = np.unique(brute_force(vectors, 0.6).cosine)
    for cut in cosines[:: len(cosines) // 12]:
        found = joined(vectors, float(cut), block=128)
        assert found.cosine.min() == cut
        above = joined(vectors, float(np.nextafter(cut, 2)), block=128)
        assert len(above) == len(found) - np.count_nonzero(found.cosine == cut)


def test_equal_vectors_have_cosine_one_even_at_cut_one():
    vectors = np.repeat(faces(20, 1, 0.1, 128), 3, axis=0)
    found = joined(vectors, 1.0)
    assert len(found) == 60
    assert (found.cosine == 1.0).all()
    assert joined(vectors, 0.5).cosine.max() == 1.0


def test_no_vectors_or_one_give_no_pairs():
    vectors = faces(2, 1, 0.1)
    assert len(joined(vectors[:0], -1.0)) == 0
    assert len(joined(vectors[:1], -1.0)) == 0
    assert len(joined(vectors, -1.0)) == 1


def test_progress_covers_every_comparison():
    class Counted:
        def start(self, step, total):
            self.step, self.total, self.done, self.over = step, total, 0, False

        def advance(self, amount=1):
            self.done += amount

        def finish(self):
            self.over = True

    progress = Counted()
    vectors = faces(25, 4, 0.5)
    joined(vectors, 0.9, block=30, progress=progress)
    assert (progress.step, progress.total, progress.done, progress.over) == ("search", 5050, 5050, True)


def test_a_join_that_gives_everything_holds_little():
    vectors = faces(800, 5, 0.3, 8)
    source = Rows(vectors)
    tracemalloc.start()
    pairs = sum(len(block) for block in self_join(source, -1.0, group=np.arange(len(vectors))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pairs == 4000 * 3999 // 2
    # All of them at once would take 25 bytes each and more.
    assert peak < 110 * selfjoin.DENSE_TILE < 8e6 * 25
    assert source.most <= 4096


def test_an_estimate_from_all_rows_is_the_count():
    vectors = faces(40, 5, 0.6)
    group = np.arange(200) // 2
    for cut in (-1.0, 0.5, 0.8, 0.999):
        estimate = estimate_pairs(Rows(vectors), cut, group=group, block=64)
        assert estimate.pairs == len(brute_force(vectors, cut, group))


def test_an_estimate_from_a_sample_is_near_the_count_and_repeatable():
    vectors = faces(300, 10, 0.6)
    exact = len(joined(vectors, 0.6))
    estimate = estimate_pairs(Rows(vectors), 0.6, group=np.arange(3000))
    assert estimate.pairs == pytest.approx(exact, rel=0.15)
    again = estimate_pairs(Rows(vectors), 0.6, group=np.arange(3000), block=100)
    assert again.pairs == estimate.pairs


@pytest.mark.parametrize("maximum", [0, 10, 100, 1000, 10_000])
def test_the_named_cut_fits_and_is_not_far_too_high(maximum):
    vectors = faces(40, 5, 0.6)
    group = np.arange(200)
    estimate = estimate_pairs(Rows(vectors), 0.3, group=group)
    cut = estimate.cut_for(maximum)
    assert estimate_pairs(Rows(vectors), cut, group=group).pairs <= maximum
    below = len(brute_force(vectors, cut - 0.001, group))
    assert cut == 0.3 or below > maximum


def test_the_named_cut_is_one_where_nothing_fits_and_the_old_where_all_does():
    vectors = np.repeat(faces(2, 1, 0.1), 10, axis=0)
    estimate = estimate_pairs(Rows(vectors), 0.5, group=np.arange(20))
    assert estimate.cut_for(10) == 1.0
    assert estimate.cut_for(1000) == 0.5
    assert estimate_pairs(Rows(vectors), 1.0, group=np.arange(20)).pairs == 90
    assert estimate_pairs(Rows(vectors[:0]), 0.5, group=np.arange(0)).pairs == 0
