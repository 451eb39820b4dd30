"""What a search on a device gives: candidates between two blocks of vectors, none of the pairs missing.

A device calculates in its own precision, so it may give pairs somewhat below the cut; the caller decides them
all by `flat.exact_cosine`. `slack` is what the device's inner products may be off.
"""

from __future__ import annotations

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


HALF_SLACK = 4.01 * 2.0**-11 + 4e-6 + MARGIN
"""How far an inner product of unit vectors rounded to float16 may be off.

Rounding moves a coordinate by at most 2^-11 of itself, or 2^-25 where it is smaller than float16's smallest
normal number; by Cauchy and Schwarz the two vectors together move the product by 2 * 2^-11 and 2 * 2^-25 *
sqrt(d), here for d up to 4,096. The product itself and the cut it is compared with may be rounded to float16,
too; sums are taken in float32.
"""
