"""The self-join of `find --queue`: pairs of blocks of faces to Celery workers, pairs of faces back.

A worker reads the vectors from the store where it can, and where it sees just what the coordinator saw; other
workers ask for them, and the coordinator puts them into the depot.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.distributed.blob import pack, unpack
from facededup.distributed.celery_app import SEARCH_TASK, app, configure, depot, worker_settings
from facededup.distributed.depot import Job
from facededup.distributed.farm import Farm
from facededup.distributed.roots import is_below, real_roots
from facededup.errors import FacededupError, JobError
from facededup.matching.screen import Screen
from facededup.matching.selfjoin import comparisons, self_join
from facededup.matching.source import InMemory, Stacked, VectorSource
from facededup.progress import Progress
from facededup.settings import Settings
from facededup.store.base import PairBlock, Snapshot
from facededup.store.opener import open_store
from facededup.types import Floats
from facededup.workers.pool import Failure

_log = logging.getLogger(__name__)

WINDOW = 64
BLOCK_ROWS = (4096, 65_536)
"""Least and most rows of a block; in between, so many that there are some dozens of units."""
BLOCKS = 12
PART_ROWS = 16_384
"""Vectors in one value of the depot: 8 MB of the default model's."""
VECTORS_WANTED = "the vectors are neither in a store this worker can read nor in the depot"
GO_ON = "run `facededup find` again, with --queue or without; what was done is kept"
"""After a search that ended for want of workers."""

IDLE_SECONDS = 30.0
"""After so long without a unit of it, a worker closes the store of a search."""


class _Rows(Protocol):
    """Vectors and groups of a run of rows."""

    def __call__(self, start: int, stop: int) -> tuple[Floats, NDArray[np.int64]]: ...


class QueueJoin:
    """The self-join over a queue, in the place of `matching.selfjoin.self_join`.

    Args:
        settings: Of the run.
        store: The location of the store the vectors come from.
        snapshot: Of that store.
    """

    def __init__(self, settings: Settings, store: str, snapshot: Snapshot) -> None:
        self._settings = settings
        self._store = store
        self._snapshot = snapshot

    def __call__(
        self,
        source: VectorSource,
        cut: float,
        *,
        group: NDArray[np.int64],
        since: int,
        screen: Screen | None,
        progress: Progress,
        covered: Callable[[int], None],
    ) -> Iterator[PairBlock]:
        """All pairs, as `self_join` gives them.

        Raises:
            JobError: The workers cannot do it, or the servers are gone.
        """
        progress.start("search", comparisons(len(source), since))
        configure(self._settings)
        depot().check()
        job = depot().job(uuid.uuid4().hex[:12])
        axes = np.empty((source.dimension, 0)) if screen is None else screen.axes
        described = {"cut": cut, "store": self._store, "mark": _mark(self._snapshot)}
        given = _Vectors(job, source, group)
        farm = Farm(
            *(app, job, SEARCH_TASK, pack(described, axes)),
            worker_wait=self._settings.worker_wait,
            go_on=GO_ON,
            on_failure=given.offer,
            on_loss=given.forget,
        )
        try:
            for (top, bottom, left, right), found in _in_order(farm, _plan(len(source), since)):
                if len(found):
                    yield found
                if top == left:
                    progress.advance(comparisons(bottom - top))
                    covered(right)
                else:
                    progress.advance((bottom - top) * (right - left))
        finally:
            farm.close()
            job.delete()
        progress.finish()


class _Vectors:
    """Puts the vectors into the depot, once, when a worker asks for them."""

    def __init__(self, job: Job, source: VectorSource, group: NDArray[np.int64]) -> None:
        self._job = job
        self._source = source
        self._group = group
        self._offered = False

    def offer(self, error: str) -> None:
        """Does so if that is what an error is about."""
        if self._offered or VECTORS_WANTED not in error:
            return
        self._offered = True
        for start in range(0, len(self._source), PART_ROWS):
            stop = min(start + PART_ROWS, len(self._source))
            self._job.put(
                f"rows:{start}", pack(None, self._source.rows(start, stop), self._group[start:stop])
            )

    def forget(self) -> None:
        """They are in the depot no more: the next who asks gets them again."""
        self._offered = False


Place = tuple[int, int, int, int]
"""A pair of blocks: rows top to bottom, and left to right."""


