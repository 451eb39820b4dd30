"""What a detector looks at: an image, or a smaller, turned copy of it whose points lead back to the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from facededup.images.picture import FIRST_LOOK, Picture
from facededup.types import Box, Face, Pixels

# To shrink an image by less takes longer than to look at the few pixels more.
_WORTH_SHRINKING = 0.95
# A face so many pixels wide is no sharper, cut out for a model, from a larger copy.
_SHARP_FACE = 120


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A smaller, maybe turned copy of an image, and the way back.

    Attributes:
        pixels: uint8 (h, w, 3) or (h, w).
        angle: By how many degrees it was turned counter-clockwise about its middle.
        scale: Pixels of the view for one of the image.
        width: Of the image it was made from.
        height: Likewise.
    """

    pixels: Pixels
    angle: int
    scale: tuple[float, float]
    width: int
    height: int

    @classmethod
    def of(
        cls,
        image: Pixels,
        scale: float,
        long_side: int,
        *,
        angle: int = 0,
        size: tuple[int, int] | None = None,
    ) -> View:
        """A copy at `scale`, or smaller to keep the long side about within bounds.

        Args:
            image: uint8 (h, w, 3) or (h, w).
            scale: At most 1.
            long_side: In pixels.
            angle: Degrees counter-clockwise. What a turn other than by right angles moves out of the frame is
                lost, and the corners it bares are black.
            size: Width and height of the image that `image` itself is a reduced copy of.
        """
        width, height = size or image.shape[1::-1]
        rows, columns = image.shape[:2]
        scale = min(scale, long_side / max(width, height)) * max(width, height) / max(rows, columns)
        copy = image
        if scale < _WORTH_SHRINKING:
            smaller = max(1, round(columns * scale)), max(1, round(rows * scale))
            picture = Image.fromarray(image).resize(smaller, Image.Resampling.BILINEAR, reducing_gap=2.0)
            copy = np.asarray(picture)
        shrunk = copy.shape[1] / width, copy.shape[0] / height
        if angle % 90:
            copy = np.asarray(Image.fromarray(copy).rotate(angle, Image.Resampling.BILINEAR))
        else:
            copy = np.rot90(copy, angle // 90)
        return cls(np.ascontiguousarray(copy), angle, shrunk, width, height)

    def to_image(self, x: float, y: float) -> tuple[float, float]:
        """The point of the image that a point of this view shows."""
        height, width = self.pixels.shape[:2]
        right, down = x - (width - 1) / 2, y - (height - 1) / 2
        cosine, sine = math.cos(math.radians(self.angle)), math.sin(math.radians(self.angle))
        # Pixels are areas: the centre of the first one is half a pixel from the edge at every scale.
        return (
            (cosine * right - sine * down) / self.scale[0] + (self.width - 1) / 2,
            (sine * right + cosine * down) / self.scale[1] + (self.height - 1) / 2,
        )

    def to_image_box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """The box of the image that a box of this view shows, given by its edges: upright, about as large."""
        # From edge to edge: a pixel reaches half a pixel beyond its centre.
        x, y = self.to_image((left + right - 1) / 2, (top + bottom - 1) / 2)
        lengths = right - left, bottom - top
        sideways = round(self.angle / 90) % 2 == 1
        half_width = lengths[sideways] / self.scale[0] / 2
        half_height = lengths[not sideways] / self.scale[1] / 2
        first_x, last_x = round(x + 0.5 - half_width), round(x + 0.5 + half_width)
        first_y, last_y = round(y + 0.5 - half_height), round(y + 0.5 + half_height)
        return Box(first_x, first_y, last_x - first_x, last_y - first_y)


def scale_face(face: Face, across: float, down: float) -> Face:
    """A face seen in a smaller copy, in pixels of the image.

    Args:
        face: In pixels of the copy.
        across: Pixels of the image for one of the copy, from left to right.
        down: Likewise, from the top down.
    """
    if across == down == 1:
        return face
    box = face.box
    left, right = round(box.x * across), round((box.x + box.w) * across)
    top, bottom = round(box.y * down), round((box.y + box.h) * down)
    return replace(
        face,
        box=Box(left, top, right - left, bottom - top),
        landmarks=tuple(((x + 0.5) * across - 0.5, (y + 0.5) * down - 0.5) for x, y in face.landmarks),
    )


def sharp_side(picture: Picture, width: int) -> int:
    """The long side of a copy of a picture that shows a face as sharp as a model can see it.

    Args:
        picture: Any.
        width: Of the face, in pixels of the full-size picture.
    """
    return max(FIRST_LOOK, math.ceil(picture.long_side * _SHARP_FACE / max(1, width)))
