"""How good a picture of a face is: large, sharp, turned to the camera, well lit; see docs/decisions.md.

Sharpness is the variance of the Laplacian (J. L. Pech-Pacheco et al., "Diatom autofocusing in brightfield
microscopy: a comparative study", ICPR 2000) over that of the grey values, so that contrast does not count
twice.
"""

from __future__ import annotations

import math
import statistics

import numpy as np
from PIL import Image

from facededup.types import Face, Floats, Pixels, Quality

_EYE_DISTANCE = 0.35
"""Of dlib's chip, between the centres of the eyes, in widths of the chip."""
_EYES_OF_BOX = 0.4
"""The distance between the eyes in widths of a face's box, for detectors that give no landmarks."""
_SHARP = 0.05
"""Variance of the Laplacian over that of the grey values in a sharp chip."""
_DARK, _DIM, _LIGHT, _BRIGHT = 20, 80, 190, 245
"""Mean grey values: none at all, enough, still fine, burnt out."""
_CONTRAST = 30
"""Standard deviation of the grey values in a chip of good contrast."""
_SIDE = 150
"""Chips are measured at this width at most: sharpness is a matter of scale."""


def measure_quality(face: Face, chip: Pixels, landmarks: str) -> Quality:
    """The quality of one face.

    Args:
        face: As detected.
        chip: uint8 (height, width, 3) RGB: the face cut out as the model sees it.
        landmarks: What the detector gives: `dlib`, `five`, `eyes` or `none`.

    Returns:
        Parts from 0 to 1; `frontality` is not a number where no landmark shows the nose, and `score` is the
        geometric mean of those known.
    """
    eyes = _eyes(face, landmarks)
    distance = math.dist(*eyes) if eyes else _EYES_OF_BOX * face.box.w
    grey = _middle(chip)
    size = min(1.0, distance / (_EYE_DISTANCE * chip.shape[1]))
    sharpness, brightness = _sharpness_and_brightness(grey)
    frontality = _frontality(face, landmarks, eyes)
    known = [part for part in (size, sharpness, frontality, brightness) if not math.isnan(part)]
    score = statistics.geometric_mean(known) if min(known) > 0 else 0.0
    return Quality(score, size, sharpness, frontality, brightness)


def _eyes(face: Face, landmarks: str) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """The centres of the eyes, that on the left of an upright picture first."""
    points = face.landmarks
    if landmarks == "dlib" and len(points) == 5:
        first, second = (
            ((points[k][0] + points[k + 1][0]) / 2, (points[k][1] + points[k + 1][1]) / 2) for k in (2, 0)
        )
        return first, second
    return (points[0], points[1]) if len(points) >= 2 else None


def _frontality(
    face: Face, landmarks: str, eyes: tuple[tuple[float, float], tuple[float, float]] | None
) -> float:
    """1 where the nose is midway between the eyes, seen along them; 0 where it is level with one of them."""
    if eyes is None or len(face.landmarks) < 5:
        return math.nan
    (left_x, left_y), (right_x, right_y) = eyes
    nose_x, nose_y = face.landmarks[4 if landmarks == "dlib" else 2]
    along_x, along_y = right_x - left_x, right_y - left_y
    squared = along_x**2 + along_y**2
    if squared == 0:
        return 0.0
    place = ((nose_x - left_x) * along_x + (nose_y - left_y) * along_y) / squared
    return max(0.0, 1 - abs(2 * place - 1))


def _middle(chip: Pixels) -> Floats:
    """The grey middle of a chip: neither hair nor what lies beyond the image."""
    picture = Image.fromarray(np.ascontiguousarray(chip)).convert("L")
    if picture.width > _SIDE:
        picture = picture.resize((_SIDE, round(picture.height * _SIDE / picture.width)), Image.Resampling.BOX)
    width, height = picture.size
    middle = picture.crop((width // 5, height // 5, width - width // 5, height - height // 5))
    return np.asarray(middle, np.float32)


def _sharpness_and_brightness(grey: Floats) -> tuple[float, float]:
    mean, variance = _moments(grey)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    sharpness = min(1.0, _moments(laplacian)[1] / variance / _SHARP) if variance > 0 else 0.0
    lit = min((mean - _DARK) / (_DIM - _DARK), (_BRIGHT - mean) / (_BRIGHT - _LIGHT), 1.0)
    return sharpness, max(0.0, lit) * min(1.0, math.sqrt(variance) / _CONTRAST)


def _moments(values: Floats) -> tuple[float, float]:
    """Mean and variance."""
    flat = values.ravel()
    mean = float(flat.sum()) / flat.size
    return mean, max(0.0, float(np.dot(flat, flat)) / flat.size - mean**2)
