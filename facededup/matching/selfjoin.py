"""Every pair of vectors at or above a cosine: the upper triangle of all blocks, streamed, exact.

Inner products in float32 differ in the last bits between block sizes and engines. So a search goes a little
below the cut, and what it finds is decided in float64 by `flat.exact_cosine`: every block size, every engine
and every search after a search gives the same pairs with the same cosines.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, range_search
from facededup.matching.parallel import in_parallel, read_ahead
from facededup.matching.screen import STRIP, Screen, scan
from facededup.matching.source import VectorSource, gather
from facededup.progress import Progress, SilentProgress
from facededup.store.base import PairBlock
from facededup.types import Floats

COMPARED_BLOCK = 4096
"""Rows read at a time where FAISS compares them."""

SCREENED_BLOCK = 32_768
"""Rows read at a time where a screen does; a block is projected anew for each that it is compared with."""

BLOCK_COORDINATES = 1 << 23
"""Of a screened block at most: 32 MiB."""

MARGIN = 1e-5
"""No float32 cosine is further off than this; every candidate's own is then computed in float64."""

SECTION = 4096
"""Base vectors a screened strip is searched in as one task, which holds the pairs it finds."""

VERIFIED_AT_ONCE = 2_048
"""Candidates whose vectors are gathered side by side: 1 MiB a side at 128 dimensions, for the cache."""

BlockPair = tuple[int, Floats, int, Floats]

Part = tuple[PairBlock, int, int]
"""Some pairs, how many comparisons are done with them, and the first row of their column of blocks."""

DENSE_TILE = 1 << 19
"""Pairs a tile may be expected to give before it is searched in strips; each takes about 100 bytes."""

ROUNDING = 1e-6
"""No float32 inner product of unit vectors is further off; an estimate counts this much below its cut."""

BINS = 20_000
"""Resolution of an estimate's histogram: 1e-4 at the loosest cut, -1."""


def self_join(
    source: VectorSource,
    cut: float,
    *,
    group: NDArray[np.int64],
    since: int = 0,
    until: int | None = None,
    screen: Screen | None = None,
    block: int | None = None,
    progress: Progress | None = None,
    covered: Callable[[int], None] | None = None,
) -> Iterator[PairBlock]:
    """All pairs of rows whose cosine is at least the cut, leaving out pairs of one group.

    Memory holds a few blocks of vectors and the pairs of a few tiles, whatever the cut gives in all; the next
    block is read while one is searched. The blocks come column by column of the upper triangle, so that at
    any moment all pairs between the first so many rows are found: a search with that number as `since`
    continues there.

    Args:
        source: n vectors.
        cut: Lowest cosine of a pair, -1 to 1.
        group: int64 (n,), the image of each face; two rows of one group are never a pair.
        since: Only pairs whose later row is at least this.
        until: Only pairs whose earlier row is below this; None for no such bound, else at most `since`. With
            both the same the rows before are compared with those from there on, and neither with their own.
        screen: Rules out most pairs first; without it FAISS compares all of them.
        block: Rows read and searched at a time; None takes what suits the search.
        progress: Receives the step `search`, in comparisons.
        covered: Told, when a column of blocks is through and its pairs were taken, how many rows that covers.

    Yields:
        The pairs of one tile or strip of it, as rows a < b, sorted by (a, b) within; `new` is all False.
        Cosines are those of `exact_cosine`: the same whatever the search and its blocks.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    progress = progress or SilentProgress()
    count = len(source)
    progress.start("search", comparisons(count, since, until))
    block = block or _block_size(screen, source.dimension)
    with closing(read_ahead(block_pairs(source, since, until, block))) as blocks:
        search = (
            _compare_all(blocks, cut, group) if screen is None else _screen_all(blocks, cut, group, screen)
        )
        yield from deliver(search, since, progress, covered)
        if covered is not None:
            covered(count)
    progress.finish()


def _block_size(screen: Screen | None, dimension: int) -> int:
    """Rows to read at a time."""
    if screen is None:
        return COMPARED_BLOCK
    return max(COMPARED_BLOCK, min(SCREENED_BLOCK, BLOCK_COORDINATES // dimension))


def deliver(
    parts: Generator[Part], since: int, progress: Progress, covered: Callable[[int], None] | None
) -> Iterator[PairBlock]:
    """The pairs of a join's parts; tells how far it is, and of each column that is through."""
    through = since
    with closing(parts):
        for found, compared, left in parts:
            if left > through and covered is not None:
                covered(left)
            through = max(through, left)
            if len(found):
                yield found
            progress.advance(compared)


