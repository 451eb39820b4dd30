"""Chooses which of an image's faces are kept."""

from __future__ import annotations

from facededup.errors import UsageError
from facededup.types import Box, Face, Outcome


def choose_faces(
    faces: tuple[Face, ...], rule: str, width: int, height: int
) -> tuple[Outcome, tuple[Face, ...]]:
    """What becomes of an image with these faces, and which of them are kept.

    Args:
        faces: Of one image, in order.
        rule: `all`, `largest`, `center` (the one nearest the image's centre) or `single` (an image with
            several keeps none).
        width: Of the image, in pixels.
        height: Likewise.

    Raises:
        UsageError: There is no such rule.
    """
    if rule not in ("all", "largest", "center", "single"):
        raise UsageError(f"faces must be all, largest, center or single, not {rule!r}")
    if not faces:
        return Outcome.NO_FACE_DETECTED, ()
    if rule == "single" and len(faces) > 1:
        return Outcome.MULTIPLE_FACES_DETECTED, ()
    if rule == "largest":
        return Outcome.OK, (max(faces, key=lambda face: face.box.w * face.box.h),)
    if rule == "center":
        return Outcome.OK, (min(faces, key=lambda face: _offset(face.box, width, height)),)
    return Outcome.OK, faces


def _offset(box: Box, width: int, height: int) -> int:
    """Twice the distance of a box's centre from the image's, squared."""
    return (2 * box.x + box.w - width) ** 2 + (2 * box.y + box.h - height) ** 2
