"""Who analyses images and embeds faces: this machine, or the Celery workers of `facededup.distributed`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from facededup.metrics import Metrics, note_children
from facededup.models.contract import CPU_DEVICE
from facededup.models.encoder import Encoder
from facededup.recipe import analysis_settings, open_encoder
from facededup.settings import Settings
from facededup.store.base import Fingerprint
from facededup.types import Floats
from facededup.workers.detection import DetectionProcess
from facededup.workers.pool import Failure, Pool
from facededup.workers.steps import Analyser, Analysis, ImageTask

Result = tuple[ImageTask, Analysis | Failure]

_WAITING_BATCHES = 2
"""Batches that may wait for an encoder thread before the workers are held back; bounds the memory."""

_WORKERS_A_CORE = 2
"""Where faces are found elsewhere: while half of the workers wait for that, the others use the cores."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Work:
    """What an executor is told before it gets the first task.

    Attributes:
        fingerprint: Of the store.
        settings: Of the run.
        metrics: Receives engine, devices and versions.
        known: uint64, sorted digest prefixes of contents that need no new analysis.
        images: How many there are to analyse.
        store: The store's location.
        notes: The store's recorded values, as they were when the run began.
        record: Merges plain values into them, durably.
    """

    fingerprint: Fingerprint
    settings: Settings
    metrics: Metrics
    known: NDArray[np.uint64]
    images: int
    store: str
    notes: Mapping[str, Any]
    record: Callable[[Mapping[str, Any]], None]


class Executor(Protocol):
    """Does the work of one run. A context manager: leaving it stops what is under way."""

    @property
    def batch_faces(self) -> int:
        """Faces that are best embedded at once."""

    @property
    def batches_ahead(self) -> int:
        """Batches that may be under way before the caller waits for the first of them."""

    def analyse(self, tasks: Iterable[ImageTask]) -> Iterator[Result]:
        """Gives each task back with its result, in the order in which they finish.

        May be called again when it has come to its end.
        """

    def embed(self, analyses: Sequence[Analysis]) -> Future[tuple[Floats, float]]:
        """The embeddings of the faces of some analyses, in order, and the seconds they took."""

    def committed(self, images: int) -> None:
        """So many more images, in the order they were given back, are in the store for good."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


OpenExecutor = Callable[[Work], Executor]


class LocalExecutor:
    """Worker processes for the images, encoder threads in this process for the faces.

    Args:
        work: The run's.
        encoder: Where it was opened before; otherwise it is opened beside the workers' start.
        detection: What finds faces on a GPU; None for the workers. Closed with this.
    """

    def __init__(
        self, work: Work, encoder: Encoder | None = None, detection: DetectionProcess | None = None
    ) -> None:
        self._work = work
        self._given = encoder
        self._detection = detection
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        work, settings, detection = self._work, self._work.settings, self._detection
        processes, detect = os.cpu_count() or 1, CPU_DEVICE
        analysis = analysis_settings(work.fingerprint, settings, known=work.known)
        memory = settings.worker_memory and settings.worker_memory * 1_000_000
        with contextlib.ExitStack() as stack:
            if detection is not None:
                stack.callback(detection.close)
                analysis = replace(analysis, detection=detection.address)
                processes, detect = processes * _WORKERS_A_CORE, detection.device
            processes = min(settings.processes or processes, work.images)
            self._pool = stack.enter_context(
                Pool(Analyser, analysis, processes, timeout=settings.image_timeout, memory=memory)
            )
            self._encoder = self._given or open_local_encoder(work.fingerprint, settings)
            note_engine(work.metrics, self._encoder, detect)
            self._parallel = self._encoder.engine.lanes
            self._threads = stack.enter_context(ThreadPoolExecutor(self._parallel, "encoder"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def batch_faces(self) -> int:
        """See `Executor.batch_faces`."""
        return self._encoder.batch_size

    @property
    def batches_ahead(self) -> int:
        """See `Executor.batches_ahead`."""
        return self._parallel + _WAITING_BATCHES

    def analyse(self, tasks: Iterable[ImageTask]) -> Iterator[Result]:
        """See `Executor.analyse`."""
        for count, result in enumerate(self._pool.run(tasks)):
            yield result
            if count % 64 == 0:
                note_children(self._pool.pids)
        note_children(self._pool.pids)

    def embed(self, analyses: Sequence[Analysis]) -> Future[tuple[Floats, float]]:
        """See `Executor.embed`."""
        return self._threads.submit(embed_faces, self._encoder, analyses)

    def committed(self, images: int) -> None:
        """See `Executor.committed`; nothing waits for it here."""


def open_local_encoder(fingerprint: Fingerprint, settings: Settings) -> Encoder:
    """An encoder with one thread a batch: where cores are free, whole batches run side by side."""
    return open_encoder(fingerprint, settings, threads=1)


def embed_faces(encoder: Encoder, analyses: Sequence[Analysis]) -> tuple[Floats, float]:
    """Embeddings of the chips of some analyses, float32 (faces, dimension), and the seconds they took."""
    started = time.perf_counter()
    chips = [analysis.chips for analysis in analyses if analysis.faces]
    if not chips:
        return np.empty((0, encoder.engine.model.dimension), np.float32), 0.0
    return encoder.encode(np.concatenate(chips)), time.perf_counter() - started


def note_engine(metrics: Metrics, encoder: Encoder, detect: str) -> None:
    """Writes down what runs the network, and on which device each stage runs, `detect` the detector."""
    metrics.engine = encoder.engine.name
    metrics.devices.update(decode="CPU", detect=detect, align="CPU", embed=encoder.engine.device)
    metrics.versions.update(encoder.engine.versions)
