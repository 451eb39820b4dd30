"""The photos behind a store's contents, read anew from the files on disk.

A store holds no pixels. A file is taken only if its bytes are still the enrolled ones: whatever path a store
names, nothing else of it gets into a report or a score.
"""

from __future__ import annotations

import hashlib
import os

from facededup.copies import Copies
from facededup.images.decode import DecodedImage, DecodeError, decode
from facededup.images.read import ReadError, read_file
from facededup.store.base import ImageTable

PATHS_TRIED = 3
"""Byte-identical files looked at before a photo counts as missing."""
_BYTES_A_PIXEL = 16


class StoredPhotos:
    """The photos of a store's images. Safe to use from several threads.

    Args:
        images: All images.
        copies: Which images have the same content.
        max_pixels: A larger image counts as missing.
    """

    def __init__(self, images: ImageTable, copies: Copies, max_pixels: int) -> None:
        self._images = images
        self._copies = copies
        self._max_pixels = max_pixels

    def read(self, image: int, long_side: int | None = None) -> DecodedImage | None:
        """A content, decoded from the first of its files that still holds it; None where none does.

        Args:
            image: Row of the first image with the content.
            long_side: In pixels, that are enough; None for all.
        """
        digest = self._images.digest[image].tobytes()
        copies = [int(row) for row in self._copies.rows(image)[:PATHS_TRIED]]
        for row in dict.fromkeys([image, *copies]):
            try:
                path = os.fsdecode(self._images.path[row])
                data, _ = read_file(path, max_bytes=self._max_pixels * _BYTES_A_PIXEL)
                if hashlib.sha256(data).digest() == digest:
                    return decode(data, max_pixels=self._max_pixels, long_side=long_side)
            except (ReadError, DecodeError, MemoryError, ValueError):  # ValueError: a path with a NUL byte
                continue
        return None
