from dataclasses import dataclass

import numpy as np
import pytest
from dlib_reference import describe

from facededup.errors import JobError
from facededup.models.catalog import ModelDescription, describe_model
from facededup.models.encoder import Encoder

DLIB = describe_model("Dlib")


def normalised(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_rows_have_length_one_and_dlibs_direction(engine, chips, dlib_descriptors):
    embeddings = Encoder(engine).encode(chips)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings.astype(np.float64), axis=1), 1, atol=1e-7)
    np.testing.assert_allclose(embeddings, normalised(dlib_descriptors), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 4, 6, 100])
def test_batch_size_changes_nothing(engine, chips, batch_size):
    np.testing.assert_allclose(
        Encoder(engine, batch_size=batch_size).encode(chips), Encoder(engine).encode(chips), atol=1e-6
    )


def test_flip_averages_face_and_mirror(engine, chips, dlib_descriptors):
    face, mirror = dlib_descriptors[0:2], dlib_descriptors[2:4]
    embeddings = Encoder(engine, flip=True).encode(chips[:2])
    np.testing.assert_allclose(embeddings, normalised(face + mirror), atol=1e-5)
    np.testing.assert_allclose(Encoder(engine, flip=True).encode(chips[2:4]), embeddings, atol=1e-6)
    np.testing.assert_allclose(Encoder(engine, flip=True).embed(chips[:2]), (face + mirror) / 2, atol=1e-5)


@pytest.mark.parametrize(("crops", "moved"), [(2, (-3, 3)), (5, (-6, -3, 0, 3, 6))])
def test_crops_average_what_dlib_makes_of_each_cut(engine, chips, crops, moved):
    faces = chips[:2]
    padded = np.pad(faces, ((0, 0), (6, 6), (0, 0), (0, 0)), mode="edge")
    cuts = [padded[:, 6 + rows : 156 + rows] for rows in moved]
    each = [describe(np.concatenate([cut, cut[:, :, ::-1]])) for cut in cuts]
    plain = sum(rows[:2] for rows in each)
    embeddings = Encoder(engine, crops=crops).encode(faces)
    np.testing.assert_allclose(embeddings, normalised(plain), atol=1e-5)
    mirrored = Encoder(engine, crops=crops, flip=True)
    np.testing.assert_allclose(
        mirrored.encode(faces), normalised(plain + sum(rows[2:] for rows in each)), atol=1e-5
    )
    np.testing.assert_allclose(mirrored.encode(faces[:, :, ::-1]), mirrored.encode(faces), atol=1e-6)
    assert (mirrored.encode(faces) * embeddings).sum(1).max() < 0.9999


def test_no_faces(engine):
    assert Encoder(engine).encode(np.empty((0, 150, 150, 3), np.uint8)).shape == (0, 128)


def test_views_are_taken(engine, chips):
    bgr = np.ascontiguousarray(chips[..., ::-1])
    np.testing.assert_array_equal(Encoder(engine).encode(bgr[..., ::-1]), Encoder(engine).encode(chips))


def test_default_batch_size(engine):
    assert Encoder(engine).batch_size == (16 if engine.device == "CPU" else 128)
    assert Encoder(engine, batch_size=3).batch_size == 3


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((1, 149, 150, 3), np.uint8),
        np.zeros((1, 150, 150, 4), np.uint8),
        np.zeros((150, 150, 3), np.uint8),
        np.zeros((1, 150, 150, 3), np.float32),
    ],
)
def test_wrong_chips_are_refused(engine, wrong):
    with pytest.raises(ValueError, match=r"uint8 faces of shape \(n, 150, 150, 3\)"):
        Encoder(engine).encode(wrong)


@dataclass
class BrokenEngine:
    """A framework gone wrong, as half precision on a GPU can."""

    value: float
    name: str = "onnx"
    device: str = "GPU"
    versions: dict[str, str] | None = None
    model: ModelDescription = DLIB

    def run(self, chips):
        return np.full((len(chips), 128), self.value, np.float32)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_embeddings_without_direction_are_refused(chips, value):
    with pytest.raises(JobError, match="zero or not finite"):
        Encoder(BrokenEngine(value)).encode(chips)
