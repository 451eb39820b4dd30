from __future__ import annotations

import os

import numpy as np
import pytest
from skimage import data

from facededup.models.weights import find_weights


@pytest.fixture(scope="module")
def astronaut():
    """512 x 512, one face."""
    return np.ascontiguousarray(data.astronaut())


@pytest.fixture
def weights_folder(tmp_path, monkeypatch):
    """DeepFace's folder of weights, a temporary one: nothing is in it that a test did not put there."""
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    folder = tmp_path / ".deepface" / "weights"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def dlib_weights(weights_folder):
    """The same with dlib's files linked into it, as DeepFace's own clients want them."""
    for name in ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"):
        os.symlink(find_weights(name), weights_folder / name)
    return weights_folder
