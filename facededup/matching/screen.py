"""A cheap upper bound of the cosine that rules out nearly all pairs of faces before they are compared.

Embeddings of faces have few real dimensions. Rotated so that the strong ones come first, two unit vectors
have the inner product x.y = x1.y1 + x2.y2, where x1 holds the first m coordinates and x2 the rest, and
x2.y2 is at most |x2| |y2|. So the inner product of (x1, |x2|) with (y1, |y2|), m + 1 numbers each, is never
below the cosine. What it leaves is compared in full. Nothing is lost, whatever the data; on data without
strong dimensions it would not pay (see `planning`): then all coordinates are multiplied.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.types import Floats

Rows = NDArray[np.int64]
Doubles = NDArray[np.float64]

STRIP = 1024
TILE = 256
"""A strip of queries is multiplied with so many base vectors at a time: 1 MiB of products, for the cache."""

PROJECTED_AT_ONCE = 2048
"""Vectors widened to float64 at a time: 2 MiB at 128 dimensions, for the cache."""


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
        short = np.empty((len(vectors), self.axes.shape[1] + 1), np.float32)
        for start in range(0, len(vectors), PROJECTED_AT_ONCE):
            some = slice(start, start + PROJECTED_AT_ONCE)
            wide = vectors[some].astype(np.float64)
            first = wide @ self.axes
            rest = np.einsum("ij,ij->i", wide, wide) - np.einsum("ij,ij->i", first, first)
            short[some, :-1], short[some, -1] = first, np.sqrt(np.maximum(rest, 0.0))
        return short

    @property
    def slack(self) -> float:
        """How far the bound as computed can be below an exact cosine, at most.

        A float32 product of m + 1 terms is off by (m + 1) 2^-24 at most, in whatever order it is summed
        (taken twice here); rounding the coordinates adds 2e-7, the square root of a cancelled difference
        3e-7, and vectors that are not quite normalised 2e-6.
        """
        return float(4e-6 + (self.axes.shape[1] + 2) * 2.0**-23)


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
