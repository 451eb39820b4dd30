"""`find --against`: a store's faces against those of another, an enrolled base, and not among themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np

from facededup.calibration import choose_cut, store_calibration
from facededup.copies import Copies
from facededup.counting import count_faces, count_images
from facededup.errors import SettingMismatchError, TooManyPairsError, UsageError
from facededup.finding import open_searches
from facededup.gpu_usage import gpus_watched
from facededup.manifest import decode_tags
from facededup.matching.device_join import join_on_devices
from facededup.matching.planning import plan_search
from facededup.matching.selfjoin import comparisons, self_join
from facededup.matching.source import Stacked, StoredVectors
from facededup.matching.strategy import PLANNED_FROM
from facededup.matching.tiles import TileSearch
from facededup.metrics import Metrics
from facededup.models.scores import similarity
from facededup.progress import Progress
from facededup.results import FindResult
from facededup.settings import Settings
from facededup.store.base import PairBlock, Snapshot
from facededup.store.opener import open_store, same_place
from facededup.types import FaceRef, Pair


def find_against(settings: Settings, base: str, metrics: Metrics, progress: Progress) -> FindResult:
    """Finds the faces of the store that are in the base. Nothing is stored; every pair counts as new.

    Args:
        settings: Of the run.
        base: Location of the base.
        metrics: Receives the timing.
        progress: Receives the advance.

    Returns:
        Pairs of a face of the store (`a`) and one of the base (`b`); no clusters.

    Raises:
        StoreNotFoundError: One of the stores is not there.
        SettingMismatchError: Something else made the embeddings of the base.
        NoGpuError: A GPU was demanded and no library that searches sees one.
        TooManyPairsError: There are more pairs than `max_pairs`.
        UsageError: Both are the same store, or something was asked for that only a search of one store does.
    """
    if settings.index in ("ivf", "hnsw") or (settings.group_by, settings.min_quality) != (None, None):
        raise UsageError(
            "--against searches exactly, without groups, faces of any quality: leave --index, --group-by and "
            "--min-quality out"
        )
    if settings.normalize or settings.confirm_model is not None:
        raise UsageError("--against gives no second scores: leave --normalize and --confirm-model out")
    if same_place(base, settings.store):
        raise UsageError("--against takes another store: `find` alone compares a store with itself")
    searches = open_searches(settings)
    store = open_store(settings.store, settings.key_file)
    base_store = open_store(base, settings.key_file)
    with gpus_watched(settings, metrics), store.snapshot() as own, base_store.snapshot() as other:
        if own.fingerprint != other.fingerprint:
            raise SettingMismatchError(
                f"the embeddings of {store.location!r} and {base_store.location!r} were made by different "
                f"models or settings: they cannot be compared"
            )
        calibration = store_calibration(settings, own)
        choice = choose_cut(settings, calibration, len(own.faces) * len(other.faces))
        operating, cut = calibration.operating_cosine, choice.cosine
        device = metrics.devices["search"] = "GPU" if searches else "CPU"
        metrics.mark_started()
        with metrics.timed("search", len(own.faces)):
            found = _search(own, other, cut, most=settings.max_pairs, searches=searches, progress=progress)
        pairs = sorted(
            (
                Pair(a, b, float(similarity(cosine, operating)), cosine, new=True)
                for a, b, cosine in _expanded(own, other, found)
            ),
            key=lambda pair: (-pair.cosine, pair.a.path, pair.b.path, pair.a.face, pair.b.face),
        )
        return FindResult(
            store=store.location,
            fingerprint=own.fingerprint,
            threshold=choice.threshold,
            cosine_cut=cut,
            operating_cosine=operating,
            operating_cosine_source=calibration.source,
            complete=True,
            search={"device": device, "against": base_store.location, "against_faces": count_faces(other)},
            images=count_images(own.images),
            faces=count_faces(own),
            expected_false_pairs=choice.expected_false_pairs,
            true_pairs_kept=choice.true_pairs_kept,
            extrapolated=choice.extrapolated,
            suppressed={"different": 0, "group": 0, "quality": 0},
            clusters_total=0,
            clusters=(),
            pairs_total=len(pairs),
            pairs=pairs[: settings.limit or None],
            unencoded=(),
            metrics=metrics,
            tag_columns=tuple(
                dict.fromkeys([*own.info.get("tag_columns", ()), *other.info.get("tag_columns", ())])
            ),
        )


def _search(
    own: Snapshot,
    other: Snapshot,
    cut: float,
    *,
    most: int,
    searches: Sequence[TileSearch],
    progress: Progress,
) -> list[PairBlock]:
    """Pairs of rows: `a` of the store, `b` of the base."""
    count = len(own.faces)
    stacked = Stacked(StoredVectors(own), StoredVectors(other))
    across: dict[str, Any] = {
        "group": np.arange(len(stacked)),
        "since": count,
        "until": count,
        "progress": progress,
    }
    if searches:
        blocks = join_on_devices(stacked, cut, searches=searches, **across)
    else:
        planned = comparisons(len(stacked), count, count) >= PLANNED_FROM
        screen = plan_search(StoredVectors(other), cut).screen if planned else None
        blocks = self_join(stacked, cut, screen=screen, **across)
    found, total = [], 0
    for block in blocks:
        total += len(block)
        if total > most:
            raise TooManyPairsError(
                f"there are more than --max-pairs {most:,} pairs: raise --threshold or --max-pairs"
            )
        found.append(PairBlock(block.a, block.b - count, block.cosine, block.new))
    return found


def _expanded(
    own: Snapshot, other: Snapshot, found: list[PairBlock]
) -> Iterator[tuple[FaceRef, FaceRef, float]]:
    """For each image that has the content of either side."""
    mine, theirs = Copies(own.images, own.faces), Copies(other.images, other.faces)
    for block in found:
        for a, b, cosine in zip(block.a.tolist(), block.b.tolist(), block.cosine.tolist(), strict=True):
            for left, right in product(_faces(own, mine, a), _faces(other, theirs, b)):
                yield left, right, cosine


def _faces(snapshot: Snapshot, copies: Copies, row: int) -> list[FaceRef]:
    number = int(snapshot.faces.number[row])
    images = copies.listed_rows(int(snapshot.faces.image[row])).tolist()
    table = snapshot.images
    return [
        FaceRef(os.fsdecode(table.path[image]), number, decode_tags(table.tags[image])) for image in images
    ]
