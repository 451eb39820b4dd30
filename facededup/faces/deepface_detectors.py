"""DeepFace's face detectors, spoken to as ours are.

DeepFace gives boxes with two eyes, with no landmarks, or (retinaface) with eyes, nose and corners of the
mouth.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from facededup.faces.deepface_client import Finder, Region
from facededup.faces.view import View, sharp_side
from facededup.images.picture import FIRST_LOOK, Picture
from facededup.types import Box, Face, Pixels

# opencv, mtcnn, fastmtcnn and centerface take time in proportion to the pixels, retinaface up to 1980; the
# others scale down by themselves, to 640 or less.
_LONG_SIDE = 1000

# No face, and DeepFace's crop of it may come out empty.
_SMALLEST = 2


class WholeImage:
    """DeepFace's `skip`, for which the whole image is one face."""

    def detect(self, picture: Picture) -> tuple[Face, ...]:
        """The whole of a picture."""
        return (Face(Box(0, 0, picture.width, picture.height), 0.0),)


class DeepFaceDetector:
    """One of DeepFace's detectors.

    Where the upright image shows no face it is turned by 90, 180 and 270 degrees, as for our own detector.

    Args:
        finder: The detector as DeepFace has it, in this process or another.
        exact: Let it look at what DeepFace would show it: the image at full size with a black border half as
            wide as the image. Otherwise, at the image alone, its long side at most 1,000 pixels.
    """

    def __init__(self, finder: Finder, *, exact: bool = False) -> None:
        self._finder = finder
        self._exact = exact

    def detect(self, picture: Picture) -> tuple[Face, ...]:
        """See `Detector`."""
        first = picture.copy(None if self._exact else FIRST_LOOK)
        faces = self._find(picture, first)
        enough = sharp_side(picture, min((face.box.w for face in faces), default=0))
        if max(first.shape) < min(enough, picture.long_side):
            faces = self._find(picture, picture.copy(_LONG_SIDE))
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))

    def _find(self, picture: Picture, copy: Pixels) -> list[Face]:
        (faces,) = self._look(picture, copy, (0,))
        return faces or max(self._look(picture, copy, (90, 180, 270)), key=_best_score)

    def _look(self, picture: Picture, copy: Pixels, angles: Sequence[int]) -> list[list[Face]]:
        """What is seen with a copy of the picture turned by each of the angles."""
        size = width, height = picture.width, picture.height
        long_side = picture.long_side if self._exact else _LONG_SIDE
        views = [View.of(copy, 1.0, long_side, angle=angle, size=size) for angle in angles]
        shown = [(np.ascontiguousarray(view.pixels[..., ::-1]), (0, 0)) for view in views]
        if self._exact:
            shown = [pad_as_deepface(image) for image, _ in shown]
        found = self._finder.find([image for image, _ in shown])
        looks = []
        for view, (_, corner), regions in zip(views, shown, found, strict=True):
            faces = [_face(view, region, *corner) for region in regions]
            looks.append([face for face in faces if _is_visible(face.box, width, height)])
        return looks


def pad_as_deepface(image: Pixels) -> tuple[Pixels, tuple[int, int]]:
    """The image within the black border that DeepFace puts around it.

    Returns:
        uint8 (2 h, 2 w, 3) or a pixel less, and where in it the image begins: x and y.
    """
    height, width = image.shape[:2]
    left, top = int(0.5 * width), int(0.5 * height)
    return np.pad(image, ((top, top), (left, left), (0, 0))), (left, top)


def _face(view: View, region: Region, left: int, top: int) -> Face:
    """A face in pixels of the image; the view began at `left` and `top` of what was shown."""
    x, y = region.x - left, region.y - top
    return Face(
        box=view.to_image_box(x, y, x + region.w, y + region.h),
        confidence=region.confidence,
        landmarks=tuple(view.to_image(px - left, py - top) for px, py in region.points),
    )


def _is_visible(box: Box, width: int, height: int) -> bool:
    """Whether enough of it lies within the image."""
    inside_x = min(width, box.x + box.w) - max(0, box.x)
    inside_y = min(height, box.y + box.h) - max(0, box.y)
    return min(inside_x, inside_y) >= _SMALLEST


def _best_score(faces: list[Face]) -> float:
    return max((face.confidence for face in faces), default=float("-inf"))
