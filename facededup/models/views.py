"""The views of an aligned face whose embeddings are averaged: cuts a little higher and lower, and mirrors.

The landmarks are found to a pixel or two, and an embedding changes with where a face sits in its chip. A mean
over a few places varies less. Across, mirrors do the same, so the cuts move up and down only; measured by
benchmarks/crops.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from facededup.types import Pixels

STEP = 0.02
"""One step up or down, as a share of the chip's height."""
OFFSETS = {1: (0,), 2: (-1, 1), 5: (0, -1, 1, -2, 2)}
"""Steps of the cuts by their number; -1 shows what lies one step higher."""


def views(chips: Pixels, *, crops: int = 1, flip: bool = False) -> Iterator[Pixels]:
    """All views of some faces, one view of all faces at a time.

    Args:
        chips: uint8 (n, height, width, 3).
        crops: Number of vertical cuts, a key of `OFFSETS`.
        flip: Whether each cut comes with its mirror.

    Yields:
        uint8 (n, height, width, 3), possibly views of `chips`. Rows beyond an edge repeat the edge.
    """
    height = chips.shape[1]
    for steps in OFFSETS[crops]:
        moved = chips
        if steps:
            rows = np.arange(height) + round(steps * STEP * height)
            moved = chips[:, rows.clip(0, height - 1)]
        yield moved
        if flip:
            yield moved[:, :, ::-1]


def count_views(*, crops: int, flip: bool) -> int:
    """How many views of a face `views` gives: the cost of an embedding is in proportion."""
    return len(OFFSETS[crops]) * (2 if flip else 1)
