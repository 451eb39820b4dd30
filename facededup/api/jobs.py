"""Indexing images and finding the duplicates among them."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from facededup.errors import PackageMissingError
from facededup.metrics import Metrics
from facededup.progress import Progress, SilentProgress
from facededup.results import (
    FindResult,
    IndexResult,
)
from facededup.settings import Settings, chosen_settings

if TYPE_CHECKING:
    from facededup.executor import OpenExecutor
    from facededup.finding import OpenJoin


def index(
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> IndexResult:
    """Finds images under some paths and puts the faces of new and changed ones into the store.

    Args:
        paths: Files or folders; none for the images of the `manifest`.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance of long steps.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `processes=4`; they go before `settings`.

    Returns:
        Counts, problems and timing. Images that failed are in it; they do not raise.

    Raises:
        PathNotFoundError: A path does not exist, or the manifest; nothing was done.
        UsageError: The manifest cannot be read; the message names the line.
        SettingMismatchError: A given setting differs from the one the store was made with.
        StoreLockedError: Another process is writing to the store.
        StoreWriteError: The store cannot be written; all earlier commits are safe.
        DamagedStoreError: The store is damaged, or is no store.

    Example:
        >>> result = facededup.index(["data/IMAGES"], store="people.h5")  # doctest: +SKIP
    """
    from facededup.indexing import index_images

    chosen, names = chosen_settings(settings, options), [os.fsdecode(path) for path in paths]
    return index_images(
        names,
        chosen,
        Metrics("index"),
        progress or SilentProgress(),
        open_executor=_queue_executor() if chosen.queue else None,
    )


def _queue_executor() -> OpenExecutor:
    _demand_celery()
    from facededup.distributed.executor import QueueExecutor

    return QueueExecutor


def _queue_join() -> OpenJoin:
    _demand_celery()
    from facededup.distributed.search import QueueJoin

    return QueueJoin


def _demand_celery() -> None:
    if importlib.util.find_spec("celery") is None or importlib.util.find_spec("redis") is None:
        raise PackageMissingError("--queue needs Celery and Redis: run pip install 'facededup[queue]'")


def find(*, settings: Settings | None = None, progress: Progress | None = None, **options: Any) -> FindResult:
    """Compares every face of the store with every other; keeps and lists pairs and clusters of duplicates.

    Args:
        settings: Of the run; by default those of the environment.
        progress: Receives the advance of long steps.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `threshold=0.5`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        TooManyPairsError: The threshold would give more pairs than `max_pairs`.
        StoreLockedError: Another process is writing to the store.
        DamagedStoreError: The store is damaged, or is no store.

    Example:
        >>> for cluster in facededup.find(store="people.h5").clusters:  # doctest: +SKIP
        ...     print(cluster.size, [face.path for face in cluster.faces])
    """
    chosen, metrics = chosen_settings(settings, options), Metrics("find")
    progress = progress or SilentProgress()
    if chosen.against is not None:
        from facededup.against import find_against

        return find_against(chosen, chosen.against, metrics, progress)
    from facededup.finding import find_duplicates

    return find_duplicates(chosen, metrics, progress, open_join=_queue_join() if chosen.queue else None)
