"""Looks at every byte of a store that means something."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from facededup.errors import DamagedStoreError
from facededup.store.base import Snapshot, pair_blocks
from facededup.types import Outcome

_ROWS = 4096
_NORM_TOLERANCE = 1e-3


def look_through(open_snapshot: Callable[[], Snapshot]) -> list[str]:
    """Reads a whole store.

    Args:
        open_snapshot: Opens it.

    Returns:
        What is wrong, a sentence each; nothing for a sound store.

    Raises:
        StoreNotFoundError: There is none.
        NewerFormatError: A later version made it.
        WrongKeyError: It is encrypted, and the key is missing or another.
        JobError: It may not be read.
    """
    problems: list[str] = []
    try:
        with open_snapshot() as snapshot:
            for look in (_images, _faces, _embeddings, _findings, _decisions):
                try:
                    problems.extend(look(snapshot))
                except DamagedStoreError as exc:
                    problems.append(f"{look.__name__.strip('_')}: {exc.__cause__ or exc}")
    except DamagedStoreError as exc:
        problems.append(str(exc))
    return problems


def _images(snapshot: Snapshot) -> Iterator[str]:
    images = snapshot.images
    if len(images) and not (np.all(np.diff(images.id) > 0) and images.id[0] >= 0):
        yield "images: the ids do not ascend"
    if len(images) and images.id[-1] >= snapshot.next_image_id:
        yield "images: an id was not given yet"
    if len(set(images.path)) != len(images):
        yield "images: a path is there twice"
    if not np.isin(images.outcome, [outcome.value for outcome in Outcome]).all():
        yield "images: an outcome is none of those known"
    if len(images) and not 0 <= images.root.min() <= images.root.max() < len(images.roots):
        yield "images: an image has no root"


def _faces(snapshot: Snapshot) -> Iterator[str]:
    faces, images = snapshot.faces, snapshot.images
    if len(faces) == 0:
        return
    if not (np.all(np.diff(faces.id) > 0) and faces.id[0] >= 0 and faces.id[-1] < snapshot.next_face_id):
        yield "faces: the ids do not ascend"
    if not np.array_equal(images.first[faces.image], faces.image):
        yield "faces: a face does not point to the first image of its content"
    begins = np.diff(faces.image, prepend=-1) != 0
    if not np.array_equal(faces.number == 0, begins) or (np.diff(faces.number)[~begins[1:]] != 1).any():
        yield "faces: the faces of a content are not numbered from 0"


def _embeddings(snapshot: Snapshot) -> Iterator[str]:
    for number, start in enumerate(range(0, len(snapshot.faces), _ROWS)):
        rows = snapshot.embeddings(start, min(start + _ROWS, len(snapshot.faces)))
        squares = np.einsum("ij,ij->i", rows, rows)
        # Written this way round, what is not a number fails too.
        if not np.all(np.abs(squares - 1) < 2 * _NORM_TOLERANCE):
            yield f"embeddings: block {number} is not L2-normalised"


def _findings(snapshot: Snapshot) -> Iterator[str]:
    findings = snapshot.findings()
    if findings is None:
        return
    for block in pair_blocks(findings):
        if not (np.all(block.a >= 0) and np.all(block.a < block.b)):
            yield "findings: a pair is not in order"
            break
        if block.b.max() >= snapshot.next_face_id:
            yield "findings: a pair has a face that never was"
            break
    members = findings.clusters.members
    if len(members) and not 0 <= members.min() <= members.max() < snapshot.next_face_id:
        yield "findings: a cluster has a face that never was"


def _decisions(snapshot: Snapshot) -> Iterator[str]:
    snapshot.decisions()  # compares the checksums, and refuses what is no decision
    return iter(())
