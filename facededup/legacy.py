"""The files of the proof of concept `dedupe`: its JSON encodings read, its JSON findings written.

It keeps `_encoding_MODEL_DETECTOR.json` (path to a list of numbers, or to a text where there is none) beside
the images, and writes `_findings_MODEL_DETECTOR.json` (path to pairs of another path and a number) and
`_perf_MODEL_DETECTOR.json` there.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from facededup.errors import PathNotFoundError, UsageError
from facededup.images.read import ReadError, read_file
from facededup.images.walk import find_mount
from facededup.recipe import choose_fingerprint
from facededup.results import FindResult
from facededup.settings import Settings
from facededup.store.base import Batch, Content, ImageRecord
from facededup.store.opener import open_store
from facededup.types import Box, Face, FileStat, Outcome

NO_FACE_DETECTED = "NO_FACE_DETECTED"
NO_FACE_SCORE = 99
"""What the proof of concept writes as the number beside NO_FACE_DETECTED."""

_BATCH = 1000
_MAX_BYTES = 1 << 31


def legacy_file(folder: str, what: str, model: str, detector: str, ending: str = ".json") -> str:
    """The path of one of its files."""
    return os.path.join(folder, f"_{what}_{model}_{detector}{ending}")


def import_encodings(settings: Settings, folder: str) -> int:
    """Takes the encodings of a folder of the proof of concept into a store, so that they are not made again.

    Its faces were cut out as DeepFace does; the boxes are not in the files and are empty. An image whose file
    is there counts as indexed until the file changes.

    Args:
        settings: Of the run; `model` and `detector` choose the file.
        folder: Where the files are.

    Returns:
        Images taken.

    Raises:
        PathNotFoundError: There is no such folder, or no file of encodings of this model and detector in it.
        UsageError: A file is not one of encodings, or of another model.
        SettingMismatchError: The store was made otherwise than these encodings.
    """
    store = open_store(settings.store, settings.key_file)
    existing = None
    if store.exists():
        with store.snapshot() as snapshot:
            existing = snapshot.fingerprint
    made = choose_fingerprint(replace(settings, align="deepface"), existing, store.location)
    path = legacy_file(folder, "encoding", made.model, made.detector)
    if not os.path.isfile(path):
        found = glob.glob(os.path.join(glob.escape(folder), "_encoding_*"))
        names = ", ".join(sorted(map(os.path.basename, found)))
        others = f"; there are {names}" if names else ""
        raise PathNotFoundError(
            f"there are no encodings of {made.model} with {made.detector} ({path!r}){others}: choose by "
            f"--model-name and --detector-backend"
        )
    table = _table(path)
    count = 0
    with store.writer(made) as writer:
        images: list[ImageRecord] = []
        contents: list[Content] = []
        for image, content in _images(table, path, os.path.abspath(folder), made.dimension):
            images.append(image)
            contents.extend([content] if content is not None else [])
            count += 1
            if len(images) == _BATCH:
                writer.commit(Batch(images=tuple(images), contents=tuple(contents)))
                images, contents = [], []
        writer.commit(Batch(images=tuple(images), contents=tuple(contents)))
    return count


def _table(path: str) -> dict[str, Any]:
    """Names of images, and what the file has for each."""
    try:
        with open(path, encoding="utf-8") as file:
            table = json.load(file)
    except (ValueError, OSError, RecursionError) as exc:
        raise UsageError(f"{path!r} is not a JSON file of encodings: {exc}") from exc
    if not isinstance(table, dict):
        raise UsageError(f"{path!r} is not a JSON file of encodings: it has to map paths to lists")
    for name, encoding in table.items():
        try:
            os.fsencode(f"{name}{encoding if isinstance(encoding, str) else ''}")
        except UnicodeEncodeError as exc:
            raise UsageError(f"{path!r}, {name!r}: there are characters in it that no text can have") from exc
        if not name or "\0" in name:
            raise UsageError(f"{path!r}, {name!r}: this names no image")
    return table


def _images(
    table: dict[str, Any], path: str, folder: str, dimension: int
) -> Iterator[tuple[ImageRecord, Content | None]]:
    mount = os.fsencode(find_mount(folder))
    for name, encoding in table.items():
        record = _record(os.path.abspath(os.path.join(folder, name)), folder, mount)
        if isinstance(encoding, str):
            missing = encoding.replace(" ", "_") == NO_FACE_DETECTED
            outcome = Outcome.NO_FACE_DETECTED if missing else Outcome.FILE_ERROR
            reason = "no face was found" if missing else encoding
            yield replace(record, outcome=outcome, reason=reason, retry=not missing), None
            continue
        vector = _vector(encoding, dimension, f"{path!r}, {name!r}")
        yield record, Content(record.digest, (Face(Box(0, 0, 0, 0), 0.0),), vector[None])


def _record(path: str, folder: str, mount: bytes) -> ImageRecord:
    """An image as it is on disk; one that is gone gets a digest of its name."""
    try:
        data, stat = read_file(path, max_bytes=_MAX_BYTES)
        digest = hashlib.sha256(data).digest()
    except ReadError:
        digest, stat = hashlib.sha256(os.fsencode(path)).digest(), FileStat(0, 0, 0, 0)
    return ImageRecord(
        path=os.fsencode(path),
        root=os.fsencode(folder),
        mount=mount,
        stat=stat,
        digest=digest,
        outcome=Outcome.OK,
    )


def _vector(encoding: Any, dimension: int, where: str) -> Any:
    try:
        vector = np.asarray(encoding, np.float64)
    except (TypeError, ValueError, OverflowError) as exc:
        raise UsageError(f"{where}: an encoding is a list of numbers") from exc
    length = float(np.linalg.norm(vector)) if vector.shape == (dimension,) else 0.0
    if not (np.isfinite(length) and length > 0):
        raise UsageError(f"{where}: an encoding of this model is a list of {dimension} numbers, not all zero")
    return (vector / length).astype(np.float32)


def legacy_findings(found: FindResult, *, symmetric: bool) -> dict[str, list[list[Any]]]:
    """Findings as the proof of concept writes them, with similarities in the place of its numbers.

    Args:
        found: Of `find`.
        symmetric: List each pair under both paths.
    """
    findings: dict[str, list[list[Any]]] = defaultdict(list)
    for pair in found.pairs:
        findings[pair.a.path].append([pair.b.path, round(pair.similarity, 6)])
        if symmetric:
            findings[pair.b.path].append([pair.a.path, round(pair.similarity, 6)])
    for image in found.unencoded:
        outcome = image.outcome.name if image.outcome is not Outcome.FILE_ERROR else image.reason
        findings[image.path].append([outcome, NO_FACE_SCORE])
    return dict(findings)