def comparisons(count: int, since: int = 0, until: int | None = None) -> int:
    """Pairs of rows a <= b with b >= since and a < until."""
    if until is not None:
        return until * (count - since)
    return count * (count + 1) // 2 - since * (since + 1) // 2


def block_pairs(source: VectorSource, since: int, until: int | None, block: int) -> Iterator[BlockPair]:
    """The upper triangle from column `since` on, block by block.

    Args:
        source: n vectors.
        since: As for `self_join`.
        until: As for `self_join`.
        block: Rows read at a time.

    Yields:
        First row and vectors of the queries, then of the base; on the diagonal both are the same.
    """
    count = len(source)
    edges = {*range(0, since, block), *range(since, count, block), until or 0, count}
    starts = sorted(edges - {count})
    stops = [*starts[1:], count]
    for k, (left, stop) in enumerate(zip(starts, stops, strict=False)):
        if left < since:
            continue
        base = source.rows(left, stop)
        for top, bottom in zip(starts[: k + 1], stops, strict=False):
            if until is not None and top >= until:
                break
            yield top, base if top == left else source.rows(top, bottom), left, base


def compared_pairs(top: int, queries: Floats, left: int, base: Floats) -> int:
    """Comparisons of a pair of blocks, those below the diagonal left out."""
    return comparisons(len(queries)) if left == top else len(queries) * len(base)


def _compare_all(blocks: Iterator[BlockPair], cut: float, group: NDArray[np.int64]) -> Generator[Part]:
    """By FAISS."""
    for top, queries, left, base in blocks:
        diagonal = left == top
        # On the diagonal a strip needs nothing to the left of its own first row: two save a quarter.
        strips = _strips(queries, base, cut, least=2 if diagonal else 1)
        for first, last in strips:
            skip = first if diagonal else 0
            i, j, _ = range_search(queries[first:last], base[skip:], cut - 2 * MARGIN)
            found = exact_pairs(
                queries[first:last],
                base[skip:],
                i,
                j,
                top=top + first,
                left=left + skip,
                cut=cut,
                group=group,
            )
            yield found, compared_pairs(top, queries, left, base) if last == len(queries) else 0, left


def _screen_all(
    blocks: Iterator[BlockPair], cut: float, group: NDArray[np.int64], screen: Screen
) -> Generator[Part]:
    """By strips on all cores."""

    def tasks() -> Iterator[Callable[[], Part]]:
        projected_left, short_base = -1, np.empty((0, 0), np.float32)
        for top, queries, left, base in blocks:
            if left != projected_left:
                projected_left, short_base = left, screen.project(base)
            short_queries = short_base if left == top else screen.project(queries)
            for first in range(0, len(queries), STRIP):
                some = slice(first, first + STRIP)
                # Strictly below the diagonal there is nothing to find.
                for begin in range(first if left == top else 0, len(base), SECTION):
                    part = slice(begin, begin + SECTION)
                    yield partial(
                        search_strip,
                        (queries[some], base[part]),
                        (short_queries[some], short_base[part]),
                        cut - screen.slack,
                        top=top + first,
                        left=(left, begin),
                        cut=cut,
                        group=group,
                    )

    yield from in_parallel(tasks())


def search_strip(
    vectors: tuple[Floats, Floats],
    short: tuple[Floats, Floats],
    least: float,
    *,
    top: int,
    left: tuple[int, int],
    cut: float,
    group: NDArray[np.int64],
) -> Part:
    """The pairs of a strip of queries with a section of a block, by a screen: one task of a core.

    Args:
        vectors: Of the queries and of the section, float32 (k, d) and (n, d).
        short: The same as the screen projects them.
        least: Lowest bound of a pair: the cut less the screen's slack.
        top: Row of the first query among all vectors.
        left: Row of the block's first vector among all, and of the section's first vector within the block.
        cut: Lowest cosine of a pair.
        group: int64, as for `self_join`.
    """
    queries, base = vectors
    first_column = sum(left)
    i, j = scan(*short, least)
    upper = np.flatnonzero(i + top < j + first_column)
    near = []
    for start in range(0, len(upper), VERIFIED_AT_ONCE):
        some = upper[start : start + VERIFIED_AT_ONCE]
        cosine = np.einsum("ij,ij->i", queries.take(i[some], axis=0), base.take(j[some], axis=0))
        near.append(some[cosine >= cut - 2 * MARGIN])
    kept = np.concatenate(near) if near else upper
    found = exact_pairs(queries, base, i[kept], j[kept], top=top, left=first_column, cut=cut, group=group)
    rows, columns = np.arange(top, top + len(queries)), first_column + len(base)
    return found, int(np.clip(columns - np.maximum(rows, first_column), 0, None).sum()), left[0]


