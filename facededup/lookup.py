"""The pipelines of `search` (who in the store looks like an image) and `compare` (two images).

A demand for a GPU is one for the embedding; a handful of faces is compared with the store on the CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from facededup.calibration import choose_calibration, store_calibration
from facededup.copies import Copies
from facededup.devices import count_gpus
from facededup.errors import JobError, PathNotFoundError
from facededup.executor import note_engine
from facededup.manifest import decode_tags
from facededup.matching.flat import exact_cosine, nearest
from facededup.metrics import Metrics
from facededup.models.contract import CPU_DEVICE
from facededup.models.scores import cosine_cut, similarity
from facededup.recipe import (
    analysis_settings,
    choose_fingerprint,
    open_detection,
    open_encoder,
    runs_on_gpus,
)
from facededup.results import ComparedImage, CompareResult, FacePair, SearchResult
from facededup.settings import Settings
from facededup.store.base import Fingerprint, Neighbours, Snapshot
from facededup.store.opener import open_store
from facededup.types import Box, FaceRef, Floats, Match, Outcome
from facededup.workers.detection import DetectionProcess
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
    _check_there(image)
    store = open_store(settings.store, settings.key_file)
    with store.snapshot() as snapshot:
        fingerprint = choose_fingerprint(settings, snapshot.fingerprint, store.location)
        embedder = _Embedder(fingerprint, settings, metrics)
        metrics.devices["search"] = "CPU"
        analysis, probes = embedder(image)
        if analysis.outcome is not Outcome.OK:
            raise JobError(f"{image!r} cannot be searched for: {_why(analysis)}")
        scale = store_calibration(settings, snapshot).operating_cosine
        with metrics.timed("search", len(snapshot.faces)):
            found = snapshot.nearest(probes, k)
            if found is None:
                rows, cosines = _nearest(snapshot, probes, k)
            else:
                rows, cosines = _checked(found, probes)
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
        engine="faiss" if found is None else found.engine,
        complete=found is None or found.exact,
    )


def compare_images(a: str, b: str, settings: Settings, metrics: Metrics) -> CompareResult:
    """Compares each face of one image with each of another, whatever faces rule the store has.

    An image without a face, or one that cannot be read, is an answer too.

    Args:
        a: Path of an image.
        b: Path of another, or the same.
        settings: Of the run. Where its store exists, model, detector, alignment and scale are the store's.
        metrics: Receives the timing.

    Raises:
        PathNotFoundError: There is no such image.
        SettingMismatchError: A given setting differs from the store's.
    """
    _check_there(a)
    _check_there(b)
    store = open_store(settings.store, settings.key_file)
    if store.exists():
        with store.snapshot() as snapshot:
            fingerprint = choose_fingerprint(settings, snapshot.fingerprint, store.location)
            calibration = store_calibration(settings, snapshot)
    else:
        fingerprint = choose_fingerprint(settings, None, store.location)
        calibration = choose_calibration(settings, fingerprint, {})
    scale, source = calibration.operating_cosine, calibration.source
    embedder = _Embedder(fingerprint, settings, metrics)
    (first, first_rows), (second, second_rows) = embedder(a), embedder(b)
    cut = float(cosine_cut(settings.threshold, scale))
    pairs = []
    for number, row in enumerate(first_rows):
        cosines = exact_cosine(np.repeat(row[None], len(second_rows), axis=0), second_rows)
        pairs += [
            FacePair(number, other, float(similarity(cosine, scale)), cosine, cosine >= cut)
            for other, cosine in enumerate(cosines.tolist())
        ]
    pairs.sort(key=lambda pair: -pair.cosine)
    return CompareResult(
        a=_compared(a, first),
        b=_compared(b, second),
        fingerprint=fingerprint,
        threshold=settings.threshold,
        cosine_cut=cut,
        operating_cosine=scale,
        operating_cosine_source=source,
        pairs=tuple(pairs),
        metrics=metrics,
    )


class _Embedder:
    """From the path of an image to its faces and their embeddings, in this process."""

    def __init__(self, fingerprint: Fingerprint, settings: Settings, metrics: Metrics) -> None:
        self._detection = open_detection(fingerprint, settings)
        if self._detection is None and runs_on_gpus(fingerprint.detector) and count_gpus():
            # It would take the GPU that this process has for the network.
            self._detection = DetectionProcess(fingerprint.detector, None)
        self._encoder = open_encoder(fingerprint, settings, threads=os.cpu_count() or 1, few=True)
        analysis = analysis_settings(fingerprint, settings, faces="all")
        if self._detection is not None:
            analysis = replace(analysis, detection=self._detection.address)
        self._analyse = Analyser(analysis)
        self._metrics = metrics
        note_engine(metrics, self._encoder, self._detection.device if self._detection else CPU_DEVICE)
        metrics.mark_started()

    def __call__(self, image: str) -> tuple[Analysis, Floats]:
        """The analysis of an image and float32 (k, dimension), a row a face."""
        path = os.path.abspath(image)
        analysis = self._analyse(ImageTask(path, os.path.dirname(path)))
        self._metrics.images += 1
        self._metrics.add(analysis.seconds)
        if not analysis.faces:
            return analysis, np.empty((0, self._encoder.engine.model.dimension), np.float32)
        with self._metrics.timed("embed", len(analysis.faces)):
            embeddings = self._encoder.encode(analysis.chips)
        self._metrics.faces += len(embeddings)
        return analysis, embeddings


def _check_there(image: str) -> None:
    if not os.path.exists(image):
        raise PathNotFoundError(f"there is no image {image!r}")


def _compared(path: str, analysis: Analysis) -> ComparedImage:
    return ComparedImage(
        path=path,
        outcome=analysis.outcome,
        reason=analysis.reason,
        width=analysis.width,
        height=analysis.height,
        faces=analysis.faces,
        chips=analysis.chips,
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


def _checked(found: Neighbours, probes: Floats) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Rows as the store found them, in the order of their exact cosines."""
    cosines = np.stack(
        [
            exact_cosine(np.repeat(probe[None], len(vectors), axis=0), vectors)
            for probe, vectors in zip(probes, found.embeddings, strict=True)
        ]
    )
    order = np.argsort(-cosines, axis=1, kind="stable")
    return np.take_along_axis(found.rows, order, 1), np.take_along_axis(cosines, order, 1)


def _matches(
    snapshot: Snapshot, copies: Copies, rows: NDArray[np.int64], cosines: NDArray[np.float64]
) -> Iterator[tuple[FaceRef, Box, float]]:
    """Stored faces by row, with their cosines; a copy of an image has all its matches."""
    faces, images = snapshot.faces, snapshot.images
    for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
        for image in copies.rows(int(faces.image[row])).tolist():
            face = FaceRef(
                os.fsdecode(images.path[image]), int(faces.number[row]), decode_tags(images.tags[image])
            )
            yield face, Box(*faces.box[row].tolist()), cosine
