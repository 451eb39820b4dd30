"""Finds faces: dlib's HOG detector and five-point landmarks, in stages from cheap to dear.

The detector's window is 73 pixels wide, so what a stage can see depends on the copy it looks at:

| Stage | Copy | Smallest face |
|---|---|---|
| cheap | grey, upright heads, 0.7 of the size, at most 480 | 104 pixels, or 15% of a long side above 685 |
| full | full size, long side at most 1,000 | 73 pixels, or 7% of a long side above 1,000 |
| tilted | as full, grey, at most 480, turned by 25 degrees either way | 73 pixels, or 15% above 480 |
| turned | the same, turned by 90, 180 and 270 degrees | the same |
| loose | doubled after a bound of 800, lower threshold | 37 pixels, or 5% of a long side above 800 |

A stage runs only where those before it found nothing (the full one also where the cheap one was unsure): an
image with a large face keeps its small ones to itself. Landmarks are found in grey values, on a copy of at
most 1,000 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from facededup.faces.deepface_client import DeepFaceClient, Finder
from facededup.faces.deepface_detectors import DeepFaceDetector, WholeImage
from facededup.faces.hog import load_hog
from facededup.faces.landmarks import LandmarkFinder
from facededup.faces.view import View
from facededup.types import Face, Pixels

# Enough for landmarks to a fraction of a pixel of the chip, and no more noise than that.
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
        upright: Look for heads held upright only: a third cheaper.
        doublings: How often dlib doubles the copy's size.
        threshold: Lowest score of a face.
    """

    scale: float
    long_side: int
    grey: bool = False
    upright: bool = False
    doublings: int = 0
    threshold: float = 0.0


_CHEAP = _Stage(scale=0.7, long_side=480, grey=True, upright=True)
_FULL = _Stage(scale=1.0, long_side=1000)
_TURNED = _Stage(scale=1.0, long_side=480, grey=True)
_TILTS, _TURNS = (25, -25), (90, 180, 270)
# A score below this on the cheap copy asks for a closer look: there, most of them are no faces.
_SURE = 0.3
_LOOSE = _Stage(scale=1.0, long_side=800, doublings=1, threshold=-0.3)


class DlibDetector:
    """dlib's frontal face detector (HOG) with its five-point landmarks; the stages are in the module's text.

    Raises:
        WeightsMissingError: The landmark model is not on this machine, or damaged.
    """

    def __init__(self) -> None:
        import dlib

        self._landmarks = LandmarkFinder()
        self._hog = load_hog()
        self._upright_hog = load_hog(upright=True)
        self._to_grey = dlib.as_grayscale

    def detect(self, image: Pixels) -> tuple[Face, ...]:
        """The faces of an upright RGB image, uint8 (h, w, 3), from left to right, then from the top down.

        Boxes and landmarks are in pixels of this image, whatever copy showed them. A face that was only
        found in the image turned has its landmarks turned with it.
        """
        if min(image.shape[:2]) < _THINNEST:
            return ()
        grey = self._to_grey(image)

        def look(stage: _Stage, angle: int = 0) -> list[Face]:
            return self._look(grey if stage.grey else image, grey, stage, angle)

        faces = look(_CHEAP)
        if not faces or min(face.confidence for face in faces) < _SURE:
            faces = (
                look(_FULL)
                or faces
                or max((look(_TURNED, angle) for angle in _TILTS), key=_best_score)
                or max((look(_TURNED, angle) for angle in _TURNS), key=_best_score)
                or look(_LOOSE)
            )
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))

    def _look(self, image: Pixels, grey: Pixels, stage: _Stage, angle: int) -> list[Face]:
        view = View.of(image, stage.scale, stage.long_side, angle=angle)
        if min(view.pixels.shape[:2]) < _THINNEST:
            return []
        hog = self._upright_hog if stage.upright else self._hog
        rectangles, scores, _ = hog.run(view.pixels, stage.doublings, stage.threshold)
        if not rectangles:
            return []
        close = View.of(grey, 1.0, _LANDMARKS_LONG_SIDE, angle=angle)
        return [
            self._face(view, close, rectangle, score)
            for rectangle, score in zip(rectangles, scores, strict=True)
        ]

    def _face(self, view: View, close: View, rectangle: Any, score: float) -> Face:
        """A face seen in `view`, its landmarks found in `close`."""
        box = rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1
        ratio_x = close.pixels.shape[1] / view.pixels.shape[1]
        ratio_y = close.pixels.shape[0] / view.pixels.shape[0]
        points = self._landmarks(
            close.pixels, box[0] * ratio_x, box[1] * ratio_y, box[2] * ratio_x, box[3] * ratio_y
        )
        return Face(
            box=view.to_image_box(*box),
            confidence=float(score),
            landmarks=tuple(close.to_image(x, y) for x, y in points),
        )


def build_detector(name: str, align: str = "chip", *, finder: Finder | None = None) -> Detector:
    """The detector of that name.

    Args:
        name: From the catalogue.
        align: How its faces will be cut out. For `deepface` every detector, dlib's too, looks at the image
            just as DeepFace lets it.
        finder: Where DeepFace's detector of that name runs already; None to open it here, on the CPU.

    Raises:
        UsageError: There is none.
        PackageMissingError: A package it needs is not installed.
        WeightsMissingError: Its model is not on this machine.
    """
    if name == "dlib" and align != "deepface":
        return DlibDetector()
    if name == "skip":
        return WholeImage()
    return DeepFaceDetector(finder or DeepFaceClient(name), exact=align == "deepface")


def _best_score(faces: list[Face]) -> float:
    return max((face.confidence for face in faces), default=float("-inf"))
