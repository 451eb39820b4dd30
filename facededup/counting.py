"""Counts of a whole store."""

from __future__ import annotations

import numpy as np

from facededup.results import ImageCounts
from facededup.store.base import ImageTable, Snapshot
from facededup.types import Outcome


def count_images(images: ImageTable) -> ImageCounts:
    """Images by outcome."""
    counts = np.bincount(images.outcome, minlength=len(Outcome))
    return ImageCounts(
        total=len(images),
        ok=int(counts[Outcome.OK.value]),
        no_face=int(counts[Outcome.NO_FACE_DETECTED.value]),
        multiple_faces=int(counts[Outcome.MULTIPLE_FACES_DETECTED.value]),
        failed=int(counts[Outcome.FILE_ERROR.value]),
    )


def count_faces(snapshot: Snapshot) -> int:
    """Faces of all images; those of a content once for every image that has it."""
    images = snapshot.images
    faces = np.bincount(snapshot.faces.image, minlength=len(images))
    return int(faces[images.first].sum())
