"""A perceptual hash: close for the same photo saved again, far for another photo.

The hash is that of C. Zauner, "Implementation and benchmarking of perceptual image hash functions" (2010): of
the grey picture reduced to 32 by 32, the signs of 64 low frequencies of its discrete cosine transform (those
that are constant along either axis left out) against their median.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from facededup.types import Array, Pixels

SAME_PHOTO_BITS = 8
"""Hashes that differ in so many bits are of one photo; benchmarks/same_photo.py measures what that finds."""
_SIDE = 32
_FREQUENCIES = 8
# Rows of an image that are looked at, at least: plenty to average 32 from.
_ENOUGH = 96


def perceptual_hash(pixels: Pixels) -> int:
    """The hash of an image, uint8 (h, w, 3) RGB: 64 bits, 32 of them set; 0 for one without any structure."""
    step = max(1, len(pixels) // _ENOUGH)
    grey = Image.fromarray(np.ascontiguousarray(pixels[::step])).convert("L")
    reduced = np.asarray(grey.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64)
    # Rounded away: what arithmetic leaves of frequencies that are not there.
    found = np.round(_COSINES @ reduced @ _COSINES.T, 6).ravel()
    bits = found > np.sort(found)[found.size // 2 - 1]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def are_same_photo(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Which couples of hashes are of one photo saved twice; none where one of them is not known."""
    bits = np.unpackbits((a ^ b).view(np.uint8).reshape(-1, 8), axis=1).sum(axis=1)
    return np.asarray((a != 0) & (b != 0) & (bits <= SAME_PHOTO_BITS))


def _cosines() -> Array:
    """float64 (8, 32): the frequencies 1 to 8 of the transform of 32 values."""
    frequency = np.arange(1, _FREQUENCIES + 1)[:, None]
    place = np.arange(_SIDE)[None, :]
    waves: Array = np.cos(np.pi / _SIDE * (place + 0.5) * frequency)
    return waves


_COSINES = _cosines()