def _strips(queries: Floats, base: Floats, cut: float, least: int = 1) -> list[tuple[int, int]]:
    """Cuts a large tile into strips of queries so that none gives far more than `DENSE_TILE` pairs.

    Every 64th query tells how dense the tile is; the fewer strips the faster, but never fewer than `least`.
    """
    pieces = 1
    if len(queries) * len(base) > DENSE_TILE:
        # Not by numpy's own product: its threads and FAISS's would fight for the cores, at half the speed.
        hits = len(range_search(queries[::64], base, cut)[0])
        pieces = min(len(queries), max(least, 1 + 64 * hits // DENSE_TILE))
    edges = np.linspace(0, len(queries), pieces + 1).astype(int).tolist()
    return list(itertools.pairwise(edges))


def exact_pairs(
    queries: Floats,
    base: Floats,
    i: NDArray[np.int64],
    j: NDArray[np.int64],
    *,
    top: int,
    left: int,
    cut: float,
    group: NDArray[np.int64],
) -> PairBlock:
    """Of candidates between two runs of rows that begin at rows `top` and `left`, those that are pairs.

    Args:
        queries: float32 (m, d), the rows from `top` on.
        base: float32 (n, d), the rows from `left` on.
        i: int64 (p,), rows of `queries`.
        j: int64 (p,), rows of `base`.
        top: Row of the first query among all vectors.
        left: Row of the first base vector among all vectors.
        cut: Lowest cosine of a pair.
        group: int64, as for `self_join`.

    Returns:
        Rows a < b among all vectors, sorted by (a, b), with the cosines of `exact_cosine`.
    """
    a, b = i + top, j + left
    wanted = np.flatnonzero((a < b) & (group[a] != group[b]))
    wanted = wanted[np.argsort(a[wanted] * len(group) + b[wanted], kind="stable")]
    cosine = np.empty(len(wanted), np.float64)
    for start in range(0, len(wanted), VERIFIED_AT_ONCE):
        some = wanted[start : start + VERIFIED_AT_ONCE]
        cosine[start : start + len(some)] = exact_cosine(queries[i[some]], base[j[some]])
    kept = cosine >= cut
    wanted = wanted[kept]
    return PairBlock(a[wanted], b[wanted], cosine[kept], np.zeros(len(wanted), np.bool_))


@dataclass(frozen=True, slots=True, eq=False)
class PairEstimate:
    """How many pairs a cut gives, judged from a random sample of rows.

    Attributes:
        pairs: Estimated number at the cut; exact where every row was sampled.
        lowest: The cut.
        above: float64 (BINS,): estimated number at or above each of BINS cuts from `lowest` up to 1.
    """

    pairs: float
    lowest: float
    above: NDArray[np.float64]

    def cut_for(self, maximum: int) -> float:
        """The lowest cut (to a bin's width) estimated to give at most `maximum` pairs, 1.0 if none does."""
        # `above` falls, so its mirror is sorted.
        fitting = int(np.searchsorted(self.above[::-1], maximum, side="right"))
        return self.lowest + (1.0 - self.lowest) * (len(self.above) - fitting) / len(self.above)


def estimate_pairs(
    source: VectorSource,
    cut: float,
    *,
    group: NDArray[np.int64],
    sample: int = 512,
    seed: int = 0,
    block: int = 4096,
) -> PairEstimate:
    """Estimates how many pairs `self_join` would give, by searching a random sample of rows in all rows.

    Costs `2 * sample / n` of the join itself.

    Args:
        source: n vectors.
        cut: Lowest cosine of a pair.
        group: int64 (n,), as for `self_join`.
        sample: Rows to draw, without repetition.
        seed: Of the draw.
        block: Rows read at a time.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    count = len(source)
    drawn = np.sort(np.random.default_rng(seed).choice(count, min(sample, count), replace=False))
    queries = gather(source, drawn, block)
    counts = np.zeros(BINS, np.int64)
    lowest = float(np.nextafter(np.float32(cut - ROUNDING), np.float32(-2)))
    width = max(1.0 - cut, ROUNDING) / BINS
    for left in range(0, count, block):
        base = source.rows(left, min(left + block, count))
        for first, last in _strips(queries, base, cut):
            i, j, cosine = range_search(queries[first:last], base, lowest)
            rows, others = drawn[first:last][i], j + left
            cosine = cosine[(rows != others) & (group[rows] != group[others])].astype(np.float64)
            places = np.minimum((cosine - lowest) / width, BINS - 1).astype(np.int64)
            counts += np.bincount(places, minlength=BINS)
    above = counts[::-1].cumsum()[::-1] * (count / max(1, len(drawn)) / 2)
    return PairEstimate(float(above[0]), cut, above)
