"""Cuts faces out: dlib's chip, turned and scaled so that its five landmarks come to lie in fixed places."""

from __future__ import annotations

from facededup.types import Face, Pixels

CHIP_SIZE = 150
# Room around the face as dlib's recognition network was trained with.
_PADDING = 0.25


def cut_chip(image: Pixels, face: Face) -> Pixels:
    """Cuts out one face, upright whichever way it lies in the image.

    Args:
        image: uint8 (h, w, 3), upright RGB.
        face: With five landmarks in pixels of this image, rounded here to whole ones as dlib takes them.

    Returns:
        uint8 (150, 150, 3); black where the face reaches beyond the image.

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
    chip: Pixels = dlib.get_face_chip(image, shape, CHIP_SIZE, _PADDING)
    return chip
