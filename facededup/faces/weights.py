"""The files and packages that detectors need: which are here, and how the files come here."""

from __future__ import annotations

import importlib.util
import os

from facededup.errors import JobError, WeightsMissingError
from facededup.models.catalog import HAAR_FILES, DetectorDescription
from facededup.models.weights import deepface_weights_directory, locate_weights
from facededup.progress import Progress


def missing_weights(detector: DetectorDescription) -> tuple[str, ...]:
    """Names of its files that are not on this machine."""
    return tuple(
        name
        for name in detector.weights_files
        if locate_weights(name) is None and not _comes_with_opencv(name)
    )


def missing_module(detector: DetectorDescription) -> str | None:
    """A module that the detector needs and that is not installed."""
    return next((name for name in detector.modules if importlib.util.find_spec(name) is None), None)


def check_weights_files(purpose: str, detector: DetectorDescription) -> None:
    """Makes sure that DeepFace finds what it would download.

    Args:
        purpose: What they are for, as the subject of a sentence.
        detector: The one whose files these are.

    Raises:
        WeightsMissingError: One is not on this machine.
    """
    for name in missing_weights(detector):
        raise WeightsMissingError(
            f"{purpose} needs the file {name}, which is not on this machine: run `facededup models fetch"
            f" {detector.name}`, or download {detector.weights_files[name]} and put it into"
            f" {deepface_weights_directory()}"
        )


def fetch_detector(detector: DetectorDescription, progress: Progress) -> str:
    """Downloads the files of a detector that are missing.

    Args:
        detector: From the catalogue.
        progress: Told the bytes.

    Returns:
        The folder they are in.

    Raises:
        JobError: A source could not be reached, or a file could not be written.
    """
    from facededup.models.fetch import download

    folder = deepface_weights_directory()
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as exc:
        raise JobError(f"the folder of weights {folder!r} cannot be made: {exc.strerror}") from exc
    for name in missing_weights(detector):
        download((detector.weights_files[name],), os.path.join(folder, name), progress=progress)
    return folder


def _comes_with_opencv(name: str) -> bool:
    """OpenCV 4 carries its cascades, OpenCV 5 does not."""
    spec = importlib.util.find_spec("cv2") if name in HAAR_FILES else None
    if spec is None or spec.origin is None:
        return False
    return os.path.isfile(os.path.join(os.path.dirname(spec.origin), "data", name))
