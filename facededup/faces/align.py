"""Cuts faces out, each model's own way: `chip`, `arcface` or `deepface`."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from facededup.errors import UsageError
from facededup.faces.arcface import PLACES, ArcFaceAligner
from facededup.faces.deepface_align import DeepFaceAligner
from facededup.models.catalog import DetectorDescription, ModelDescription, describe_detector, describe_model
from facededup.types import Face, Pixels

ALIGNMENTS = ("chip", "arcface", "deepface")
# Room around the face as dlib's recognition network was trained with.
_PADDING = 0.25


class Aligner(Protocol):
    """Anything that cuts faces out."""

    def __call__(self, image: Pixels, faces: tuple[Face, ...]) -> Pixels:
        """Faces, one or more, of an upright RGB image uint8 (h, w, 3), as uint8 (k, height, width, 3) RGB."""


class ChipAligner:
    """dlib's chip, turned and scaled so that its five landmarks come to lie in fixed places.

    Args:
        size: Width and height of a chip. Where they differ, it is the middle of a square one.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size

    def __call__(self, image: Pixels, faces: tuple[Face, ...]) -> Pixels:
        """See `Aligner`."""
        side = max(self._size)
        left, top = ((side - length) // 2 for length in self._size)
        width, height = self._size
        chips = np.stack([cut_chip(image, face, side) for face in faces])
        return chips[:, top : top + height, left : left + width]


def cut_chip(image: Pixels, face: Face, side: int = 150) -> Pixels:
    """Cuts out one face, upright whichever way it lies in the image.

    Args:
        image: uint8 (h, w, 3), upright RGB.
        face: With dlib's five landmarks in pixels of this image, rounded here to whole ones for dlib.
        side: Of the chip, in pixels.

    Returns:
        uint8 (side, side, 3); black where the face reaches beyond the image.

    Raises:
        ValueError: The face has no five landmarks.
    """
    import dlib

    if len(face.landmarks) != 5:
        raise ValueError(f"a chip needs five landmarks, not {len(face.landmarks)}")
    box = face.box
    shape = dlib.full_object_detection(
        dlib.rectangle(box.x, box.y, box.x + box.w - 1, box.y + box.h - 1),
        [dlib.point(round(x), round(y)) for x, y in face.landmarks],
    )
    chip: Pixels = dlib.get_face_chip(image, shape, side, _PADDING)
    return chip


def choose_alignment(given: str | None, model: ModelDescription, detector: DetectorDescription) -> str:
    """The alignment for a model and a detector.

    Args:
        given: What the user wants; None for the model's own where the detector's landmarks allow it, else
            DeepFace's.
        model: From the catalogue.
        detector: Likewise.

    Raises:
        UsageError: There is no such alignment, or it needs landmarks that the detector does not give.
    """
    if given is None:
        return model.align if _is_possible(model.align, detector) else "deepface"
    if given not in ALIGNMENTS:
        raise UsageError(f"there is no alignment {given!r}; choose one of {', '.join(ALIGNMENTS)}")
    if not _is_possible(given, detector):
        able = "dlib" if given == "chip" else "dlib or retinaface"
        raise UsageError(
            f"the alignment {given} needs landmarks that the detector {detector.name} does not give: use"
            f" --detector {able}, or --align deepface"
        )
    return given


def _is_possible(align: str, detector: DetectorDescription) -> bool:
    able = {"chip": ("dlib",), "arcface": tuple(PLACES)}
    return align == "deepface" or detector.landmarks in able[align]


def build_aligner(align: str, detector: str, model: str) -> Aligner:
    """What cuts faces out to the size a model takes.

    Args:
        align: `chip`, `arcface` or `deepface`.
        detector: Name of the detector that found them.
        model: Name of the model that will see them.

    Raises:
        UsageError: There is no such alignment, detector or model, or they do not go together.
        WeightsMissingError: See `DeepFaceAligner`.
    """
    description, found_by = describe_model(model), describe_detector(detector)
    choose_alignment(align, description, found_by)
    if align == "chip":
        return ChipAligner(description.input_size)
    if align == "arcface":
        return ArcFaceAligner(found_by.landmarks, description.input_size)
    return DeepFaceAligner(found_by.name, description.name)
