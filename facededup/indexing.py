"""The pipeline of `index`: walk, have an executor analyse the images and embed the faces, commit.

This process is the only one to write to the store. What is committed is never computed again.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from facededup.counting import count_faces, count_images
from facededup.errors import JobError, UsageError
from facededup.executor import Executor, LocalExecutor, OpenExecutor, Result, Work, open_local_encoder
from facededup.gpu_usage import gpus_watched
from facededup.identity import KnownImages, Relation, Twin
from facededup.images.listed import ListedImages
from facededup.images.walk import FoundFile, ImageWalk, find_images, find_mount
from facededup.interrupt import StopRequest
from facededup.manifest import Manifest, read_manifest
from facededup.metrics import Metrics
from facededup.models.catalog import DEFAULT_MODEL
from facededup.progress import Progress
from facededup.recipe import check_analysis, choose_fingerprint, open_detection
from facededup.results import IndexResult
from facededup.settings import Settings
from facededup.store.base import Batch, Content, Fingerprint, ImageRecord, Store, Writer
from facededup.store.opener import open_store
from facededup.tagging import ManifestUse
from facededup.types import FileStat, Floats, Outcome, Unencoded
from facededup.workers.pool import Failure
from facededup.workers.steps import Analysis, ImageTask

MAX_PROBLEMS = 1000
COMMIT_SECONDS = 1.0
"""What a power loss may cost; a commit takes some milliseconds."""
COMMIT_IMAGES = 256


def index_images(
    paths: Sequence[str],
    settings: Settings,
    metrics: Metrics,
    progress: Progress,
    *,
    open_executor: OpenExecutor | None = None,
) -> IndexResult:
    """Brings a store up to date with the images under some paths.

    Args:
        paths: Files or folders; none for the images that the manifest lists.
        settings: Of the run.
        metrics: Receives the timing.
        progress: Receives the advance.
        open_executor: Gives the one that does the work; None for this machine's processes.

    Raises:
        PathNotFoundError: A path does not exist; nothing was done.
        SettingMismatchError: A given setting differs from the store's.
        StoreLockedError: Another process is writing to the store.
        StoreWriteError: The store cannot be written; all earlier commits are safe.
    """
    manifest = None if settings.manifest is None else read_manifest(settings.manifest)
    walk: ImageWalk | ListedImages
    if paths or manifest is None:
        walk = find_images(paths, follow_symlinks=settings.follow_symlinks)
    else:
        walk = ListedImages(list(map(os.fsdecode, manifest.tags)))
    store = open_store(settings.store, settings.key_file, encrypt=settings.encrypt)
    existing = None
    if store.exists():
        with store.snapshot() as snapshot:
            existing = snapshot.fingerprint
    fingerprint = choose_fingerprint(settings, None if settings.reset else existing, store.location)
    if settings.detect_gpu and open_executor is not None:
        raise UsageError("the workers of a queue find faces on CPUs: leave out --detect-gpu")
    # A model or detector that cannot be opened must not leave a new store behind, nor an emptied one, nor a
    # demand for a GPU pass unanswered. The default model always opens: that is done beside the workers'
    # start, when there is something to embed.
    fresh = existing is None or settings.reset
    is_default = (fingerprint.model, settings.engine) == (DEFAULT_MODEL, "auto")
    if open_executor is None:
        detection = open_detection(fingerprint, settings)
        if fresh:
            check_analysis(fingerprint)
        demanding = settings.gpu or settings.devices or settings.precision == "float16"
        early = demanding or (fresh and not is_default)
        encoder = open_local_encoder(fingerprint, settings) if early else None
        open_executor = partial(LocalExecutor, encoder=encoder, detection=detection)
    with (
        gpus_watched(settings, metrics),
        store.writer(fingerprint, reset=settings.reset) as writer,
    ):
        run = _Run(writer, fingerprint, store.location, metrics, settings, manifest=manifest)
        run.execute(walk, progress, open_executor)
        writer.record({"last_run": run.summary()})
        closing = time.perf_counter()
    metrics.add({"store": time.perf_counter() - closing}, items=0)
    return _result(run, walk, store, fingerprint)


@dataclass(slots=True)
class _Tally:
    found: int = 0
    unchanged: int = 0
    read: int = 0
    embedded: int = 0
    moved: int = 0
    copies: int = 0
    unresolved: int = 0
    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    problems: list[Unencoded] = field(default_factory=list)


@dataclass(slots=True)
class _Pending:
    """Images on their way into one commit, with the faces still to be embedded."""

    images: list[ImageRecord] = field(default_factory=list)
    moved: list[tuple[bytes, bytes]] = field(default_factory=list)
    removed: list[bytes] = field(default_factory=list)
    contents: list[Analysis] = field(default_factory=list)
    """New contents with faces."""
    count: int = 0
    """Number of faces."""


class _Run:
    """One run of `index` on an open writer."""

    def __init__(
        self,
        writer: Writer,
        fingerprint: Fingerprint,
        location: str,
        metrics: Metrics,
        settings: Settings,
        *,
        manifest: Manifest | None,
    ) -> None:
        self.writer = writer
        self.fingerprint = fingerprint
        self.location = location
        self.metrics = metrics
        self.settings = settings
        self.known = KnownImages(writer.snapshot.images)
        self.manifest = None if manifest is None else ManifestUse(manifest, writer, self.known)
        self.tally = _Tally()
        self.interrupted = False
        self._mounts: dict[str, bytes] = {}
        self._gathering = _Pending()
        self._embedding: deque[tuple[_Pending, Future[tuple[Floats, float]]]] = deque()
        self._ready: list[tuple[_Pending, Floats]] = []
        self._committed_at = time.monotonic()

    def execute(
        self, walk: ImageWalk | ListedImages, progress: Progress, open_executor: OpenExecutor
    ) -> None:
        """Everything from the walk to the last commit."""
        tasks = self._scan(walk, progress)
        if self.manifest is not None:
            with self.metrics.timed("store"):
                self.manifest.apply()
        if not tasks:
            return
        progress.start("index", len(tasks))
        failures: list[JobError] = []
        with StopRequest() as stop, open_executor(self._work(len(tasks))) as executor:
            try:
                for task, result in _until_stopped(self._analyses(executor, tasks), stop, failures):
                    self._take(task, result)
                    gathered = self._gathering
                    enough = max(COMMIT_IMAGES, 2 * executor.batch_faces)
                    if gathered.count >= executor.batch_faces or len(gathered.images) >= enough:
                        self._submit(executor)
                    self._collect(executor, executor.batches_ahead)
                    progress.advance()
            except KeyboardInterrupt:
                self.interrupted = True
            self._submit(executor)
            self._collect(executor, 0)
            self._commit(executor)
        if failures:
            raise failures[0]
        progress.finish()

    def _work(self, images: int) -> Work:
        return Work(
            fingerprint=self.fingerprint,
            settings=self.settings,
            metrics=self.metrics,
            known=self.known.prefixes,
            images=images,
            store=self.location,
            notes=self.writer.snapshot.info,
            record=self.writer.record,
        )

    def summary(self) -> dict[str, object]:
        """What `status` shows of this run."""
        return {
            "command": self.metrics.command,
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
            "interrupted": self.interrupted,
            "seconds": round(self.metrics.seconds, 3),
            "images": self.tally.read,
            "faces": self.tally.embedded,
            "engine": self.metrics.engine,
            "devices": dict(self.metrics.devices),
            "versions": dict(self.metrics.versions),
        }

    def _scan(self, walk: ImageWalk | ListedImages, progress: Progress) -> list[ImageTask]:
        progress.start("scan", None)
        tasks = []
        with self.metrics.timed("scan") as stage:
            for file in walk:
                self.tally.found += 1
                if self.manifest is not None:
                    self.manifest.note(os.fsencode(file.path))
                if not self.settings.rehash and self.known.is_settled(os.fsencode(file.path), file.stat):
                    self.tally.unchanged += 1
                else:
                    tasks.append(_task(file))
                progress.advance()
            stage.items += self.tally.found
        progress.finish()
        return tasks

    def _analyses(self, executor: Executor, tasks: Iterable[ImageTask]) -> Iterator[Result]:
        """The executor's results, those again that it took for known and the store does not hold."""
        again: list[ImageTask] = []
        for task, result in executor.analyse(tasks):
            if isinstance(result, Analysis) and result.known and not self.known.has(result.digest):
                again.append(ImageTask(task.path, task.root, force=True))
            else:
                yield task, result
        if again:
            yield from executor.analyse(again)

    def _take(self, task: ImageTask, result: Analysis | Failure) -> None:
        """Counts one image and puts it into the batch being gathered."""
        self.tally.read += 1
        if isinstance(result, Failure):
            self.metrics.mark_started()
            self._put(task, self._failed(task, result.reason))
            return
        self.metrics.mark_started(ago=sum(result.seconds.values()))
        self.metrics.add(result.seconds)
        if result.stat is None or not result.digest:
            self._put(task, self._failed(task, result.reason, result.stat))
            return
        path = os.fsencode(task.path)
        twin = None if task.force else self.known.twin(path, result.stat, result.digest)
        if twin is not None:
            self._take_twin(task, result.digest, result.stat, twin)
            return
        record = ImageRecord(
            path=path,
            root=os.fsencode(task.root),
            mount=self._mount(task.root),
            stat=result.stat,
            digest=result.digest,
            outcome=result.outcome,
            reason=result.reason,
            retry=result.retry,
            width=result.width,
            height=result.height,
            phash=result.phash,
        )
        self._put(task, record)
        self.known.add(record)
        if result.faces:
            self._gathering.contents.append(result)
            self._gathering.count += len(result.faces)

    def _failed(self, task: ImageTask, reason: str, stat: FileStat | None = None) -> ImageRecord:
        """An image that could not be read, or whose worker died: tried again by the next run."""
        return ImageRecord(
            path=os.fsencode(task.path),
            root=os.fsencode(task.root),
            mount=self._mount(task.root),
            stat=stat or FileStat(0, 0, 0, 0),
            digest=b"",
            outcome=Outcome.FILE_ERROR,
            reason=reason,
            retry=True,
        )

    def _take_twin(self, task: ImageTask, digest: bytes, stat: FileStat, twin: Twin) -> None:
        path = os.fsencode(task.path)
        if twin.relation is Relation.MOVED:
            self.tally.moved += 1
            if path in self.known:  # moved over another image, whose row gives way
                self._gathering.removed.append(twin.old_path)
            else:
                self._gathering.moved.append((twin.old_path, path))
        self.tally.copies += twin.relation is Relation.COPY
        self.tally.unresolved += twin.relation is Relation.UNRESOLVED
        self._put(
            task,
            ImageRecord(
                path=path,
                root=os.fsencode(task.root),
                mount=self._mount(task.root),
                stat=stat,
                digest=digest,
                outcome=twin.outcome,
                reason=twin.reason,
                unresolved=twin.relation is Relation.UNRESOLVED,
                width=twin.width,
                height=twin.height,
                phash=twin.phash,
            ),
            twin.old_path,
        )

    def _put(self, task: ImageTask, record: ImageRecord, old_path: bytes = b"") -> None:
        """Into the batch; an image keeps its tags, also when it moves, unless a manifest says others."""
        said = None if self.manifest is None else self.manifest.said(record.path)
        kept = self.known.tags(old_path or record.path) if said is None else said
        self._gathering.images.append(replace(record, tags=kept) if kept else record)
        self.tally.outcomes[record.outcome] += 1
        if record.outcome is not Outcome.OK and len(self.tally.problems) < MAX_PROBLEMS:
            self.tally.problems.append(Unencoded(task.path, record.outcome, record.reason))

    def _mount(self, root: str) -> bytes:
        if root not in self._mounts:
            self._mounts[root] = os.fsencode(find_mount(root))
        return self._mounts[root]

    def _submit(self, executor: Executor) -> None:
        """Hands the gathered batch over to be embedded."""
        if self._gathering.images:
            future = executor.embed(self._gathering.contents)
            self._embedding.append((self._gathering, future))
            self._gathering = _Pending()

    def _collect(self, executor: Executor, waiting: int) -> None:
        """Takes finished batches, in order, until at most `waiting` are left, and commits when it is time."""
        while self._embedding and (len(self._embedding) > waiting or self._embedding[0][1].done()):
            pending, future = self._embedding.popleft()
            try:
                embeddings, seconds = future.result()
            except JobError:  # of a GPU, say: what was embedded before is kept
                self._commit(executor)
                raise
            self.metrics.stages["embed"].add(seconds, len(embeddings))
            self.tally.embedded += len(embeddings)
            self._ready.append((pending, embeddings))
        if self._ready and time.monotonic() - self._committed_at > COMMIT_SECONDS:
            self._commit(executor)

    def _commit(self, executor: Executor) -> None:
        if not self._ready:
            return
        contents = []
        for pending, embeddings in self._ready:
            start = 0
            for analysis in pending.contents:
                stop = start + len(analysis.faces)
                contents.append(Content(analysis.digest, analysis.faces, embeddings[start:stop]))
                start = stop
        batch = Batch(
            images=tuple(record for pending, _ in self._ready for record in pending.images),
            contents=tuple(contents),
            moved=tuple(move for pending, _ in self._ready for move in pending.moved),
            removed=tuple(path for pending, _ in self._ready for path in pending.removed),
        )
        with self.metrics.timed("store", len(batch.images)):
            self.writer.commit(batch)
        executor.committed(len(batch.images))
        self._ready.clear()
        self._committed_at = time.monotonic()