def _plan(count: int, since: int) -> Iterator[Place]:
    """The upper triangle from column `since` on, column by column, each down to the diagonal."""
    size = min(max(count // BLOCKS, BLOCK_ROWS[0]), BLOCK_ROWS[1])
    starts = sorted({*range(0, since, size), *range(since, count, size)})
    edges = [*starts, count]
    for k, left in enumerate(starts):
        if left >= since:
            for j in range(k + 1):
                yield edges[j], edges[j + 1], left, edges[k + 1]


def _in_order(farm: Farm, plan: Iterator[Place]) -> Iterator[tuple[Place, PairBlock]]:
    """The pairs of each place, in the order of the plan: what is covered grows column by column."""
    numbered = enumerate(plan)
    places: deque[tuple[int, Place]] = deque()
    answers: dict[int, bytes] = {}
    while True:
        fresh = dict(itertools.islice(numbered, max(0, WINDOW - len(places))))
        if fresh:
            places.extend(fresh.items())
            farm.add({unit: pack(place) for unit, place in fresh.items()})
        if not places:
            return
        first, place = places[0]
        while first not in answers:
            unit, answer = farm.next()
            if isinstance(answer, Failure):
                raise JobError(f"a part of the search failed on all who tried it: {answer.reason}")
            answers[unit] = answer
            farm.job.settle([unit])
        places.popleft()
        _, (a, b, cosine) = unpack(answers.pop(first))
        yield place, PairBlock(a, b, cosine, np.zeros(len(a), np.bool_))


def search_unit(job: Job, payload: bytes) -> tuple[bytes, dict[str, Any]]:
    """The worker's side: the pairs between two blocks, or within one, as bytes, and plain facts.

    Raises:
        JobError: The vectors are not to be had, or the job is gone.
    """
    top, bottom, left, right = unpack(payload)[0]
    started = time.perf_counter()
    with _searches.use(job.name) as search:
        first, group = search.rows(top, bottom)
        if top == left:
            found = list(self_join(InMemory(first), search.cut, group=group, screen=search.screen))
        else:
            rest, more = search.rows(left, right)
            both = Stacked(InMemory(first), InMemory(rest))
            groups, edge = np.concatenate((group, more)), len(first)
            found = list(
                self_join(both, search.cut, group=groups, since=edge, until=edge, screen=search.screen)
            )
    a = _joined([block.a for block in found], np.int64) + top
    b = _joined([block.b for block in found], np.int64)
    b += top if top == left else left - (bottom - top)
    cosine = _joined([block.cosine for block in found], np.float64)
    facts = {"pairs": len(a), "search_seconds": round(time.perf_counter() - started, 3)}
    return pack(None, a, b, cosine, compress=True), facts


def _joined(arrays: list[Any], dtype: type) -> Any:
    return np.concatenate([np.empty(0, dtype), *arrays])


class _Search:
    """What a worker has open for the units of one job.

    Raises:
        JobError: The job is gone.
    """

    def __init__(self, name: str) -> None:
        job = depot().job(name)
        description = job.description()
        if description is None:
            raise JobError("the job is not there any more")
        described, (axes,) = unpack(description)
        self.name = name
        self.cut = float(described["cut"])
        self.screen = Screen(axes) if axes.shape[1] else None
        self._opened = ExitStack()
        rows = _from_store(described["store"], described["mark"], self._opened)
        self.reads_store = rows is not None
        self.rows = rows or _from_depot(job)

    def close(self) -> None:
        """Lets the store go."""
        self._opened.close()


class _Searches:
    """The one search that this process has open: until another comes, its store fails, or it is left alone.

    A store that stays open keeps others from wiping what was removed from it.
    """

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._open: _Search | None = None
        self._used = 0.0
        self._later: threading.Timer | None = None

    @contextmanager
    def use(self, name: str) -> Iterator[_Search]:
        """The search of a job, for one at a time: it uses all cores by itself."""
        with self._turn:
            if self._later is not None:
                self._later.cancel()
            if self._open is None or self._open.name != name:
                self._close()
                self._open = _Search(name)
            try:
                yield self._open
            except BaseException:
                if self._open.reads_store:
                    self._close()
                raise
            finally:
                self._used = time.monotonic()
                self._later = threading.Timer(IDLE_SECONDS, self._close_unused)
                self._later.daemon = True
                self._later.start()

    def _close_unused(self) -> None:
        with self._turn:  # which another unit may have had meanwhile
            if time.monotonic() - self._used >= IDLE_SECONDS:
                self._close()

    def _close(self) -> None:
        gone, self._open = self._open, None
        if gone is not None:
            gone.close()


_searches = _Searches()


def _from_store(location: str, mark: str, opened: ExitStack) -> _Rows | None:
    """The rows of a store, if it can be read here and holds what the coordinator saw.

    Args:
        location: Of the store.
        mark: What `_mark` gave to the coordinator.
        opened: Closes the store in the end.
    """
    if "://" not in location and not is_below(location, real_roots(worker_settings().roots)):
        return None
    try:
        with ExitStack() as stack:
            # The key of an encrypted store is never sent: it is in this machine's environment, or nowhere.
            snapshot = stack.enter_context(open_store(location, worker_settings().key_file).snapshot())
            if _mark(snapshot) != mark:
                return None
            opened.push(stack.pop_all())
    except (FacededupError, OSError) as exc:
        _log.info("the vectors come from the depot: %s", type(exc).__name__)
        return None
    group = snapshot.faces.image

    def rows(start: int, stop: int) -> tuple[Floats, NDArray[np.int64]]:
        return snapshot.embeddings(start, stop), group[start:stop]

    return rows


def _from_depot(job: Job) -> _Rows:
    kept: deque[tuple[int, Floats, NDArray[np.int64]]] = deque(maxlen=2 * BLOCK_ROWS[1] // PART_ROWS + 2)

    def part(start: int) -> tuple[Floats, NDArray[np.int64]]:
        for place, vectors, group in kept:
            if place == start:
                return vectors, group
        data = job.get(f"rows:{start}")
        if data is None:
            raise JobError(VECTORS_WANTED)
        _, (vectors, group) = unpack(data)
        kept.append((start, vectors, group))
        return vectors, group

    def rows(start: int, stop: int) -> tuple[Floats, NDArray[np.int64]]:
        first = start - start % PART_ROWS
        parts = [part(place) for place in range(first, stop, PART_ROWS)]
        some = slice(start - first, stop - first)
        return (
            np.concatenate([vectors for vectors, _ in parts])[some],
            np.concatenate([group for _, group in parts])[some],
        )

    return rows


def _mark(snapshot: Snapshot) -> str:
    """Names the vectors of a store: two with the same mark are the same."""
    faces = snapshot.faces
    mark = sha256(faces.id.tobytes() + faces.image.tobytes() + faces.box.tobytes())
    for start in np.linspace(0, max(0, len(faces) - 16), 16).astype(int).tolist():
        mark.update(snapshot.embeddings(start, min(start + 16, len(faces))).tobytes())
    return mark.hexdigest()
