"""Counts of a whole store."""

from __future__ import annotations

import numpy as np

from facededup.results import ImageCounts, StoreStatus
from facededup.settings import Settings
from facededup.store.base import Findings, ImageTable, Snapshot
from facededup.store.opener import open_store
from facededup.types import Outcome


def count_images(images: ImageTable) -> ImageCounts:
    """Images by outcome."""
    counts = np.bincount(images.outcome, minlength=len(Outcome))
    return ImageCounts(
        total=len(images),
        ok=int(counts[Outcome.OK.value]),
        no_face=int(counts[Outcome.NO_FACE_DETECTED.value]),
        multiple_faces=int(counts[Outcome.MULTIPLE_FACES_DETECTED.value]),
        failed=int(counts[Outcome.FILE_ERROR.value]),
    )


def count_faces(snapshot: Snapshot) -> int:
    """Faces of all images; those of a content once for every image that has it."""
    images = snapshot.images
    faces = np.bincount(snapshot.faces.image, minlength=len(images))
    return int(faces[images.first].sum())


def count_unsearched(snapshot: Snapshot, findings: Findings) -> int:
    """Embeddings that came after these findings: no pair of theirs was looked for.

    Findings of the first version do not say which those are: 0.
    """
    known = findings.meta.get("next_face_id")
    return 0 if known is None else int((snapshot.faces.id >= known).sum())


def describe_store(settings: Settings) -> StoreStatus:
    """Counts of a store, what made it, its size and its last runs.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: The store is damaged, or is no store.
    """
    store = open_store(settings.store, settings.key_file)
    with store.snapshot() as snapshot:
        findings = snapshot.findings()
        return StoreStatus(
            store=store.location,
            fingerprint=snapshot.fingerprint,
            images=count_images(snapshot.images),
            faces=count_faces(snapshot),
            embeddings=len(snapshot.faces),
            disk_bytes=store.disk_bytes(),
            last_run=snapshot.info.get("last_run"),
            findings=None
            if findings is None
            else {
                **findings.meta,
                "pairs": findings.pair_count,
                "clusters": len(findings.clusters),
                "unsearched": count_unsearched(snapshot, findings),
            },
            place=store.describe(),
        )
