"""Byte-identical images: which images share a content, and what that makes of pairs and counts.

A content's faces and embeddings are stored once. On output every image with that content has them: face k
of one copy pairs with face k of each other copy at cosine 1, and a copy has all pairs of its twin. A
content with more than `MAX_LISTED` images is listed by its first image alone, plus that image's pairs with
the others, so that ten thousand copies of one file do not make fifty million pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import FaceTable, ImageTable
from facededup.types import Outcome

MAX_LISTED = 50


class Copies:
    """The images of every content, by the row of the content's first image."""

    def __init__(self, images: ImageTable, faces: FaceTable) -> None:
        """Reads the tables.

        Args:
            images: All images. One whose bytes are those of an image out of reach stands for no pair.
            faces: All faces.
        """
        rows = np.flatnonzero((images.outcome == Outcome.OK.value) & self._listed(images))
        order = np.argsort(images.first[rows], kind="stable")
        self._rows = rows[order]
        firsts = images.first[self._rows]
        self.count: NDArray[np.int64] = np.bincount(firsts, minlength=len(images)).astype(np.int64)
        """Images with the content, by the first image's row; 0 for rows that are not first."""
        self._start = np.concatenate([[0], np.cumsum(self.count)])
        self.faces: NDArray[np.int64] = np.bincount(faces.image, minlength=len(images)).astype(np.int64)
        """Faces of the content, likewise."""
        self._images = images

    @staticmethod
    def _listed(images: ImageTable) -> NDArray[np.bool_]:
        listed: NDArray[np.bool_] = ~images.unresolved | (images.first == np.arange(len(images)))
        return listed

    def rows(self, first: int) -> NDArray[np.int64]:
        """Rows of all images with the content of a first image, ascending."""
        return self._rows[self._start[first] : self._start[first + 1]]

    def spread(self, firsts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All images with the contents of some first images: places in `firsts`, and rows of images."""
        count = self.count[firsts]
        place = np.repeat(np.arange(len(firsts)), count)
        within = np.arange(len(place)) - np.repeat(np.cumsum(count) - count, count)
        return place, self._rows[self._start[firsts[place]] + within]

    def listed_rows(self, first: int) -> NDArray[np.int64]:
        """Rows of the images whose pairs with other contents are listed."""
        rows = self.rows(first)
        return rows if len(rows) <= MAX_LISTED else rows[:1]

    @property
    def listed_count(self) -> NDArray[np.int64]:
        """Length of `listed_rows`, by the first image's row."""
        return np.where(self.count <= MAX_LISTED, self.count, np.minimum(self.count, 1))

    def twin_pairs(self, first: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs among the images of one content, as rows."""
        rows = self.rows(first)
        if len(rows) > MAX_LISTED:
            return np.repeat(rows[:1], len(rows) - 1), rows[1:]
        a, b = np.triu_indices(len(rows), 1)
        return rows[a], rows[b]

    @property
    def twin_pair_count(self) -> int:
        """Number of pairs between faces of byte-identical images, in all."""
        count = self.count
        pairs = np.where(count <= MAX_LISTED, count * (count - 1) // 2, count - 1)
        return int((pairs * self.faces)[count > 1].sum())

    @property
    def shared(self) -> NDArray[np.int64]:
        """Rows of the first images of contents that have several images and at least one face."""
        return np.flatnonzero((self.count > 1) & (self.faces > 0))