def _until_stopped(
    results: Iterator[Result], stop: StopRequest, failures: list[JobError]
) -> Iterator[Result]:
    """Yields results; Ctrl-C is let through only while waiting for the next one.

    A JobError ends them, too, and is kept for later: what was analysed before belongs into the store.
    """
    while True:
        try:
            with stop.interruptible():
                item = next(results, None)
        except JobError as exc:
            failures.append(exc)
            return
        if item is None:
            return
        yield item


def _task(file: FoundFile) -> ImageTask:
    return ImageTask(file.path, file.root)


def _result(run: _Run, walk: ImageWalk | ListedImages, store: Store, fingerprint: Fingerprint) -> IndexResult:
    tally, metrics = run.tally, run.metrics
    metrics.images, metrics.faces = tally.read, tally.embedded
    with store.snapshot() as snapshot:
        counts, faces = count_images(snapshot.images), count_faces(snapshot)
    return IndexResult(
        store=store.location,
        fingerprint=fingerprint,
        found=tally.found,
        unchanged=tally.unchanged,
        read=tally.read,
        embedded=tally.embedded,
        moved=tally.moved,
        copies=tally.copies,
        unresolved=tally.unresolved,
        ok=tally.outcomes[Outcome.OK],
        no_face=tally.outcomes[Outcome.NO_FACE_DETECTED],
        multiple_faces=tally.outcomes[Outcome.MULTIPLE_FACES_DETECTED],
        failed=tally.outcomes[Outcome.FILE_ERROR],
        problems=tuple(tally.problems),
        unreadable=tuple(walk.unreadable),
        links_skipped=walk.links_skipped,
        interrupted=run.interrupted,
        manifest=None if run.manifest is None else run.manifest.counts(),
        counts=counts,
        faces=faces,
        metrics=metrics,
    )
