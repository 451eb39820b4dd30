"""The pipeline of `search`: who in the store looks like the faces of one image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from facededup.copies import Copies
from facededup.errors import JobError, PathNotFoundError
from facededup.finding import operating_cosine
from facededup.matching.flat import exact_cosine, nearest
from facededup.metrics import Metrics
from facededup.models.scores import cosine_cut, similarity
from facededup.recipe import analysis_settings, choose_fingerprint, open_encoder
from facededup.results import SearchResult
from facededup.settings import Settings
from facededup.store.base import Snapshot
from facededup.store.opener import open_store
from facededup.types import Box, FaceRef, Floats, Match, Outcome
from facededup.workers.steps import Analyser, Analysis, ImageTask

BLOCK = 65_536
"""Embeddings read at a time."""


def search_image(
    image: str, settings: Settings, metrics: Metrics, *, k: int, threshold: float | None
) -> SearchResult:
    """Finds the stored faces most like those of one image, whatever faces rule the store has.

    Args:
        image: Path of the image.
        settings: Of the run.
        metrics: Receives the timing.
        k: Matches listed for each face, at most.
        threshold: Lowest similarity of a match, None for no bound.

    Raises:
        PathNotFoundError: There is no such image.
        JobError: No face was found in it, or it cannot be read.
        StoreNotFoundError: There is no store.
    """
    if not os.path.exists(image):
        raise PathNotFoundError(f"there is no image {image!r}")
    store = open_store(settings.store)
    with store.snapshot() as snapshot:
        fingerprint = choose_fingerprint(settings, snapshot.fingerprint, store.location)
        encoder = open_encoder(fingerprint, settings, threads=os.cpu_count() or 1)
        metrics.engine = encoder.engine.name
        metrics.devices.update(
            decode="CPU", detect="CPU", align="CPU", embed=encoder.engine.device, search="CPU"
        )
        metrics.versions.update(encoder.engine.versions)
        analyser = Analyser(analysis_settings(fingerprint, settings, faces="all"))
        metrics.mark_started()
        analysis = analyser(ImageTask(os.path.abspath(image), os.path.dirname(os.path.abspath(image))))
        metrics.images = 1
        metrics.add(analysis.seconds)
        if analysis.outcome is not Outcome.OK:
            raise JobError(f"{image!r} cannot be searched for: {_why(analysis)}")
        with metrics.timed("embed", len(analysis.faces)):
            probes = encoder.encode(analysis.chips)
        metrics.faces = len(probes)
        scale, _ = operating_cosine(snapshot)
        with metrics.timed("search", len(snapshot.faces)):
            rows, cosines = _nearest(snapshot, probes, k)
            cut = -1.0 if threshold is None else float(cosine_cut(threshold, scale))
            copies = Copies(snapshot.images, snapshot.faces)
            matches = [
                Match(probe, face, box, float(similarity(cosine, scale)), cosine)
                for probe in range(len(probes))
                for face, box, cosine in islice(_matches(snapshot, copies, rows[probe], cosines[probe]), k)
                if cosine >= cut
            ]
    return SearchResult(
        image=image,
        store=store.location,
        threshold=threshold,
        operating_cosine=scale,
        faces=analysis.faces,
        matches=tuple(matches),
        metrics=metrics,
    )


def _why(analysis: Analysis) -> str:
    return f"{analysis.outcome.name}: {analysis.reason}" if analysis.reason else analysis.outcome.name


def _nearest(snapshot: Snapshot, probes: Floats, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows and cosines (probes, k') of the stored faces nearest to each probe, nearest first."""
    rows = np.empty((len(probes), 0), np.int64)
    cosines = np.empty((len(probes), 0))
    for start in range(0, len(snapshot.faces), BLOCK):
        block = snapshot.embeddings(start, min(start + BLOCK, len(snapshot.faces)))
        places, _ = nearest(probes, block, min(k, len(block)))
        exact = np.stack(
            [
                exact_cosine(np.repeat(probe[None], places.shape[1], axis=0), block[chosen])
                for probe, chosen in zip(probes, places, strict=True)
            ]
        )
        rows = np.concatenate([rows, places + start], axis=1)
        cosines = np.concatenate([cosines, exact], axis=1)
        order = np.argsort(-cosines, axis=1, kind="stable")[:, :k]
        rows, cosines = np.take_along_axis(rows, order, 1), np.take_along_axis(cosines, order, 1)
    return rows, cosines


def _matches(
    snapshot: Snapshot, copies: Copies, rows: NDArray[np.int64], cosines: NDArray[np.float64]
) -> Iterator[tuple[FaceRef, Box, float]]:
    """Stored faces by row, with their cosines; a copy of an image has all its matches."""
    faces, images = snapshot.faces, snapshot.images
    for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
        for image in copies.rows(int(faces.image[row])).tolist():
            face = FaceRef(os.fsdecode(images.path[image]), int(faces.number[row]))
            yield face, Box(*faces.box[row].tolist()), cosine
