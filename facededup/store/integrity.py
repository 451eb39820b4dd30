"""Looks at every byte of a store that means something."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from facededup.errors import FacededupError
from facededup.store.hdf5 import Hdf5Snapshot

_PAIRS = 1 << 20
_NORM_TOLERANCE = 1e-3


def check(path: str) -> list[str]:
    """Reads the whole store at `path`, its journal included.

    Returns:
        What is wrong, a sentence each; nothing for a sound store.
    """
    problems: list[str] = []
    try:
        with Hdf5Snapshot(path) as snapshot:
            for look in (_images, _faces, _embeddings, _findings):
                try:
                    problems.extend(look(snapshot))
                except FacededupError as exc:
                    problems.append(f"{look.__name__.strip('_')}: {exc}")
    except FacededupError as exc:
        problems.append(str(exc))
    return problems


def _images(snapshot: Hdf5Snapshot) -> Iterator[str]:
    images = snapshot.images
    if len(images) and not (np.all(np.diff(images.id) > 0) and images.id[-1] < snapshot.next_image_id):
        yield "images: the ids do not ascend"
    if len(set(images.path)) != len(images):
        yield "images: a path is there twice"


def _faces(snapshot: Hdf5Snapshot) -> Iterator[str]:
    faces, images = snapshot.faces, snapshot.images
    if len(faces) and not (np.all(np.diff(faces.id) > 0) and faces.id[-1] < snapshot.next_face_id):
        yield "faces: the ids do not ascend"
    if not np.array_equal(images.first[faces.image], faces.image):
        yield "faces: a face does not point to the first image of its content"


def _embeddings(snapshot: Hdf5Snapshot) -> Iterator[str]:
    for number, rows in enumerate(snapshot.embedding_blocks()):
        if not np.all(np.abs(np.linalg.norm(rows, axis=1) - 1) < _NORM_TOLERANCE):
            yield f"embeddings: block {number} is not L2-normalised"


def _findings(snapshot: Hdf5Snapshot) -> Iterator[str]:
    findings = snapshot.findings()
    if findings is None:
        return
    for start in range(0, findings.pair_count, _PAIRS):
        block = findings.pairs(start, min(start + _PAIRS, findings.pair_count))
        if not np.all(block.a < block.b):
            yield "findings: a pair is not in order"
            break
    if len(findings.clusters) and findings.clusters.members.max() >= snapshot.next_face_id:
        yield "findings: a cluster has a face that never was"
