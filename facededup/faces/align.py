"""Cuts faces out, each model's own way: `chip`, `arcface` or `deepface`."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from facededup.errors import UsageError
from facededup.faces.arcface import PLACES, ArcFaceAligner, fit_similarity
from facededup.faces.deepface_align import DeepFaceAligner
from facededup.models.catalog import DetectorDescription, ModelDescription, describe_detector, describe_model
from facededup.types import Face, Pixels

ALIGNMENTS = ("chip", "arcface", "deepface")
# Room around the face as dlib's recognition network was trained with.
_PADDING = 0.25
# Where the five points lie in dlib's mean face, which fills the square from 0 to 1 (its published numbers).
_MEAN_FACE = (
    (0.8595674595992, 0.2134981538014),
    (0.6460604764104, 0.2289674387677),
    (0.1205750620789, 0.2137274526848),
    (0.3340850613712, 0.2290642403242),
    (0.4901123135679, 0.6277975316475),
)


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
    """Cuts out one face, upright whichever way it lies in the image, as dlib's `get_face_chip` does.

    dlib takes landmarks of whole pixels; from these the chip is the same, but fractions count here.

    Args:
        image: uint8 (h, w, 3), upright RGB.
        face: With dlib's five landmarks in pixels of this image.
        side: Of the chip, in pixels.

    Returns:
        uint8 (side, side, 3); black where the face reaches beyond the image.

    Raises:
        ValueError: The face has no five landmarks.
    """
    import dlib

    if len(face.landmarks) != 5:
        raise ValueError(f"a chip needs five landmarks, not {len(face.landmarks)}")
    places = (np.array(_MEAN_FACE) + _PADDING) * (side / (1 + 2 * _PADDING))
    from_chip = fit_similarity(places, np.array(face.landmarks))
    x, y = from_chip @ (side / 2, side / 2, 1)
    scale = np.hypot(from_chip[0, 0], from_chip[1, 0])
    reach = (side * scale - 1) / 2  # a dlib rectangle holds its last pixel
    place = dlib.chip_details(
        dlib.drectangle(x - reach, y - reach, x + reach, y + reach),
        dlib.chip_dims(side, side),
        float(np.arctan2(from_chip[1, 0], from_chip[0, 0])),
    )
    chip: Pixels = dlib.extract_image_chip(image, place)
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
