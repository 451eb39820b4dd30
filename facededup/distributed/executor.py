"""The executor of `index --queue`: chunks of images to Celery workers, their results in as they finish."""

from __future__ import annotations

import itertools
import uuid
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from hashlib import sha256
from typing import Any, Self

import numpy as np

from facededup.distributed.blob import pack
from facededup.distributed.celery_app import INDEX_TASK, app, configure, depot
from facededup.distributed.farm import Farm
from facededup.distributed.results import EmbeddedAnalysis, pack_tasks, unpack_results, unpack_tasks
from facededup.distributed.tasks import JOB_SETTINGS
from facededup.executor import Result, Work
from facededup.types import Floats
from facededup.workers.pool import Failure
from facededup.workers.steps import Analysis, ImageTask

WINDOW = 256
"""Chunks under way at once: enough for many workers, and a bound on what waits in the servers."""

JOB_NOTE = "queue_job"
"""Under this name a store keeps the job that is under way, for `--resume`."""

GO_ON = "run `facededup index` with --queue --resume; what was done is kept"
"""After a job that ended for want of workers."""


class QueueExecutor:
    """Celery workers do the work of one run."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._chunks: dict[int, list[ImageTask]] = {}
        self._adopted: dict[int, list[ImageTask]] = {}
        self._unsettled: deque[tuple[int, int]] = deque()
        """Units given back, in order, and how many of their images are not committed."""
        self._complete = False

    def __enter__(self) -> Self:
        configure(self._work.settings)
        depot().check()
        description = self._describe()
        before = self._work.notes.get(JOB_NOTE)
        name = uuid.uuid4().hex[:12]
        payloads: dict[int, bytes] = {}
        if before is not None:
            job = depot().job(before)
            if self._work.settings.resume and job.description() is not None:
                name, payloads = before, job.units()
            else:
                job.delete()
        self._work.record({JOB_NOTE: name})
        job = depot().job(name)
        put_known = partial(job.put, "known", self._work.known.tobytes())
        put_known()
        self._farm = Farm(
            *(app, job, INDEX_TASK, description),
            worker_wait=self._work.settings.worker_wait,
            go_on=GO_ON,
            on_loss=put_known,
        )
        self._farm.adopt(payloads)
        self._adopted = {unit: unpack_tasks(payload) for unit, payload in payloads.items()}
        self._numbers = itertools.count(max(payloads, default=-1) + 1)
        return self

    def _describe(self) -> bytes:
        given = {name: getattr(self._work.settings, name) for name in JOB_SETTINGS}
        known = self._work.known
        key = sha256(known.tobytes()).hexdigest() if len(known) else ""
        return pack([self._work.fingerprint.to_dict(), given, key])

    def __exit__(self, *_: object) -> None:
        self._farm.close()
        if self._complete:
            self._farm.job.delete()
            self._work.record({JOB_NOTE: None})

    @property
    def batch_faces(self) -> int:
        """See `Executor.batch_faces`; faces come embedded."""
        return 1 << 30

    @property
    def batches_ahead(self) -> int:
        """See `Executor.batches_ahead`."""
        return 1

    def analyse(self, tasks: Iterable[ImageTask]) -> Iterator[Result]:
        """See `Executor.analyse`."""
        self._complete = False
        wanted = list(tasks)
        adopted, self._adopted = self._adopted, {}
        under_way = {task for chunk in adopted.values() for task in chunk}
        missing = set(wanted)
        self._chunks.update(adopted)
        fresh = [task for task in wanted if task not in under_way]
        waiting = _cut(fresh, self._work.settings.chunk_images)
        while True:
            self._send(itertools.islice(waiting, max(0, WINDOW - len(self._farm))))
            if not len(self._farm):
                break
            unit, answer = self._farm.next()
            chunk = self._chunks.pop(unit)
            if isinstance(answer, Failure):
                yield from self._give_up(unit, chunk, answer)
                continue
            results, facts = unpack_results(answer, chunk)
            self._note(facts)
            # Of a job taken up again, some images may be in the store by now, or gone.
            pairs = [pair for pair in zip(chunk, results, strict=True) if pair[0] in missing]
            self._unsettled.append((unit, len(pairs)))
            yield from pairs
        self._complete = True

    def _send(self, chunks: Iterable[list[ImageTask]]) -> None:
        fresh = {next(self._numbers): chunk for chunk in chunks}
        if fresh:
            self._chunks.update(fresh)
            self._farm.add({unit: pack_tasks(chunk) for unit, chunk in fresh.items()})

    def _give_up(self, unit: int, chunk: list[ImageTask], failure: Failure) -> Iterator[Result]:
        """Halves a chunk that keeps failing, down to the image that is to blame."""
        if len(chunk) > 1:
            middle = len(chunk) // 2
            self._send([chunk[:middle], chunk[middle:]])
            self._farm.job.settle([unit])
        else:
            self._unsettled.append((unit, 1))
            yield chunk[0], failure

    def _note(self, facts: dict[str, Any]) -> None:
        metrics = self._work.metrics
        metrics.engine = facts["engine"]
        metrics.devices.update(decode="CPU", detect="CPU", align="CPU", embed=facts["device"])
        metrics.versions.update(facts["versions"])
        metrics.stages["embed"].add(facts["embed_seconds"], 0)

    def embed(self, analyses: Sequence[Analysis]) -> Future[tuple[Floats, float]]:
        """See `Executor.embed`; the seconds were counted where they were spent."""
        rows = [analysis.embeddings for analysis in analyses if isinstance(analysis, EmbeddedAnalysis)]
        empty = np.empty((0, self._work.fingerprint.dimension), np.float32)
        done: Future[tuple[Floats, float]] = Future()
        done.set_result((np.concatenate([empty, *rows]), 0.0))
        return done

    def committed(self, images: int) -> None:
        """See `Executor.committed`: what is in the store need not wait in the depot any more."""
        done = []
        while self._unsettled and self._unsettled[0][1] <= images:
            unit, count = self._unsettled.popleft()
            images -= count
            done.append(unit)
        if self._unsettled and images:
            unit, count = self._unsettled[0]
            self._unsettled[0] = (unit, count - images)
        self._farm.job.settle(done)


def _cut(tasks: Sequence[ImageTask], size: int) -> Iterator[list[ImageTask]]:
    for start in range(0, len(tasks), size):
        yield list(tasks[start : start + size])
