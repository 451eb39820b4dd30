"""Small pictures of stored faces and their photos, made anew from the files on disk."""

from __future__ import annotations

import io
import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from facededup.contents import StoredPhotos
from facededup.copies import Copies
from facededup.faces.align import cut_chip
from facededup.images.decode import DecodedImage, pillow_limits
from facededup.models.catalog import describe_detector
from facededup.store.base import FaceTable, ImageTable
from facededup.types import Box, Face, Pixels

FACE_SIDE = 160
"""Side of a face, in pixels."""
PHOTO_SIDE = 360
"""Longer side of a photo, in pixels."""
MARGIN = 1.3
"""Side of the square around a box, in lengths of the box, where a face is not aligned."""
MADE_AT_ONCE = 16
"""Contents a thread is given at a time: handing one over costs as much as finding that a file is gone."""
_QUALITY = 80


@dataclass(frozen=True, slots=True)
class Pictures:
    """Of one content, as JPEG: the photo and some of its faces; None for what cannot be shown."""

    photo: bytes | None
    faces: tuple[bytes | None, ...]


class PictureMaker:
    """Makes the pictures of a store's contents. Safe to use from several threads."""

    def __init__(
        self, images: ImageTable, faces: FaceTable, copies: Copies, detector: str, max_pixels: int
    ) -> None:
        """Keeps the tables.

        Args:
            images: All images.
            faces: All faces.
            copies: Which images have the same content.
            detector: What found the faces; names its kind of landmarks.
            max_pixels: A larger image is not shown.
        """
        self._images = images
        self._faces = faces
        self._face_side = faces.box[:, 2:].max(axis=1, initial=0)
        self._photos = StoredPhotos(images, copies, max_pixels)
        self._aligned = describe_detector(detector).landmarks == "dlib"

    def make(self, image: int, faces: Iterable[int], *, photo: bool = True) -> Pictures:
        """Reads one content's file and cuts.

        Args:
            image: Row of the first image with the content.
            faces: Rows of its faces.
            photo: Whether the photo is wanted.
        """
        rows = tuple(faces)
        decoded = self._photos.read(image, self._long_side(image, rows, FACE_SIDE))
        if decoded is None:
            return Pictures(None, (None,) * len(rows))
        cut = (self.face(decoded, row, FACE_SIDE) for row in rows)
        return Pictures(
            _encoded(_reduced(decoded.pixels)) if photo else None,
            tuple(None if face is None else _encoded(face) for face in cut),
        )

    def cut(self, image: int, face: int, side: int) -> Image.Image | None:
        """One face of a content, see `face`; None if it cannot be shown."""
        decoded = self._photos.read(image, self._long_side(image, (face,), side))
        return None if decoded is None else self.face(decoded, face, side)

    def make_many(self, wanted: Iterable[tuple[int, tuple[int, ...]]], threads: int) -> Iterator[Pictures]:
        """Makes the pictures of many contents, in the order they are wanted, some ahead of the reader."""
        contents = iter(wanted)
        with pillow_limits(), ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[list[Pictures]]] = deque()
            try:
                while some := list(itertools.islice(contents, MADE_AT_ONCE)):
                    waiting.append(pool.submit(self._make_some, some))
                    if len(waiting) > 4 * threads:
                        yield from waiting.popleft().result()
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for unread in waiting:
                    unread.cancel()

    def _make_some(self, wanted: list[tuple[int, tuple[int, ...]]]) -> list[Pictures]:
        return [self.make(image, faces) for image, faces in wanted]

    def _long_side(self, image: int, faces: tuple[int, ...], side: int) -> int:
        """How large an image must be decoded for its smallest face to be as sharp as its picture can be."""
        whole = max(int(self._images.width[image]), int(self._images.height[image]))
        smallest = min((int(self._face_side[row]) for row in faces), default=whole)
        return max(PHOTO_SIDE, side * whole // max(smallest, 1))

    def face(self, image: DecodedImage, row: int, side: int) -> Image.Image | None:
        """One face, aligned where its landmarks allow that, else its box and some room around it.

        Args:
            image: That it is in.
            row: The face.
            side: Of the square, in pixels.
        """
        pixels = image.pixels
        height, width = pixels.shape[:2]
        scale = width / image.width
        landmarks = self._faces.landmarks[row] * scale
        size = max(width, height)
        # A damaged store may hold any numbers; dlib is asked only for what can be a face.
        if (
            self._aligned
            and bool(np.all(np.abs(landmarks) < 2 * size))
            and np.ptp(landmarks, axis=0).max() > 1
        ):
            points = tuple((float(x), float(y)) for x, y in landmarks)
            return Image.fromarray(cut_chip(pixels, Face(Box(0, 0, 1, 1), 0.0, points), side))
        x, y, w, h = (float(value) * scale for value in self._faces.box[row])
        if w < 1 or h < 1 or max(w, h) > 4 * size or not (-w < x < width and -h < y < height):
            return None
        half = max(w, h) * MARGIN / 2
        middle_x, middle_y = x + w / 2, y + h / 2
        square = (middle_x - half, middle_y - half, middle_x + half, middle_y + half)
        return Image.fromarray(pixels).transform(
            (side, side), Image.Transform.EXTENT, square, Image.Resampling.BICUBIC
        )


def _reduced(pixels: Pixels) -> Image.Image:
    photo = Image.fromarray(pixels)
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    return photo


def _encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
