"""What a search on a device gives: candidates between two blocks of vectors, none of the pairs missing.

A device calculates in its own precision, so it may give pairs somewhat below the cut; the caller decides them
all by `flat.exact_cosine`. `device_cut` says how far below it must look.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.matching.selfjoin import MARGIN
from facededup.types import Floats

Candidates = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Rows of the queries and of the base, int64 (p,) each."""


class TileSearch(Protocol):
    """Finds candidates on one device; used by one thread at a time."""

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values for the findings: engine, index and what else is worth knowing."""

    @property
    def device(self) -> str:
        """Its name."""

    def candidates(
        self, queries: Floats, base: Floats, cut: float, *, diagonal: bool
    ) -> Iterator[Candidates]:
        """Every pair whose cosine is at least the cut, and some slightly below it, tile by tile.

        Args:
            queries: float32 (m, d), of length 1.
            base: float32 (n, d), likewise.
            cut: A cosine.
            diagonal: `queries` and `base` are the same, and only rows i < j are wanted; others may come.

        Raises:
            JobError: The device failed.
        """


def device_cut(cut: float, dimension: int, *, half: bool = False) -> float:
    """The inner product, as a device calculates it, that no pair with a cosine of at least `cut` is below.

    Let x and y be of length 1 (to 1e-6, which `MARGIN` covers).

    - A sum of d products in float32 is off by at most d * 2^-24 in whatever order it is taken, as their
      magnitudes add up to at most 1 (Cauchy and Schwarz). Tensor cores cut off where others round: twice it.
    - Float16 moves a coordinate by at most 2^-11 of itself, or by 2^-25 where it is smaller than float16's
      smallest normal number; the two vectors move the product by at most 2 * 2^-11 and 2 * 2^-25 * sqrt(d).
      A library may then round the product, and the cut that it compares with, to float16: 2^-11 each.

    Args:
        cut: Lowest cosine of a pair.
        dimension: d.
        half: The vectors are rounded to float16; sums are taken in float32 all the same.
    """
    slack = MARGIN + dimension * 2.0**-23
    if half:
        slack += 4.01 * 2.0**-11 + 2.0**-24 * math.sqrt(dimension)
    return cut - slack
