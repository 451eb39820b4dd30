"""Several images at once for DeepFace's detectors, whose clients take one.

A client prepares an image for its library, calls the library, and reads what that found. Some libraries take
many images in a call. So a client runs twice for each image, with a stand-in in its library's place: first to
learn what it asks; then, when the library has looked at all images together, to read what was found.

Only images of one size go together: mtcnn and ultralytics would fill up smaller ones, and find other faces.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from facededup.devices import is_out_of_memory
from facededup.types import Pixels

_MOST = 32


@dataclass(frozen=True, slots=True)
class _Library:
    """How a library is called.

    Attributes:
        method: Of its model, which DeepFace's client calls with an image.
        nothing: What that gives where there is no face.
        look: The model's answers, one an image, from the model, what was asked for each image, and options.
    """

    method: str
    nothing: Any
    look: Callable[[Any, list[Any], dict[str, Any]], Sequence[Any]]


_LIBRARIES = {
    "mtcnn": _Library(
        "detect_faces", [], lambda model, images, options: model.detect_faces(images, **options)
    ),
    "facenet_pytorch": _Library(
        "detect",
        None,
        lambda model, images, options: list(zip(*model.detect(np.stack(images), **options), strict=True)),
    ),
    "ultralytics": _Library(
        "predict", [[]], lambda model, images, options: [[each] for each in model.predict(images, **options)]
    ),
}


class Batches:
    """A client of DeepFace, and how to show it several images.

    A batch that does not fit into memory is halved, and so are those that come later.

    Args:
        client: As DeepFace opens it.
        library: Name of the module that it calls.
    """

    def __init__(self, client: Any, library: str) -> None:
        self._client = client
        self._library = _LIBRARIES.get(library)
        self._most = _MOST if self._library else 1

    def find(self, images: Sequence[Pixels]) -> list[list[Any]]:
        """DeepFace's `FacialAreaRegion`s of each image, uint8 (h, w, 3) BGR.

        Raises:
            MemoryError: One of them alone does not fit into memory.
        """
        found: list[list[Any]] = [[] for _ in images]
        for alike in _of_one_size(images):
            places = alike
            while places:
                batch = places[: self._most]
                try:
                    regions = self._look([images[place] for place in batch])
                except Exception as exc:  # the frameworks' errors share no class
                    if not is_out_of_memory(exc):
                        raise
                    if len(batch) == 1:
                        raise MemoryError(str(exc)) from exc
                    self._most = len(batch) // 2
                    continue
                for place, each in zip(batch, regions, strict=True):
                    found[place] = each
                places = places[len(batch) :]
        return found

    def _look(self, images: list[Pixels]) -> list[list[Any]]:
        library = self._library
        if library is None or len(images) == 1:
            return [self._client.detect_faces(image) for image in images]
        model = self._client.model
        try:
            question = _StandIn(library.method, library.nothing)
            self._client.model = question
            for image in images:
                self._client.detect_faces(image)
            answers = library.look(model, question.images, question.options)
            regions = []
            for image, answer in zip(images, answers, strict=True):
                self._client.model = _StandIn(library.method, answer)
                regions.append(self._client.detect_faces(image))
            return regions
        finally:
            self._client.model = model


class _StandIn:
    """In the place of a library's model: keeps what it is asked, and always gives the same answer."""

    def __init__(self, method: str, answer: Any) -> None:
        self.images: list[Any] = []
        self.options: dict[str, Any] = {}
        self._answer = answer
        setattr(self, method, self._take)

    def _take(self, image: Any, **options: Any) -> Any:
        self.images.append(image)
        self.options = options
        return self._answer


def _of_one_size(images: Sequence[Pixels]) -> list[list[int]]:
    """The places of the images of each size."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, image in enumerate(images):
        places.setdefault(image.shape, []).append(place)
    return list(places.values())
