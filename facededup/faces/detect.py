"""Finds faces: dlib's HOG detector and five-point landmarks, in stages from cheap to dear.

The detector's window is 73 pixels wide, so what a stage can see depends on the copy it looks at:

| Stage | Copy | Smallest face |
|---|---|---|
| cheap | grey, upright heads, 0.7 of the size, at most 480 | 104 pixels, or 15% of a long side above 685 |
| full | full size, long side at most 1,000 | 73 pixels, or 7 to 9% of a long side above 1,000 |
| close | grey, at most 2,000 | 4% of a long side above 1,600 |
| tilted | as full, grey, at most 480, turned by 25 degrees either way | 73 pixels, or 15% above 480 |
| turned | the same, turned by 90, 180 and 270 degrees | the same |
| loose | doubled after a bound of 800, lower threshold | 37 pixels, or 5% of a long side above 800 |

A stage runs only where those before it found nothing (the full one also where the cheap one was unsure): an
image with a large face keeps its small ones to itself. But where many of the faces seen are as small as a
stage can see, as in a photo of a group, the next of cheap, full and close looks, too. Pictures of 1,600
pixels and more have the close look in place of the loose one, with its threshold. Landmarks are found in
grey values, in a copy that is large enough for the smallest of the faces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from facededup.faces.deepface_client import DeepFaceClient, Finder
from facededup.faces.deepface_detectors import DeepFaceDetector, WholeImage
from facededup.faces.hog import load_hog
from facededup.faces.landmarks import LandmarkFinder
from facededup.faces.view import View, sharp_side
from facededup.images.picture import FIRST_LOOK, Picture
from facededup.types import Box, Face, Pixels

# A copy of a large picture that has nearly the size a stage wants will do.
_NEARLY = 0.8

# A face narrower than this in a view is of the smallest size that can be seen in it. Where more than this
# share of the faces are, others may be too small.
_AT_LIMIT, _MANY = 80, 0.25

# No face fits into a copy thinner than this, and dlib refuses the thinnest.
_THINNEST = 16


class Detector(Protocol):
    """Anything that finds faces."""

    def detect(self, picture: Picture) -> tuple[Face, ...]:
        """The faces of a picture, from left to right, then from the top down, in pixels of its full size."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """One way of looking.

    Attributes:
        scale: Of the copy, at most.
        long_side: Of the copy, in pixels, about at most.
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
_CLOSE = _Stage(scale=1.0, long_side=2000, grey=True)
_CLOSE_AND_LOOSE = replace(_CLOSE, threshold=_LOOSE.threshold)


@dataclass(frozen=True, slots=True, eq=False)
class _Sight:
    """A face seen: its edges in pixels of a view, and where that is in the picture."""

    view: View
    edges: tuple[int, int, int, int]
    score: float
    box: Box


class DlibDetector:
    """dlib's frontal face detector (HOG) with its five-point landmarks; the stages are in the module's text.

    Raises:
        WeightsMissingError: The landmark model is not on this machine, or damaged.
    """

    def __init__(self) -> None:
        self._landmarks = LandmarkFinder()
        self._hog = load_hog()
        self._upright_hog = load_hog(upright=True)

    def detect(self, picture: Picture) -> tuple[Face, ...]:
        """See `Detector`.

        A face that was only found in the picture turned has its landmarks turned with it.
        """
        if min(picture.width, picture.height) < _THINNEST:
            return ()
        greys = _Greys(picture)
        look = partial(self._look, greys)
        seen = look(_CHEAP)
        if not seen or min(sight.score for sight in seen) < _SURE or _may_be_more(picture, _CHEAP, seen):
            seen = (
                look(_FULL)
                or seen
                or max((look(_TURNED, angle) for angle in _TILTS), key=_best_score)
                or max((look(_TURNED, angle) for angle in _TURNS), key=_best_score)
            )
            if not seen:
                seen = look(_CLOSE_AND_LOOSE if _has_more(picture, _FULL) else _LOOSE)
            elif _may_be_more(picture, _FULL, seen):
                seen = _merged(look(_CLOSE), seen)
        if not seen:
            return ()
        sharp = greys(picture.copy(sharp_side(picture, min(sight.box.w for sight in seen))))
        faces = [self._face(sight, sharp) for sight in seen]
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))

    def _look(self, greys: _Greys, stage: _Stage, angle: int = 0) -> list[_Sight]:
        picture = greys.picture
        copy = picture.copy(max(FIRST_LOOK, round(stage.long_side * _NEARLY)))
        shown, size = greys(copy) if stage.grey else copy, (picture.width, picture.height)
        view = View.of(shown, stage.scale, stage.long_side, angle=angle, size=size)
        if min(view.pixels.shape[:2]) < _THINNEST:
            return []
        hog = self._upright_hog if stage.upright else self._hog
        rectangles, scores, _ = hog.run(view.pixels, stage.doublings, stage.threshold)
        sights = []
        for rectangle, score in zip(rectangles, scores, strict=True):
            edges = rectangle.left(), rectangle.top(), rectangle.right() + 1, rectangle.bottom() + 1
            sights.append(_Sight(view, edges, float(score), view.to_image_box(*edges)))
        return sights

    def _face(self, sight: _Sight, sharp: Pixels) -> Face:
        """A face, its landmarks found in a grey copy of the picture."""
        view = sight.view
        close = View.of(sharp, 1.0, max(sharp.shape), angle=view.angle, size=(view.width, view.height))
        ratio_x = close.pixels.shape[1] / view.pixels.shape[1]
        ratio_y = close.pixels.shape[0] / view.pixels.shape[0]
        left, top, right, bottom = sight.edges
        points = self._landmarks(
            close.pixels, left * ratio_x, top * ratio_y, right * ratio_x, bottom * ratio_y
        )
        return Face(
            box=sight.box,
            confidence=sight.score,
            landmarks=tuple(close.to_image(x, y) for x, y in points),
        )


class _Greys:
    """Grey values of a picture's copies."""

    def __init__(self, picture: Picture) -> None:
        import dlib

        self.picture = picture
        self._to_grey = dlib.as_grayscale
        self._made: dict[int, Pixels] = {}

    def __call__(self, copy: Pixels) -> Pixels:
        """uint8 (h, w) of a copy."""
        if len(copy) not in self._made:
            self._made[len(copy)] = self._to_grey(copy)
        return self._made[len(copy)]


def _has_more(picture: Picture, stage: _Stage) -> bool:
    """Whether a picture has enough pixels to look much closer than a stage does."""
    return picture.long_side >= 2 * _NEARLY * stage.long_side


def _may_be_more(picture: Picture, stage: _Stage, seen: list[_Sight]) -> bool:
    """Whether there may be faces too small for a stage, as those that it saw nearly were."""
    at_limit = sum(sight.edges[2] - sight.edges[0] < _AT_LIMIT for sight in seen)
    return _has_more(picture, stage) and at_limit > _MANY * len(seen)


def _merged(seen: list[_Sight], before: list[_Sight]) -> list[_Sight]:
    """The faces seen now, and those seen before that are not among them."""
    return seen + [old for old in before if not any(_is_same(old.box, new.box) for new in seen)]


def _is_same(a: Box, b: Box) -> bool:
    """Whether two boxes are of one face: the middle of either lies in the other."""
    apart_x, apart_y = abs(2 * a.x + a.w - 2 * b.x - b.w), abs(2 * a.y + a.h - 2 * b.y - b.h)
    return apart_x < min(a.w, b.w) and apart_y < min(a.h, b.h)


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


def _best_score(seen: list[_Sight]) -> float:
    return max((sight.score for sight in seen), default=float("-inf"))
