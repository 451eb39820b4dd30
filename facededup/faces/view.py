"""What a detector looks at: an image, or a smaller, turned copy of it whose points lead back to the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from facededup.types import Box, Pixels


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A smaller, maybe turned copy of an image, and the way back.

    Attributes:
        pixels: uint8 (h, w, 3) or (h, w).
        turns: How often it was turned counter-clockwise by 90 degrees.
        width: Of the image it was made from.
        height: Likewise.
    """

    pixels: Pixels
    turns: int
    width: int
    height: int

    @classmethod
    def of(cls, image: Pixels, scale: float, long_side: int, *, grey: bool = False, turns: int = 0) -> View:
        """A copy at `scale`, or smaller to keep the long side within bounds."""
        height, width = image.shape[:2]
        scale = min(scale, long_side / max(width, height))
        copy = image
        if grey or scale < 1:
            picture = Image.fromarray(image)
            picture = picture.convert("L") if grey else picture
            if scale < 1:
                size = max(1, round(width * scale)), max(1, round(height * scale))
                picture = picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
            copy = np.asarray(picture)
        return cls(np.ascontiguousarray(np.rot90(copy, turns)), turns, width, height)

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """The point of the image that a point of this view shows."""
        height, width = self.pixels.shape[:2]
        if self.turns % 2:
            width, height = height, width
        if self.turns == 1:
            x, y = width - 1 - y, x
        elif self.turns == 2:
            x, y = width - 1 - x, height - 1 - y
        elif self.turns == 3:
            x, y = y, height - 1 - x
        # Pixels are areas: the centre of the first one is half a pixel from the edge at every scale.
        return (x + 0.5) * self.width / width - 0.5, (y + 0.5) * self.height / height - 0.5

    def to_image_box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The box of the image that a box of this view shows, given by its edges."""
        # From edge to edge: a pixel reaches half a pixel beyond its centre.
        corners = self.to_image(left - 0.5, top - 0.5), self.to_image(right - 0.5, bottom - 0.5)
        x, last_x = sorted(round(corner[0] + 0.5) for corner in corners)
        y, last_y = sorted(round(corner[1] + 0.5) for corner in corners)
        return Box(x, y, last_x - x, last_y - y)
