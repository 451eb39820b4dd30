"""What average linkage keeps of clusters: sums, sizes, what took what in, and which must stay apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from facededup.matching.constraints import Enemies
from facededup.matching.flat import row_dots
from facededup.types import Floats

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

EQUAL = 1e-12
"""Means no further apart count as equal: rounding differs with what was merged before, and makes the mean of
faces that are the same to the last bit a little less than 1."""
READ_ROWS = 65_536
CHUNK = 1 << 18
"""Coordinates of float64 multiplied at a time: 2 MiB an array, which stays in the cache."""


class Clusters:
    """Sums, sizes and parents of clusters numbered 0 to k - 1; a merged one points to what took it in."""

    def __init__(self, sums: Doubles, sizes: Doubles) -> None:
        self.sums = sums
        self.sizes = sizes
        self.parent = np.arange(len(sums))
        self.enemies = Enemies()

    @classmethod
    def of_faces(cls, rows: Ints, vectors: Callable[[Ints], Floats], weights: Ints | None) -> Clusters:
        """One cluster a face."""
        sizes = np.ones(len(rows)) if weights is None else weights[rows].astype(np.float64)
        sums: Doubles | None = None
        for start in range(0, len(rows), READ_ROWS):
            read = vectors(rows[start : start + READ_ROWS])
            if sums is None:
                sums = np.empty((len(rows), read.shape[1]))
            step = max(1, CHUNK // read.shape[1])
            for first in range(0, len(read), step):
                wide = normalised_rows(read[first : first + step])
                some = slice(start + first, start + first + len(wide))
                sums[some] = wide * sizes[some, None]
        assert sums is not None
        return cls(sums, sizes)

    def means(self, u: NDArray[np.integer], v: NDArray[np.integer]) -> Doubles:
        """Mean cosines between clusters, the same with `u` and `v` exchanged; `u` may be one for all `v`."""
        result = np.empty(len(v))
        step = max(1, CHUNK // self.sums.shape[1])
        for start in range(0, len(v), step):
            left, right = u if len(u) == 1 else u[start : start + step], v[start : start + step]
            dots = row_dots(self.sums[left], self.sums[right])
            result[start : start + step] = dots / (self.sizes[left] * self.sizes[right])
        return result

    def merge(self, keep: NDArray[np.integer], gone: NDArray[np.integer]) -> None:
        """Puts each cluster of `gone` into the one of `keep`; no cluster occurs twice."""
        step = max(1, CHUNK // self.sums.shape[1])
        for start in range(0, len(keep), step):
            self.sums[keep[start : start + step]] += self.sums[gone[start : start + step]]
        self.sizes[keep] += self.sizes[gone]
        self.parent[gone] = keep
        if len(self.enemies):
            for into, taken in zip(keep.tolist(), gone.tolist(), strict=True):
                self.enemies.merge(into, taken)

    def may_merge(self, u: NDArray[np.integer], v: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which clusters nothing keeps apart; `u` may be one for all `v`."""
        allowed = np.ones(len(v), np.bool_)
        if len(self.enemies):
            names = self.enemies.names()
            asked = np.flatnonzero(np.isin(u, names) & np.isin(v, names))
            left, right = np.broadcast_to(u, v.shape)[asked].tolist(), v[asked].tolist()
            allowed[asked] = [not self.enemies.are(a, b) for a, b in zip(left, right, strict=True)]
        return allowed

    def resolve(self, clusters: Ints) -> Ints:
        """The living clusters that have taken these in."""
        while True:
            above = self.parent[clusters]
            if np.array_equal(above, clusters):
                return clusters
            clusters = above

    def lowest_rows(self, rows: Ints) -> Ints:
        """The lowest row of each face's cluster."""
        roots = self.resolve(np.arange(len(rows)))
        lowest = np.full(len(rows), np.iinfo(np.int64).max)
        np.minimum.at(lowest, roots, rows)
        return lowest[roots]


def cosines_within(vectors: Floats) -> tuple[Doubles, Doubles]:
    """The vectors of g clusters of n members, float32 (g, n, d), of length 1; and their cosines (g, n, n)."""
    unit = normalised_rows(vectors.reshape(-1, vectors.shape[2])).reshape(vectors.shape)
    return unit, without_rounding(unit @ unit.transpose(0, 2, 1))


def without_rounding(cosines: Doubles) -> Doubles:
    """Cosines between -1 and 1, those of equal vectors exactly 1."""
    return np.where(cosines > 1.0 - EQUAL, 1.0, np.maximum(cosines, -1.0))


def normalised_rows(vectors: Floats) -> Doubles:
    """Vectors of length 1 in float64."""
    wide = vectors.astype(np.float64)
    wide /= np.sqrt(row_dots(wide, wide))[:, None]
    return wide
