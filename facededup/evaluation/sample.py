"""Labelled faces with their embeddings, out of a store: one face an image, the one nearest the centre."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import FaceTable, ImageTable, Snapshot
from facededup.types import Floats

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Labelled images.

    Attributes:
        paths: Of all images, sorted.
        people: Names of the people, sorted.
        person: int64 (n,), the person on each image, a place in `people`.
        row: int64 (n,), the row of an image in `vectors`, -1 for an image without a face.
        vectors: float32 (m, dimension), L2-normalised.
        quality: float32 (m,), the score of each face, NaN where unknown.
    """

    paths: tuple[str, ...]
    people: tuple[str, ...]
    person: Rows
    row: Rows
    vectors: Floats
    quality: Floats

    @property
    def seen(self) -> Rows:
        """The images with a face."""
        return np.flatnonzero(self.row >= 0)

    def embeddings(self) -> Floats:
        """float32 (m, dimension), those of `seen`."""
        return self.vectors[self.row[self.seen]]

    def labels(self) -> Rows:
        """int64 (m,), the person on each of `seen`."""
        return self.person[self.seen]

    def restricted(self, images: Rows) -> Sample:
        """Some of the images, with the people on them."""
        kept, person = np.unique(self.person[images], return_inverse=True)
        return Sample(
            tuple(self.paths[image] for image in images.tolist()),
            tuple(self.people[number] for number in kept.tolist()),
            person.astype(np.int64),
            self.row[images],
            self.vectors,
            self.quality,
        )


def load_sample(snapshot: Snapshot, people: Mapping[str, str]) -> Sample:
    """Labelled images as a store has them.

    Args:
        snapshot: Of the store.
        people: The person on each image, by absolute path. An image that the store does not have counts as
            one without a face.
    """
    images = snapshot.images
    row_of_image = {os.fsdecode(path): row for row, path in enumerate(images.path)}
    central = central_faces(images, snapshot.faces)
    paths = sorted(people)
    names, person = np.unique([people[path] for path in paths], return_inverse=True)
    place = np.array([row_of_image.get(path, -1) for path in paths], np.int64)
    row = np.where(place >= 0, central[images.first[place]], -1) if len(images) else np.full(len(paths), -1)
    return Sample(
        tuple(paths),
        tuple(str(name) for name in names),
        person.astype(np.int64),
        row,
        snapshot.embeddings(0, len(snapshot.faces)),
        snapshot.faces.quality[:, 0],
    )


def central_faces(images: ImageTable, faces: FaceTable) -> Rows:
    """int64 (images,): the row of each image's face nearest its centre, -1 for one without."""
    middle = faces.box[:, :2] + faces.box[:, 2:] / 2
    centre = np.stack((images.width, images.height), axis=1)[faces.image] / 2
    distance = np.linalg.norm(middle - centre, axis=1)
    central = np.full(len(images), -1, np.int64)
    order = np.lexsort((-distance, faces.image))
    # Of several faces of an image the last one assigned stays: the nearest.
    central[faces.image[order]] = order
    return central
