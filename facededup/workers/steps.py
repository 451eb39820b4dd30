"""What happens to one image in a worker: read, decode, detect, choose, align."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from facededup.faces.align import build_aligner
from facededup.faces.choose import choose_faces
from facededup.faces.detect import build_detector
from facededup.faces.quality import measure_quality
from facededup.faces.view import scale_face, sharp_side
from facededup.images.decode import DecodeError
from facededup.images.phash import perceptual_hash
from facededup.images.picture import FIRST_LOOK, Picture
from facededup.images.read import ReadError, read_file
from facededup.models.catalog import DEFAULT_MODEL, describe_detector
from facededup.types import Face, FileStat, Outcome, Pixels
from facededup.workers.detection import DetectionAddress, RemoteFinder

# A file longer than this many bytes for each pixel allowed is no image of that size in any format.
_BYTES_A_PIXEL = 16


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AnalysisSettings:
    """What a worker is told once.

    Attributes:
        detector: Name of the face detector.
        align: How a face is cut out: `chip`, `arcface` or `deepface`.
        model: Name of the recognition model, which sets the size of a chip.
        faces: Which faces are kept: `all`, `largest`, `center` or `single`.
        max_pixels: An image with more is refused.
        known: uint64, sorted: `digest_prefix` of the contents that need no new analysis.
        detection: The process that finds faces; None for the worker itself.
    """

    detector: str
    align: str
    faces: str
    max_pixels: int
    model: str = DEFAULT_MODEL
    known: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    detection: DetectionAddress | None = None


@dataclass(frozen=True, slots=True)
class ImageTask:
    """One image to analyse.

    Attributes:
        path: As `os.fsdecode` gives it.
        root: The given folder under which it was found; handed through.
        force: Analyse it though its content is known.
    """

    path: str
    root: str
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Analysis:
    """What was learnt of one image.

    Attributes:
        task: As it was given.
        stat: Of the file when it was read; None where it could not be.
        digest: SHA-256 of its bytes; b"" where they could not be read.
        outcome: What became of it. OK for a known content, whose outcome the caller has.
        reason: One sentence where the outcome is not OK, else "".
        retry: Caused by circumstances: another run may fare better.
        known: The content is (by its digest's prefix) a known one, and was not decoded.
        width: Of the upright image, in pixels; 0 where it was not decoded.
        height: Likewise.
        phash: Its perceptual hash; 0 where it was not decoded.
        faces: Those kept, in order, with their quality.
        chips: uint8 (k, height, width, 3), RGB, one a face, of the size the model takes.
        seconds: Spent in `decode` (reading included), `detect` and `align`, each where it was come to.
    """

    task: ImageTask
    stat: FileStat | None = None
    digest: bytes = b""
    outcome: Outcome = Outcome.OK
    reason: str = ""
    retry: bool = False
    known: bool = False
    width: int = 0
    height: int = 0
    phash: int = 0
    faces: tuple[Face, ...] = ()
    chips: Pixels = field(default_factory=lambda: np.empty((0, 0, 0, 3), np.uint8))
    seconds: dict[str, float] = field(default_factory=dict)


def digest_prefix(digest: bytes) -> int:
    """The first eight bytes of a digest as a number, the first byte the most significant."""
    return int.from_bytes(digest[:8], "big")


class Analyser:
    """Analyses images one by one; built once in each worker.

    Raises:
        UsageError: There is no such detector, alignment or model, or they do not go together.
        PackageMissingError: A package the detector needs is not installed.
        WeightsMissingError: The detector's model is not on this machine.
        JobError: The process that was to find faces is gone.
    """

    def __init__(self, settings: AnalysisSettings) -> None:
        self._settings = settings
        self._align = build_aligner(settings.align, settings.detector, settings.model)
        finder = None if settings.detection is None else RemoteFinder(settings.detection)
        self._detector = build_detector(settings.detector, settings.align, finder=finder)
        # What DeepFace would see is wanted to the pixel.
        self._long_side = None if settings.align == "deepface" else FIRST_LOOK
        self._landmarks = describe_detector(settings.detector).landmarks

    def __call__(self, task: ImageTask) -> Analysis:
        """Analyses one image; whatever is wrong with its file is an outcome, not an exception."""
        seconds: dict[str, float] = {}
        failed = Analysis(task=task, outcome=Outcome.FILE_ERROR, seconds=seconds)
        try:
            with _timed(seconds, "decode"):
                max_bytes = self._settings.max_pixels * _BYTES_A_PIXEL
                data, stat = read_file(task.path, max_bytes=max_bytes)
                digest = hashlib.sha256(data).digest()
                failed = replace(failed, stat=stat, digest=digest)
                if not task.force and self._is_known(digest):
                    return replace(failed, outcome=Outcome.OK, known=True)
                max_pixels = self._settings.max_pixels
                picture = Picture.open(data, max_pixels=max_pixels, long_side=self._long_side)
                phash = perceptual_hash(picture.smallest)
            with _timed(seconds, "detect", picture):
                found = self._detector.detect(picture)
            seen = replace(failed, width=picture.width, height=picture.height, phash=phash)
            return self._cut_faces(picture, found, seen)
        except ReadError as exc:
            return replace(failed, reason=exc.reason, retry=exc.retry, stat=exc.stat)
        except DecodeError as exc:
            return replace(failed, reason=exc.reason)
        except MemoryError:
            return replace(failed, reason="not enough memory for this image", retry=True)

    def _is_known(self, digest: bytes) -> bool:
        prefix, known = np.uint64(digest_prefix(digest)), self._settings.known
        place = int(np.searchsorted(known, prefix))
        return place < len(known) and bool(known[place] == prefix)

    def _cut_faces(self, picture: Picture, found: tuple[Face, ...], analysis: Analysis) -> Analysis:
        outcome, faces = choose_faces(found, self._settings.faces, picture.width, picture.height)
        if outcome is Outcome.NO_FACE_DETECTED:
            return replace(analysis, outcome=outcome, reason="no face was found")
        if outcome is Outcome.MULTIPLE_FACES_DETECTED:
            return replace(analysis, outcome=outcome, reason=f"{len(found)} faces were found")
        with _timed(analysis.seconds, "align", picture):
            sharp = self._long_side and sharp_side(picture, min(face.box.w for face in faces))
            image = picture.copy(sharp)
            across, down = image.shape[1] / picture.width, image.shape[0] / picture.height
            in_copy = tuple(scale_face(face, across, down) for face in faces)
            chips = self._align(image, in_copy)
            faces = tuple(
                replace(face, quality=measure_quality(shown, chip, self._landmarks))
                for face, shown, chip in zip(faces, in_copy, chips, strict=True)
            )
        return replace(analysis, outcome=outcome, faces=faces, chips=chips)


@contextmanager
def _timed(seconds: dict[str, float], stage: str, picture: Picture | None = None) -> Iterator[None]:
    """Notes the wall seconds of a block, also when it fails; those a picture took for a copy as `decode`."""
    started, copied = time.perf_counter(), picture.seconds if picture else 0.0
    try:
        yield
    finally:
        copying = picture.seconds - copied if picture else 0.0
        for name, spent in ((stage, time.perf_counter() - started - copying), ("decode", copying)):
            seconds[name] = seconds.get(name, 0.0) + spent
