"""The pipeline of `find`: join the store's faces with themselves, cluster, keep and list the findings."""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.calibration import choose_cut, compared_pairs, store_calibration
from facededup.clustering import Clustering
from facededup.confirmation import SecondModel
from facededup.dating import check_dating
from facededup.decisions import decide
from facededup.errors import TooManyPairsError, UsageError
from facededup.findings import result_of
from facededup.gpu_usage import gpus_watched
from facededup.groups import chosen_grouping, image_groups
from facededup.matching import gpu
from facededup.matching.selfjoin import estimate_pairs
from facededup.matching.source import StoredVectors
from facededup.matching.strategy import Join, PairSearch
from facededup.matching.tiles import TileSearch
from facededup.metrics import Metrics
from facededup.models.scores import similarity
from facededup.newness import PairsBefore
from facededup.progress import Progress
from facededup.recipe import choose_fingerprint
from facededup.results import FindResult
from facededup.settings import Settings
from facededup.store.base import ClusterTable, Findings, FindingsWriter, PairBlock, Snapshot, Writer
from facededup.store.living import living_pairs
from facededup.store.opener import open_store

OpenJoin = Callable[[Settings, str, Snapshot], Join]
"""From settings, a store's location and its snapshot to what searches it."""


def find_duplicates(
    settings: Settings, metrics: Metrics, progress: Progress, *, open_join: OpenJoin | None = None
) -> FindResult:
    """Searches a whole store for duplicates and stores the findings.

    Args:
        settings: Of the run.
        metrics: Receives the timing.
        progress: Receives the advance.
        open_join: Gives what searches exactly; None for this machine.

    Raises:
        StoreNotFoundError: There is no store.
        SettingMismatchError: A given setting differs from the store's.
        NoGpuError: A GPU was demanded and no library that searches sees one.
        WeightsMissingError: Those of the second model are not on this machine.
        JobError: A GPU failed; the findings before are kept.
        TooManyPairsError: The threshold would give more pairs than `max_pairs`.
        StoreLockedError: Another process is writing to the store.
        StoreWriteError: The findings cannot be written; the findings before are kept.
    """
    if open_join is not None:
        _refuse_beside_queue(settings)
    searches = open_searches(settings) if open_join is None else ()
    store = open_store(settings.store, settings.key_file)
    with store.snapshot() as snapshot:
        made = choose_fingerprint(settings, snapshot.fingerprint, store.location)
    # Before the search: what a second look lacks must not show after hours.
    second = None if settings.confirm_model is None else SecondModel(settings, settings.confirm_model, made)
    with gpus_watched(settings, metrics), store.writer() as writer:
        exact_join = open_join and open_join(settings, store.location, writer.snapshot)
        search = _Search(writer, settings, metrics, progress, searches=searches, join=exact_join)
        search.execute()
    with store.snapshot() as snapshot:
        return result_of(snapshot, store.location, settings, metrics, progress=progress, second=second)


def _refuse_beside_queue(settings: Settings) -> None:
    if settings.demands_gpu_search:
        raise UsageError(
            "the workers of a queue search on CPUs: leave out --queue, or --gpu, --devices, --search-engine"
            " and --precision"
        )
    if settings.index in ("ivf", "hnsw"):
        raise UsageError(f"a queue searches exactly: leave out --queue, or --index {settings.index}")


def open_searches(settings: Settings) -> tuple[TileSearch, ...]:
    """A search on each GPU that `find` may use with these settings, none where it searches on the CPU.

    Raises:
        NoGpuError: A GPU was demanded and no library that searches sees one.
        UsageError: An approximate search was demanded on a GPU, which searches exactly, or float16 on a CPU.
        JobError: A GPU failed its trial.
    """
    approximate = settings.index in ("ivf", "hnsw")
    if approximate and (settings.gpu or settings.devices):
        raise UsageError(
            f"a GPU searches exactly: leave out --index {settings.index}, or --gpu and --devices"
        )
    half = settings.precision == "float16"
    searches = gpu.open_searches(
        gpu=False if approximate else settings.gpu,
        devices=settings.devices,
        engine=settings.search_engine,
        half=half,
    )
    if half and not searches:
        raise UsageError("float16 is for GPUs, and the search runs on the CPU: leave --precision out")
    return searches


