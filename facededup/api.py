"""The public functions: each builds its settings, runs one pipeline and gives back plain data."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from facededup.counting import count_faces, count_images
from facededup.finding import find_duplicates
from facededup.indexing import index_images
from facededup.lookup import search_image
from facededup.metrics import Metrics
from facededup.models.catalog import MODELS, ModelDescription
from facededup.progress import Progress, SilentProgress
from facededup.results import FindResult, IndexResult, SearchResult, StoreStatus
from facededup.settings import Settings, load_settings
from facededup.store.opener import open_store


def _settings(settings: Settings | None, options: dict[str, Any]) -> Settings:
    """Given settings with options on top; without settings, the environment counts."""
    return load_settings(options) if settings is None else replace(settings, **options)


def index(
    paths: Sequence[str | os.PathLike[str]],
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> IndexResult:
    """Finds images under some paths and puts the faces of new and changed ones into the store.

    Args:
        paths: Files or folders.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance of long steps.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `processes=4`; they go before `settings`.

    Returns:
        Counts, problems and timing. Images that failed are in it; they do not raise.

    Raises:
        PathNotFoundError: A path does not exist; nothing was done.
        SettingMismatchError: A given setting differs from the one the store was made with.
        StoreLockedError: Another process is writing to the store.
        StoreWriteError: The store cannot be written; all earlier commits are safe.
        DamagedStoreError: The store is damaged, or is no store.

    Example:
        >>> result = facededup.index(["data/IMAGES"], store="people.h5")  # doctest: +SKIP
    """
    names = [os.fsdecode(path) for path in paths]
    return index_images(names, _settings(settings, options), Metrics("index"), progress or SilentProgress())


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
    return find_duplicates(_settings(settings, options), Metrics("find"), progress or SilentProgress())


def search(
    image: str | os.PathLike[str],
    *,
    k: int = 10,
    threshold: float | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SearchResult:
    """Finds the stored faces that look most like the faces of one image.

    Args:
        image: Path of the image; it need not be in the store.
        k: Matches listed for each face, at most.
        threshold: Lowest similarity of a match; None for no bound.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        PathNotFoundError: There is no such image.
        JobError: It holds no face, or cannot be read.
        StoreNotFoundError: There is no store.
    """
    return search_image(
        os.fsdecode(image), _settings(settings, options), Metrics("search"), k=k, threshold=threshold
    )


def store_status(*, settings: Settings | None = None, **options: Any) -> StoreStatus:
    """What is in a store: counts by outcome, what made it, its size, the last run.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: The store is damaged, or is no store.
    """
    store = open_store(_settings(settings, options).store)
    with store.snapshot() as snapshot:
        findings = snapshot.findings()
        return StoreStatus(
            store=store.location,
            fingerprint=snapshot.fingerprint,
            images=count_images(snapshot.images),
            faces=count_faces(snapshot),
            embeddings=len(snapshot.faces),
            disk_bytes=store.disk_bytes(),
            last_run=snapshot.info.get("last_run"),
            findings=None
            if findings is None
            else {**findings.meta, "pairs": findings.pair_count, "clusters": len(findings.clusters)},
        )


def list_models() -> tuple[ModelDescription, ...]:
    """The recognition models facededup knows, without loading any."""
    return MODELS
