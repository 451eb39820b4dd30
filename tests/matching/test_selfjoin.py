from __future__ import annotations

import threading
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_info
from unit_vectors import Rows, block_of, brute_force, faces, normalised

from facededup.matching import screen as screen_module
from facededup.matching import selfjoin
from facededup.matching.flat import exact_cosine
from facededup.matching.planning import plan_search
from facededup.matching.screen import Screen
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
    assert found.cosine.tolist() == expected.cosine.tolist()


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


def screen_of(vectors: np.ndarray, axes: int) -> Screen:
    """The strongest axes of the vectors themselves."""
    wide = vectors.astype(np.float64)
    return Screen(np.linalg.eigh(wide.T @ wide)[1][:, ::-1][:, :axes])


@settings(deadline=None, max_examples=60)
@given(sets(), st.sampled_from([13, 30, 64, 4096]), st.integers(0, 3), st.data())
def test_a_screened_join_is_brute_force_whatever_the_axes(made, block, axes, data):
    vectors, group, cut = made
    screen = screen_of(vectors, min(axes, vectors.shape[1]))
    since = data.draw(st.integers(0, len(vectors)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selfjoin, "STRIP", 16)
        patch.setattr(selfjoin, "SECTION", 24)
        patch.setattr(screen_module, "TILE", 7)
        patch.setattr(screen_module, "PROJECTED_AT_ONCE", 10)
        patch.setattr(selfjoin, "VERIFIED_AT_ONCE", 5)
        found = joined(vectors, cut, group, block=block, screen=screen, since=since)
    expected = brute_force(vectors, cut, group)
    late = expected.b >= since
    assert_same(found, block_of(expected.a[late], expected.b[late], expected.cosine[late]))


@settings(deadline=None, max_examples=40)
@given(sets(), st.sampled_from([13, 30, 4096]), st.data())
def test_only_pairs_with_a_later_row(made, block, data):
    vectors, group, cut = made
    since = data.draw(st.integers(0, len(vectors)))
    expected = brute_force(vectors, cut, group)
    late = expected.b >= since
    found = joined(vectors, cut, group, block=block, since=since)
    assert_same(found, block_of(expected.a[late], expected.b[late], expected.cosine[late]))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 16, 128]), st.sampled_from([0.0, 1e-8, 1e-4, 1.0]))
def test_the_bound_is_never_below_the_cosine(seed, dimension, noise):
    """Also where it is tight: vectors whose rests are parallel, or all in the first axes."""
    random = np.random.default_rng(seed)
    axes = random.integers(1, dimension)
    rotation = np.linalg.qr(random.standard_normal((dimension, dimension)))[0]
    first = random.standard_normal((40, axes)) * random.choice([1e-6, 1.0, 1e3])
    rest = np.outer(random.standard_normal(40), random.standard_normal(dimension - axes))
    vectors = np.column_stack((first, rest)) @ rotation.T
    vectors = normalised(vectors + noise * random.standard_normal(vectors.shape) + 1e-12)
    screen = Screen(rotation[:, :axes])
    short = screen.project(vectors)
    a, b = np.triu_indices(40)
    bound = (short @ short.T)[a, b].astype(np.float64)
    assert (bound + screen.slack >= exact_cosine(vectors[a], vectors[b]) + 1e-6).all()


@settings(deadline=None, max_examples=40)
@given(sets(), st.sampled_from([13, 30, 4096]), st.booleans(), st.data())
def test_two_sets_across(made, block, screened, data):
    vectors, group, cut = made
    between = data.draw(st.integers(0, len(vectors)))
    expected = brute_force(vectors, cut, group)
    across = (expected.a < between) & (expected.b >= between)
    screen = screen_of(vectors, 2) if screened else None
    found = joined(vectors, cut, group, block=block, since=between, until=between, screen=screen)
    assert_same(found, block_of(expected.a[across], expected.b[across], expected.cosine[across]))


def test_a_plan_screens_faces_takes_all_axes_for_noise_and_none_where_nearly_all_is_near():
    random = np.random.default_rng(0)
    people = random.standard_normal((4000, 256))
    noise = Rows(normalised(people))
    plan = plan_search(noise, 0.3)
    assert plan.screen is not None
    assert plan.screen.whole
    assert plan_search(noise, -0.5).screen is None
    people[:, 12:] *= 0.02
    plan = plan_search(Rows(normalised(people)), 0.9)
    assert plan.screen is not None
    assert plan.screen.axes.shape[1] < 64
    assert 0 < plan.seconds(10**6) < 60


def test_a_plan_needs_no_more_than_two_vectors_even_equal_ones():
    vectors = np.repeat(faces(1, 1, 0.1), 2, axis=0)
    plan = plan_search(Rows(vectors), 1.0)
    assert len(joined(vectors, 1.0, screen=plan.screen)) == 1


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

    vectors = faces(25, 4, 0.5)
    for screen in (None, screen_of(vectors, 8)):
        for since, total in ((0, 5050), (40, 5050 - 820)):
            progress = Counted()
            joined(vectors, 0.9, block=30, progress=progress, screen=screen, since=since)
            told = (progress.step, progress.total, progress.done, progress.over)
            assert told == ("search", total, total, True)


def test_an_abandoned_join_leaves_no_threads_and_gives_blas_back():
    vectors = faces(400, 4, 0.5)
    before = threading.active_count()
    threads = [pool["num_threads"] for pool in threadpool_info()]
    blocks = self_join(Rows(vectors), 0.5, group=np.arange(1600), block=100, screen=screen_of(vectors, 8))
    next(blocks)
    blocks.close()
    assert threading.active_count() == before
    assert [pool["num_threads"] for pool in threadpool_info()] == threads


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
