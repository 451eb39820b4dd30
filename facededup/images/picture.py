"""A picture in copies of several sizes, each made when it is asked for."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Self

import numpy as np
from PIL import Image

from facededup.images.decode import DecodedImage, decode, reduction_for
from facededup.types import Pixels

FIRST_LOOK = 640
"""The long side of the copy that is looked at first, at least: a little more than detectors look at then."""


class Picture:
    """An upright image at its full size, and reduced to a half, a quarter and an eighth along either side.

    libjpeg decodes a JPEG to each of these at a fraction of the work; other formats are decoded once and
    averaged. Copies stay as long as the picture: all of them together are a third more than the largest.

    Args:
        first: The image, or a reduced copy.
        decode_larger: Gives a copy with a long side of at least so many pixels, the full size for None.

    Attributes:
        width: Of the full-size image, in pixels.
        height: Likewise.
        seconds: Spent in making copies after the first.
    """

    def __init__(self, first: DecodedImage, decode_larger: Callable[[int | None], DecodedImage]) -> None:
        self.width, self.height = first.width, first.height
        self.seconds = 0.0
        self._copies = {first.reduction: first.pixels}
        self._decode_larger = decode_larger

    @classmethod
    def open(cls, data: bytes, *, max_pixels: int, long_side: int | None = None) -> Self:
        """The picture in an image file.

        Args:
            data: The whole file.
            max_pixels: See `decode`.
            long_side: Of the copy to begin with, in pixels, at least; None for the full size.

        Raises:
            DecodeError: See `decode`; `copy` may raise it, too.
            MemoryError: Likewise.
        """
        decode_copy = partial(decode, data, max_pixels=max_pixels)
        return cls(decode_copy(long_side=long_side), lambda side: decode_copy(long_side=side))

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """A picture of an upright RGB image, uint8 (h, w, 3)."""
        whole = DecodedImage(pixels, pixels.shape[1], pixels.shape[0])
        return cls(whole, lambda _: whole)

    @property
    def long_side(self) -> int:
        """Of the full-size image, in pixels."""
        return max(self.width, self.height)

    @property
    def smallest(self) -> Pixels:
        """The smallest of the copies made so far."""
        return self._copies[max(self._copies)]

    def copy(self, long_side: int | None = None) -> Pixels:
        """The smallest copy whose long side is at least so many pixels, at most the image at full size.

        Returns:
            uint8 (h, w, 3), RGB, C-contiguous, maybe read-only.
        """
        reduction = reduction_for(self.width, self.height, long_side)
        if reduction not in self._copies:
            started = time.perf_counter()
            self._make(reduction, long_side)
            self.seconds += time.perf_counter() - started
        return self._copies[reduction]

    def _make(self, reduction: int, long_side: int | None) -> None:
        if reduction < min(self._copies):
            decoded = self._decode_larger(long_side)
            self._copies[decoded.reduction] = decoded.pixels
        if reduction not in self._copies:
            larger = max(made for made in self._copies if made < reduction)
            reduced = Image.fromarray(self._copies[larger]).reduce(reduction // larger)
            self._copies[reduction] = np.asarray(reduced)
