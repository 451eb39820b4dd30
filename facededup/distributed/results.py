"""What a worker learnt of a chunk of images, as bytes and back."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from facededup.distributed.blob import pack, unpack, unreadable
from facededup.types import Box, Face, FileStat, Floats, Outcome, Quality
from facededup.workers.pool import Failure
from facededup.workers.steps import Analysis, ImageTask

_PLAIN = tuple(
    item.name
    for item in fields(Analysis)
    if item.name not in ("task", "stat", "digest", "outcome", "faces", "chips")
)
"""Fields that JSON can hold as they are."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class EmbeddedAnalysis(Analysis):
    """An analysis from elsewhere: without chips, with what they were made into.

    Attributes:
        embeddings: float32 (k, dimension), L2-normalised, a row a face.
    """

    embeddings: Floats = field(default_factory=lambda: np.empty((0, 0), np.float32))


def pack_tasks(tasks: Sequence[ImageTask]) -> bytes:
    """Tasks as bytes: paths below their roots, each root once."""
    roots: dict[str, int] = {}
    rows = []
    for task in tasks:
        below = task.path.removeprefix(os.path.join(task.root, ""))
        inside = below != task.path and os.path.join(task.root, below) == task.path
        path = below if inside else task.path
        rows.append([roots.setdefault(task.root, len(roots)), inside, path, task.force])
    return pack([list(roots), rows])


def unpack_tasks(data: bytes) -> list[ImageTask]:
    """The tasks again.

    Raises:
        JobError: The bytes are not of `pack_tasks`.
    """
    document, _ = unpack(data)
    with _reading():
        roots, rows = document
        return [
            ImageTask(os.path.join(roots[root], path) if inside else path, roots[root], force)
            for root, inside, path, force in rows
        ]


def pack_results(
    results: Sequence[Analysis | Failure], embeddings: Floats, facts: Mapping[str, Any]
) -> bytes:
    """The results of a chunk as bytes.

    Args:
        results: In the order of the chunk's tasks.
        embeddings: float32 (faces, dimension) of all faces in that order.
        facts: Plain values about the worker: engine, devices, versions, seconds.
    """
    rows = [row.reason if isinstance(row, Failure) else _to_row(row) for row in results]
    return pack([rows, dict(facts)], embeddings)


def unpack_results(
    data: bytes, tasks: Sequence[ImageTask]
) -> tuple[list[EmbeddedAnalysis | Failure], dict[str, Any]]:
    """The results again, and the facts.

    Args:
        data: Of `pack_results`.
        tasks: The chunk's.

    Raises:
        JobError: The bytes are not of `pack_results`, or not of this chunk.
    """
    document, arrays = unpack(data)
    with _reading():
        rows, facts = document
        (embeddings,) = arrays
        found: list[EmbeddedAnalysis | Failure] = []
        start = 0
        for task, row in zip(tasks, rows, strict=True):
            if isinstance(row, str):
                found.append(Failure(row))
                continue
            stop = start + len(row["faces"])
            found.append(_from_row(row, task, embeddings[start:stop]))
            start = stop
        if start != len(embeddings):
            raise ValueError("embeddings of another number than faces")
        return found, facts


@contextmanager
def _reading() -> Iterator[None]:
    """Takes what a message holds apart.

    Raises:
        JobError: It holds something else.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError) as exc:
        raise unreadable(exc) from exc


def _to_row(analysis: Analysis) -> dict[str, Any]:
    stat = analysis.stat
    return {
        **{name: getattr(analysis, name) for name in _PLAIN},
        "stat": stat and [stat.size, stat.mtime_ns, stat.ctime_ns, stat.inode],
        "digest": analysis.digest.hex(),
        "outcome": analysis.outcome.value,
        "faces": [_face_to_row(face) for face in analysis.faces],
    }


def _from_row(row: dict[str, Any], task: ImageTask, embeddings: Floats) -> EmbeddedAnalysis:
    return EmbeddedAnalysis(
        **{name: row[name] for name in _PLAIN},
        task=task,
        stat=row["stat"] and FileStat(*row["stat"]),
        digest=bytes.fromhex(row["digest"]),
        outcome=Outcome(row["outcome"]),
        faces=tuple(_face_from_row(face) for face in row["faces"]),
        embeddings=embeddings,
    )


def _face_to_row(face: Face) -> list[Any]:
    quality = face.quality
    return [
        [face.box.x, face.box.y, face.box.w, face.box.h],
        face.confidence,
        face.landmarks,
        quality and [quality.score, quality.size, quality.sharpness, quality.frontality, quality.brightness],
    ]


def _face_from_row(row: list[Any]) -> Face:
    box, confidence, landmarks, quality = row
    return Face(Box(*box), confidence, tuple((x, y) for x, y in landmarks), quality and Quality(*quality))
