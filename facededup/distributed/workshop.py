"""What a worker keeps ready from chunk to chunk: processes that find faces, and the recognition model."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from facededup.executor import embed_faces, open_local_encoder
from facededup.models.encoder import Encoder
from facededup.recipe import analysis_settings
from facededup.settings import Settings
from facededup.store.base import Fingerprint
from facededup.types import Floats
from facededup.workers.pool import Failure, Pool
from facededup.workers.steps import Analyser, Analysis, ImageTask

Answer = tuple[ImageTask, Analysis | Failure]


@dataclass(frozen=True, slots=True, eq=False)
class Order:
    """What a job asks of a workshop.

    Attributes:
        fingerprint: Of the job's store.
        settings: Of the worker, with what the job says about reading images.
        known: uint64, sorted digest prefixes of contents that need no new analysis.
        key: Orders with the same one are the same.
    """

    fingerprint: Fingerprint
    settings: Settings
    known: NDArray[np.uint64]
    key: str


class Workshop:
    """Runs several chunks at once on one set of processes and one model. A context manager."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self._stack = ExitStack()
        self._inboxes: dict[int, queue.SimpleQueue[Answer | BaseException]] = {}
        self._lock = threading.Lock()
        self._broken: BaseException | None = None

    def __enter__(self) -> Self:
        settings = self.order.settings
        processes = settings.processes or os.cpu_count() or 1
        memory = settings.worker_memory and settings.worker_memory * 1_000_000
        analysis = analysis_settings(self.order.fingerprint, settings, known=self.order.known)
        with ExitStack() as stack:
            self._pool = stack.enter_context(
                Pool(Analyser, analysis, processes, timeout=settings.image_timeout, memory=memory)
            )
            self.encoder: Encoder = open_local_encoder(self.order.fingerprint, settings)
            self._turn = threading.Semaphore(self.encoder.engine.lanes)
            self._stack = stack.pop_all()
        threading.Thread(target=self._deliver, name="workshop", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def is_broken(self) -> bool:
        """Whether it must be replaced."""
        return self._broken is not None

    def process(self, tasks: Sequence[ImageTask]) -> tuple[list[Analysis | Failure], Floats, float]:
        """Does a chunk; several threads may each do one.

        Args:
            tasks: Images, each another object.

        Returns:
            Results in the order of the tasks; embeddings float32 (faces, dimension) in that order; the
            seconds spent embedding.

        Raises:
            FacededupError: The processes cannot work.
        """
        inbox: queue.SimpleQueue[Answer | BaseException] = queue.SimpleQueue()
        with self._lock:
            if self._broken is not None:
                raise self._broken
            self._inboxes.update({id(task): inbox for task in tasks})
            for task in tasks:
                self._pool.submit(task)
        places = {id(task): place for place, task in enumerate(tasks)}
        results: list[Analysis | Failure] = [Failure("")] * len(tasks)
        rows: dict[int, Floats] = {}
        waiting: list[int] = []
        spent = faces = 0.0
        for left in range(len(tasks) - 1, -1, -1):
            answer = inbox.get()
            if isinstance(answer, BaseException):
                raise answer
            place = places[id(answer[0])]
            results[place] = answer[1]
            if isinstance(answer[1], Analysis) and answer[1].faces:
                waiting.append(place)
                faces += len(answer[1].faces)
            if waiting and (faces >= self.encoder.batch_size or left == 0):
                spent += self._embed(waiting, results, rows)
                waiting, faces = [], 0
        if not rows:
            return results, np.empty((0, self.order.fingerprint.dimension), np.float32), spent
        return results, np.concatenate([rows[place] for place in sorted(rows)]), spent

    def _embed(
        self, places: Sequence[int], results: Sequence[Analysis | Failure], rows: dict[int, Floats]
    ) -> float:
        analyses = [result for result in (results[place] for place in places) if isinstance(result, Analysis)]
        with self._turn:
            embeddings, seconds = embed_faces(self.encoder, analyses)
        edges = np.cumsum([len(analysis.faces) for analysis in analyses])[:-1]
        rows.update(zip(places, np.split(embeddings, edges), strict=True))
        return seconds

    def _deliver(self) -> None:
        """Gives each answer of the pool to the chunk that waits for it."""
        while True:
            try:
                answer = self._pool.take()
            except BaseException as exc:  # every chunk that waits must hear of it
                with self._lock:
                    self._broken = exc
                    for inbox in set(self._inboxes.values()):
                        inbox.put(exc)
                    self._inboxes.clear()
                return
            with self._lock:
                self._inboxes.pop(id(answer[0])).put(answer)


class Workshops:
    """The one workshop of this process, opened for what is asked of it and kept while that stays the same."""

    def __init__(self) -> None:
        self._current: Workshop | None = None
        self._users = 0
        self._changed = threading.Condition()

    @contextmanager
    def use(self, order: Order) -> Iterator[Workshop]:
        """The workshop for an order; waits until chunks of another order are done."""
        with self._changed:
            while self._users and (self._current is None or self._current.order.key != order.key):
                self._changed.wait()
            current = self._current
            if current is None or current.order.key != order.key or (current.is_broken and not self._users):
                self._close()
                self._current = current = Workshop(order).__enter__()
            self._users += 1
        try:
            yield current
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def close(self) -> None:
        """Ends the processes."""
        with self._changed:
            self._close()

    def _close(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.__exit__()
