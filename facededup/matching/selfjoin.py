"""Every pair of vectors at or above a cosine: the upper triangle of all blocks, streamed, exact.

Inner products in float32 differ in the last bits between block sizes and engines. So the search goes a little
below the cut, and a pair near it is decided in float64 by `flat.exact_cosine`: every block size and every
engine gives the same pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, range_search
from facededup.progress import Progress, SilentProgress
from facededup.store.base import PairBlock
from facededup.types import Floats

MARGIN = 1e-5
"""Pairs whose cosine is this near to the cut are decided in float64."""

DENSE_TILE = 1 << 19
"""Pairs a tile may be expected to give before it is searched in strips; each takes about 100 bytes."""

ROUNDING = 1e-6
"""No float32 inner product of unit vectors is further off; an estimate counts this much below its cut."""

BINS = 20_000
"""Resolution of an estimate's histogram: 1e-4 at the loosest cut, -1."""


class VectorSource(Protocol):
    """Vectors that are read block by block: float32, L2-normalised to 1 within 1e-6, no NaN."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop, float32 (stop - start, dimension)."""


def self_join(
    source: VectorSource,
    cut: float,
    *,
    group: NDArray[np.int64],
    block: int = 4096,
    progress: Progress | None = None,
) -> Iterator[PairBlock]:
    """All pairs of rows whose cosine is at least the cut, leaving out pairs of one group.

    Memory holds two blocks of vectors and the pairs of one tile, whatever the cut gives in all.

    Args:
        source: n vectors.
        cut: Lowest cosine of a pair, -1 to 1.
        group: int64 (n,), the image of each face; two rows of one group are never a pair.
        block: Rows read and searched at a time.
        progress: Receives the step `search`, in comparisons.

    Yields:
        The pairs of one tile or strip of it, as rows a < b, sorted by (a, b) within; `new` is all False.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    progress = progress or SilentProgress()
    count = len(source)
    progress.start("search", count * (count + 1) // 2)
    for top in range(0, count, block):
        queries = source.rows(top, min(top + block, count))
        for left in range(top, count, block):
            base = queries if left == top else source.rows(left, min(left + block, count))
            diagonal = left == top
            # On the diagonal a strip needs nothing to the left of its own first row: two save a quarter.
            for first, last in _strips(queries, base, cut, least=2 if diagonal else 1):
                skip = first if diagonal else 0
                found = _join_tile(
                    queries[first:last], base[skip:], top=top + first, left=left + skip, cut=cut, group=group
                )
                if len(found):
                    yield found
            size = len(queries)
            progress.advance(size * (size + 1) // 2 if diagonal else size * len(base))
    progress.finish()


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


def _join_tile(
    queries: Floats, base: Floats, *, top: int, left: int, cut: float, group: NDArray[np.int64]
) -> PairBlock:
    """The pairs between two runs of rows that begin at rows `top` and `left` >= `top`."""
    i, j, found = range_search(queries, base, cut - 2 * MARGIN)
    a, b = i + top, j + left
    wanted = (a < b) & (group[a] != group[b])
    i, j, a, b, cosine = i[wanted], j[wanted], a[wanted], b[wanted], found[wanted].astype(np.float64)
    near = np.flatnonzero(cosine <= cut + MARGIN)
    for start in range(0, len(near), 65_536):
        some = near[start : start + 65_536]
        cosine[some] = exact_cosine(queries[i[some]], base[j[some]])
    kept = np.flatnonzero(cosine >= cut)
    kept = kept[np.argsort(i[kept] * len(base) + j[kept], kind="stable")]
    return PairBlock(a[kept], b[kept], np.minimum(cosine[kept], 1.0), np.zeros(len(kept), np.bool_))


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
    queries = _gather(source, drawn, block)
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


def _gather(source: VectorSource, rows: NDArray[np.int64], block: int) -> Floats:
    """Some rows, given in ascending order."""
    found = np.empty((len(rows), source.dimension), np.float32)
    for start in range(0, len(source), block):
        low, high = np.searchsorted(rows, (start, start + block))
        if high > low:
            found[low:high] = source.rows(start, min(start + block, len(source)))[rows[low:high] - start]
    return found