class _Search:
    """One search of an open store."""

    def __init__(
        self,
        writer: Writer,
        settings: Settings,
        metrics: Metrics,
        progress: Progress,
        *,
        searches: Sequence[TileSearch],
        join: Join | None,
    ) -> None:
        self.writer = writer
        self.searches = searches
        self.join = join
        self.settings = settings
        self.metrics = metrics
        self.progress = progress
        self.snapshot = writer.snapshot
        self.vectors = StoredVectors(self.snapshot)
        self.calibration = store_calibration(settings, self.snapshot)
        self.fit = fit_faces(self.snapshot, settings.min_quality)
        self.choice = choose_cut(settings, self.calibration, compared_pairs(self._group[self.fit]))
        self.cut = self.choice.cosine
        self.decided = decide(self.snapshot)
        self.group_by = chosen_grouping(self.snapshot.images, settings.group_by)
        self.groups = image_groups(self.snapshot.images, self.group_by)
        check_dating(self.snapshot.images, settings.date_by)
        self.total = 0
        self.unfit_pairs = 0
        self.complete = True
        self.facts: dict[str, Any] = {}

    def execute(self) -> None:
        """Everything from the estimate to the stored findings."""
        self.metrics.devices["search"] = "GPU" if self.searches else "CPU"
        self.metrics.mark_started()
        before = self._reusable()
        covered = 0 if before is None else self._covered(before)
        log = self.writer.search_log(self._search_key(covered))
        with self.metrics.timed("search"):
            if before is None:
                self._refuse_too_many()
            search = PairSearch(
                self.vectors,
                self.cut,
                group=self._group,
                since=covered,
                index="flat" if self.settings.exact else self.settings.index,
                recall=self.settings.recall,
                progress=self.progress,
                searches=self.searches,
                log=log,
                join=self.join,
            )
        findings = self.writer.write_findings()
        if before is not None and search.since != covered:
            before = None
        try:
            if before is not None:
                self._keep_pairs(before, findings)
            # What continues the findings before has only pairs with a face that they lack.
            known = None if before is not None or self.settings.reset else self.snapshot.findings()
            self._join(search, findings, PairsBefore(known, self.snapshot.faces.id))
        except KeyboardInterrupt:
            if log is not None:
                log.keep()
            raise
        self._note_versions()
        self.complete = search.complete and (before is None or bool(before.meta["complete"]))
        self.facts = {**_facts_before(before), **search.facts, "reused_faces": search.since}
        with self.metrics.timed("cluster", len(self.vectors)):
            self.progress.start("cluster", None)
            clusters = self._clusters(findings)
            self.progress.finish()
        with self.metrics.timed("store"):
            findings.finish(self._meta(), clusters)
            if log is not None:
                log.remove()

    def _note_versions(self) -> None:
        """Of the packages that searched; FAISS is loaded only where it was needed."""
        self.metrics.versions["numpy"] = np.__version__
        if "faiss" in sys.modules:
            self.metrics.versions["faiss"] = sys.modules["faiss"].__version__

    def _search_key(self, covered: int) -> bytes:
        """Stands for all that decides which pairs a search finds and in which order."""
        key = hashlib.blake2b(digest_size=16)
        key.update(self.snapshot.faces.id.tobytes() + self._group.tobytes())
        key.update(repr((self.cut, covered, self.settings.recall)).encode())
        return key.digest()

    @property
    def _group(self) -> NDArray[np.int64]:
        """Faces of one image are never a pair."""
        return self.snapshot.faces.image

    def _refuse_too_many(self) -> None:
        allowed, faces = self.settings.max_pairs, len(self.vectors)
        if faces * (faces - 1) // 2 <= allowed:
            return
        estimate = estimate_pairs(self.vectors, self.cut, group=self._group)
        if estimate.pairs > allowed:
            raise self._too_many(f"about {estimate.pairs:,.0f}", estimate.cut_for(allowed))

    def _too_many(self, count: str, fitting_cut: float) -> TooManyPairsError:
        operating = self.calibration.operating_cosine
        threshold = math.ceil(100 * float(similarity(fitting_cut, operating))) / 100
        return TooManyPairsError(
            f"threshold {self.choice.threshold:.4g} gives {count} pairs, more than "
            f"--max-pairs {self.settings.max_pairs:,}: use --threshold {min(threshold, 1.0):g} or higher, "
            f"or raise --max-pairs"
        )

    def _reusable(self) -> Findings | None:
        """The findings before, if their pairs include all that those faces have at today's cut."""
        before = None if self.settings.reset else self.snapshot.findings()
        if before is None or "next_face_id" not in before.meta or before.meta["cosine_cut"] > self.cut:
            return None
        if before.meta.get("min_quality") is not None and not self._same_rules(before):
            return None  # it lacks pairs of faces that may count today
        demanded = self.settings.exact or self.settings.index == "flat"
        return None if demanded and not before.meta["complete"] else before

    def _same_rules(self, before: Findings) -> bool:
        meta = before.meta
        return bool((meta["min_quality"], meta["cosine_cut"]) == (self.settings.min_quality, self.cut))

    def _covered(self, before: Findings) -> int:
        """The faces that the findings before compared; those rows come first, as ids only grow."""
        return int(np.searchsorted(self.snapshot.faces.id, before.meta["next_face_id"]))

    def _keep_pairs(self, before: Findings, findings: FindingsWriter) -> None:
        """Takes over the pairs of faces still there."""
        ids = self.snapshot.faces.id
        self.unfit_pairs = int(before.meta.get("unfit_pairs", 0))
        for block in living_pairs(before, ids):
            kept = block.cosine >= self.cut
            kept[kept] = self._fit(np.searchsorted(ids, block.a[kept]), np.searchsorted(ids, block.b[kept]))
            with self.metrics.timed("store"):
                findings.append(
                    PairBlock(
                        block.a[kept], block.b[kept], block.cosine[kept], np.zeros(kept.sum(), np.bool_)
                    )
                )
            self._count(int(kept.sum()))

    def _count(self, pairs: int) -> None:
        self.total += pairs
        if self.total > self.settings.max_pairs:
            estimate = estimate_pairs(self.vectors, self.cut, group=self._group, sample=4096)
            raise self._too_many(f"more than {self.total:,}", estimate.cut_for(self.settings.max_pairs))

    def _join(self, search: PairSearch, findings: FindingsWriter, previous: PairsBefore) -> None:
        """Searches, and keeps the pairs."""
        ids = self.snapshot.faces.id
        blocks = search.blocks()
        while True:
            with self.metrics.timed("search"):
                block = next(blocks, None)
            if block is None:
                break
            fit = self._fit(block.a, block.b)
            block = PairBlock(block.a[fit], block.b[fit], block.cosine[fit], block.new[fit])
            new = previous.lack(block.a, block.b, block.cosine)
            with self.metrics.timed("store", len(block)):
                findings.append(PairBlock(ids[block.a], ids[block.b], block.cosine, new))
            self._count(len(block))
        self.metrics.stages["search"].items += len(self.vectors) - search.since

    def _fit(self, a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pairs of rows are of two faces good enough; counts the others."""
        fit = self.fit[a] & self.fit[b]
        self.unfit_pairs += int((~fit).sum())
        return fit

    def _clusters(self, findings: FindingsWriter) -> ClusterTable:
        """Those of the pairs just stored."""
        ids = self.snapshot.faces.id

        def pairs() -> Iterator[PairBlock]:
            for block in findings.chunks():
                yield PairBlock(
                    np.searchsorted(ids, block.a), np.searchsorted(ids, block.b), block.cosine, block.new
                )

        clustering = Clustering(
            snapshot=self.snapshot,
            method=self.settings.clustering,
            cut=self.cut,
            decided=self.decided,
            groups=self.groups,
            known_images=self._known_images(),
        )
        return clustering.table(pairs)

    def _known_images(self) -> int:
        """Images with ids below this were there in the findings before."""
        before = None if self.settings.reset else self.snapshot.findings()
        return 0 if before is None else int(before.meta["next_image_id"])

    def _meta(self) -> dict[str, Any]:
        return {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "threshold": self.choice.threshold,
            "cosine_cut": self.cut,
            "operating_cosine": self.calibration.operating_cosine,
            "operating_cosine_source": self.calibration.source,
            **self.choice.to_dict(),
            "complete": self.complete,
            "search": self.facts,
            "clustering": self.settings.clustering,
            "min_quality": self.settings.min_quality,
            "unfit_pairs": self.unfit_pairs,
            "group_by": self.group_by,
            "date_by": self.settings.date_by,
            "known_images": self._known_images(),
            "next_image_id": self.snapshot.next_image_id,
            "next_face_id": int(self.snapshot.faces.id.max(initial=-1)) + 1,
        }


def fit_faces(snapshot: Snapshot, min_quality: float | None) -> NDArray[np.bool_]:
    """Which faces are good enough to be compared, bool (n,); one of unknown quality is."""
    if min_quality is None:
        return np.ones(len(snapshot.faces), np.bool_)
    return ~(snapshot.faces.quality[:, 0] < min_quality)


def _facts_before(before: Findings | None) -> dict[str, Any]:
    """What a search that continues an approximate one has to repeat of it."""
    facts = {} if before is None else before.meta["search"]
    return {name: value for name, value in facts.items() if "recall" in name}
