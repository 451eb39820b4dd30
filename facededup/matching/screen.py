"""A cheap upper bound of the cosine that rules out nearly all pairs of faces before they are compared.

Embeddings of faces have few real dimensions. Rotated so that the strong ones come first, two unit vectors
have the inner product x.y = x1.y1 + x2.y2, where x1 holds the first m coordinates and x2 the rest, and
x2.y2 is at most |x2| |y2|. So the inner product of (x1, |x2|) with (y1, |y2|), m + 1 numbers each, is never
below the cosine. What it leaves is compared in full. Nothing is lost, whatever the data; on data without
strong dimensions it would not pay, which a sample tells beforehand: then all coordinates are multiplied.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.parallel import one_blas_thread, usable_cores
from facededup.matching.source import VectorSource
from facededup.types import Floats

Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]

STRIP = 1024
TILE = 256
"""A strip of queries is multiplied with so many base vectors at a time: 1 MiB of products, for the cache."""

SAMPLE_RUNS = 16
RUN = 256
"""The sample is so many runs of so many rows each, spread evenly: runs are cheap to read."""

GAIN = 0.9
"""Fewer axes than all are used where they are expected to take less than this part of the time."""

DENSE = 1 / 16
"""Where more than this part of all couples are pairs, tiles of a fixed size would hold too many of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Screen:
    """A rotation's first axes: float64 (d, m), orthonormal; with all of them the bound is the cosine."""

    axes: Doubles

    @property
    def whole(self) -> bool:
        """Whether no axis is left out."""
        return bool(self.axes.shape[0] == self.axes.shape[1])

    def project(self, vectors: Floats) -> Floats:
        """The first coordinates and the length of the rest.

        Args:
            vectors: float32 (k, d), L2-normalised to 1 within 1e-6.

        Returns:
            float32 (k, m + 1); the vectors themselves where no axis is left out.
        """
        if self.whole:
            return vectors
        wide = vectors.astype(np.float64)
        first = wide @ self.axes
        rest = np.einsum("ij,ij->i", wide, wide) - np.einsum("ij,ij->i", first, first)
        return np.column_stack((first, np.sqrt(np.maximum(rest, 0.0)))).astype(np.float32)

    @property
    def slack(self) -> float:
        """How far the bound as computed can be below an exact cosine, at most.

        A float32 product of m + 1 terms is off by (m + 1) 2^-24 at most, in whatever order it is summed
        (taken twice here); rounding the coordinates adds 2e-7, the square root of a cancelled difference
        3e-7, and vectors that are not quite normalised 2e-6.
        """
        return float(4e-6 + (self.axes.shape[1] + 2) * 2.0**-23)


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """How to search exactly, and what it will cost.

    Attributes:
        screen: The bound to use, None where so much is near that none would rule out anything.
        comparison_seconds: Of one core for one comparison.
    """

    screen: Screen | None
    comparison_seconds: float

    def seconds(self, comparisons: int) -> float:
        """Expected wall time on all cores."""
        return comparisons * self.comparison_seconds / usable_cores()


def scan(queries: Floats, base: Floats, least: float) -> tuple[Rows, Rows]:
    """All inner products at or above a value, tile by tile.

    Args:
        queries: float32 (k, c); `STRIP` rows or so are fastest.
        base: float32 (n, c).
        least: The value.

    Returns:
        Rows of `queries` and rows of `base`, int64, in no order.
    """
    product = np.empty((len(queries), TILE), np.float32)
    found_i, found_j = [], []
    for start in range(0, len(base), TILE):
        part = base[start : start + TILE]
        if len(part) < TILE:
            product = np.empty((len(queries), len(part)), np.float32)
        np.matmul(queries, part.T, out=product)
        hits = np.flatnonzero(product >= np.float32(least))
        if len(hits):
            i, j = np.divmod(hits, len(part))
            found_i.append(i)
            found_j.append(j + start)
    if not found_i:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate(found_i), np.concatenate(found_j)


def plan_search(source: VectorSource, cut: float) -> SearchPlan:
    """Chooses the number of axes by timing some on a sample of the vectors.

    Args:
        source: n vectors, at least 2.
        cut: Lowest cosine of a pair.
    """
    with one_blas_thread():
        return _fastest(source, cut)


def _fastest(source: VectorSource, cut: float) -> SearchPlan:
    queries, base = _samples(source)
    axes = _strongest_axes(np.concatenate((queries, base)))
    verify = _seconds(lambda: np.einsum("ij,ij->i", queries[_FEW % len(queries)], base[_FEW % len(base)]))
    verify /= len(_FEW)

    def cost(screen: Screen) -> tuple[float, float]:
        """Seconds of a comparison, and the part of the couples that is left."""
        left, right = screen.project(queries[:STRIP]), screen.project(base)
        least, couples = cut - screen.slack, len(left) * len(right)
        found = len(scan(left, right, least)[0])
        return (_seconds(lambda: scan(left, right, least)) + verify * found) / couples, found / couples

    best = Screen(axes)
    spent, near = cost(best)
    if near > DENSE:
        return SearchPlan(None, spent)
    lowest, limit = spent, spent * GAIN
    for m in _candidates(source.dimension):
        spent, _ = cost(Screen(axes[:, :m]))
        if spent < min(lowest, limit):
            best, lowest = Screen(axes[:, :m]), spent
        elif not best.whole and spent > 1.5 * lowest:
            break
    return SearchPlan(best, lowest)


_FEW = np.random.default_rng(0).integers(0, 1 << 30, 8192)


def _candidates(dimension: int) -> list[int]:
    """Numbers of axes worth trying; one more than each is a multiple of 16, which multiplies fastest."""
    steps = (32, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024)
    return [step - 1 for step in steps if step < 0.8 * dimension]


def _samples(source: VectorSource) -> tuple[Floats, Floats]:
    """Two halves of a sample; neighbours, which are often one person, are in the same half."""
    count = len(source)
    if count <= SAMPLE_RUNS * RUN:
        rows = source.rows(0, count)
        return rows[: (count + 1) // 2], rows[count // 2 :]
    starts = np.linspace(0, count - RUN, SAMPLE_RUNS).astype(int).tolist()
    runs = [source.rows(start, start + RUN) for start in starts]
    return np.concatenate(runs[::2]), np.concatenate(runs[1::2])


def _strongest_axes(sample: Floats) -> Doubles:
    """All axes of the sample's second moments, not centred, by falling energy: float64 (d, d)."""
    wide = sample.astype(np.float64)
    axes: Doubles = np.linalg.eigh(wide.T @ wide)[1][:, ::-1]
    return axes


def _seconds(action: Callable[[], object]) -> float:
    """The least of three."""
    spent = []
    for _ in range(3):
        started = time.perf_counter()
        action()
        spent.append(time.perf_counter() - started)
    return min(spent)
