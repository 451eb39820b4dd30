"""Batches behind a library with little memory; `tests/workers/test_detection.py` has a real library."""

import numpy as np
import pytest

from facededup.faces.deepface_batches import Batches


class Library:
    """Finds one face, the image's first value; has room for so many images at once, and takes one size."""

    def __init__(self, room):
        self.room, self.batches = room, []

    def detect_faces(self, images, **options):
        assert options == {"threshold": 0.5}
        single = not isinstance(images, list)
        images = [images] if single else images
        if len(images) > self.room:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.batches.append(np.stack(images).shape[:3])
        found = [[int(image[0, 0, 0])] for image in images]
        return found[0] if single else found


class Client:
    """As DeepFace's: prepares an image, asks the library, reads what that found."""

    def __init__(self, room):
        self.model = Library(room)

    def detect_faces(self, image):
        return [f"face {value}" for value in self.model.detect_faces(image + 1, threshold=0.5)]


def filled(values, height):
    return [np.full((height, 8, 3), value, np.uint8) for value in values]


IMAGES = [*filled(range(7), 8), *filled(range(100, 103), 9), *filled(range(7, 10), 8)]
EXPECTED = [[f"face {value + 1}"] for value in (*range(7), *range(100, 103), *range(7, 10))]


def test_images_of_one_size_go_together():
    client = Client(room=99)
    library = client.model
    assert Batches(client, "mtcnn").find(IMAGES) == EXPECTED
    assert library.batches == [(10, 8, 8), (3, 9, 8)]
    assert client.model is library
    assert Batches(client, "mtcnn").find([]) == []


def test_a_batch_that_does_not_fit_is_halved_and_later_ones_are_no_larger():
    client = Client(room=4)
    batches = Batches(client, "mtcnn")
    assert batches.find(IMAGES) == EXPECTED
    assert client.model.batches == [(2, 8, 8)] * 5 + [(2, 9, 8), (1, 9, 8)]
    assert batches.find(IMAGES[:4]) == EXPECTED[:4]
    assert client.model.batches[-2:] == [(2, 8, 8)] * 2


def test_an_image_that_does_not_fit_alone_is_said():
    client = Client(room=0)
    with pytest.raises(MemoryError, match=r"2\.00 GiB"):
        Batches(client, "mtcnn").find(IMAGES)


def test_a_library_that_takes_one_image_gets_one():
    client = Client(room=99)
    assert Batches(client, "retinaface").find(IMAGES) == EXPECTED
    assert [images for images, *_ in client.model.batches] == [1] * 13


def test_an_error_leaves_the_client_as_it_was():
    client = Client(room=99)
    library = client.model
    library.detect_faces = lambda *_, **__: 1 / 0
    with pytest.raises(ZeroDivisionError):
        Batches(client, "mtcnn").find(IMAGES)
    assert client.model is library
