"""The public functions: each builds its settings, runs one pipeline and gives back plain data.

A pipeline is imported when it is first run: each needs other packages, and start-up is what users wait for.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from facededup.counting import count_faces, count_images
from facededup.errors import PackageMissingError, UsageError
from facededup.metrics import Metrics
from facededup.models.catalog import MODELS, ModelDescription
from facededup.progress import Progress, SilentProgress
from facededup.results import (
    ApplyResult,
    CompareResult,
    CopyResult,
    DecisionEntry,
    DecisionImport,
    Diagnosis,
    FindResult,
    ForgetResult,
    IndexResult,
    MoveResult,
    PackResult,
    SearchResult,
    StoreStatus,
    VerifyResult,
)
from facededup.settings import Settings, load_settings
from facededup.store.opener import open_store
from facededup.types import Decision

if TYPE_CHECKING:
    from facededup.evaluation.pipeline import EvaluateResult
    from facededup.executor import OpenExecutor
    from facededup.file_actions import Undone
    from facededup.finding import OpenJoin


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

    chosen, names = _settings(settings, options), [os.fsdecode(path) for path in paths]
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
    chosen, metrics = _settings(settings, options), Metrics("find")
    progress = progress or SilentProgress()
    if chosen.against is not None:
        from facededup.against import find_against

        return find_against(chosen, chosen.against, metrics, progress)
    from facededup.finding import find_duplicates

    return find_duplicates(chosen, metrics, progress, open_join=_queue_join() if chosen.queue else None)


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
    from facededup.lookup import search_image

    return search_image(
        os.fsdecode(image), _settings(settings, options), Metrics("search"), k=k, threshold=threshold
    )


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    **options: Any,
) -> CompareResult:
    """Compares each face of one image with each face of another; no store is needed.

    Args:
        a: Path of an image.
        b: Path of another.
        settings: Of the run; by default those of the environment. Where its store exists, model, detector and
            alignment are the store's.
        **options: Fields of `Settings`, e.g. `threshold=0.5`; they go before `settings`.

    Returns:
        Outcome, faces and scores. An image without a face does not raise.

    Raises:
        PathNotFoundError: There is no such image.
        SettingMismatchError: A given setting differs from the store's.
    """
    from facededup.lookup import compare_images

    return compare_images(os.fsdecode(a), os.fsdecode(b), _settings(settings, options), Metrics("compare"))


def write_contact_sheets(
    folder: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> int:
    """Draws the faces of each listed cluster of the last findings as a PNG file.

    Args:
        folder: Where they go; made if it is not there.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `limit=100`; they go before `settings`.

    Returns:
        How many were written.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: It has no findings; run `find` first.
        JobError: The folder cannot be written.
    """
    from facededup.report.contact_sheet import write_contact_sheets as write

    return write(_settings(settings, options), os.fsdecode(folder), progress or SilentProgress())


def write_report(
    path: str | os.PathLike[str],
    *,
    edges: int | None = None,
    symmetric: bool = False,
    inline_limit: int | None = None,
    metrics: Metrics | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Writes the last findings as one HTML page, to look through, search, decide on and print.

    Args:
        path: The file; pictures that outgrow it lie in a folder beside it.
        edges: List only so many pairs of highest and as many of lowest similarity.
        symmetric: List each pair in both directions.
        inline_limit: Bytes of pictures in the file itself, at most; 30 million by default.
        metrics: Of the run that found them, for the summary.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `limit=1000`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: It has no findings; run `find` first.
        JobError: The file cannot be written.
    """
    from facededup.report.html_report import INLINE_LIMIT, write_html
    from facededup.report.page_data import PageOptions

    chosen = _settings(settings, options)
    write_html(
        chosen,
        os.fsdecode(path),
        PageOptions(limit=chosen.limit, edges=edges, symmetric=symmetric),
        progress or SilentProgress(),
        inline_limit=INLINE_LIMIT if inline_limit is None else inline_limit,
        metrics=None if metrics is None else metrics.to_dict(),
    )


def store_status(*, settings: Settings | None = None, **options: Any) -> StoreStatus:
    """What is in a store: counts by outcome, what made it, its size, the last run.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: The store is damaged, or is no store.
    """
    chosen = _settings(settings, options)
    store = open_store(chosen.store, chosen.key_file)
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
            place=store.describe(),
        )


def verify(*, repair: bool = False, settings: Settings | None = None, **options: Any) -> VerifyResult:
    """Checks a store end to end: every record, checksum, count, shape, norm and cross-reference.

    Args:
        repair: Put what is intact in the place of a damaged store, which is kept under another name.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`, e.g. `store="people.h5"`; they go before `settings`.

    Returns:
        The problems; damage does not raise.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: A repair is wanted, and nothing can be kept.
    """
    from facededup.maintenance import verify_store

    return verify_store(_settings(settings, options), repair=repair)


def forget(
    paths: Sequence[str | os.PathLike[str]] = (),
    *,
    missing: bool = False,
    older_than: float | None = None,
    dry_run: bool = False,
    settings: Settings | None = None,
    **options: Any,
) -> ForgetResult:
    """Removes images and all that was derived from them; their bytes are in no file of the store afterwards.

    Args:
        paths: Images, and folders for everything below them; none for the whole store.
        missing: Only images whose file was deleted.
        older_than: Only images that were first indexed more than this many days ago.
        dry_run: Count, and remove nothing.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: Nothing says which images.
        PathNotFoundError: The store has no image at or below a path; nothing was removed.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import forget_images

    return forget_images(
        _settings(settings, options),
        [os.fsdecode(path) for path in paths],
        missing=missing,
        older_than=older_than,
        dry_run=dry_run,
    )


def pack(
    *,
    encrypt: bool | None = None,
    new_key_file: str | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> PackResult:
    """Writes a store anew as one file, without what was removed.

    Args:
        encrypt: True encrypts the store, or encrypts it anew; False decrypts it; None leaves it as it is.
            Whether a new store is encrypted, which `index` asks of the settings, has no say here.
        new_key_file: Holds the key it is encrypted with from now on; by default the one that opens it.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: A new key for a store that is to be decrypted, or a store that is no HDF5 file.
        WrongKeyError: The store is encrypted or shall be, and the key is missing or another.
        StoreNotFoundError: There is no store.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import pack_store

    return pack_store(_settings(settings, options), encrypt=encrypt, new_key_file=new_key_file)


def copy_store(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    reset: bool = False,
    key_file: str | None = None,
    progress: Progress | None = None,
) -> CopyResult:
    """Copies a store into another of any kind: file, PostgreSQL or Redis; and compares what arrived.

    Args:
        source: Path or URL of the store to be read.
        target: Path or URL of the store to be made.
        reset: Replace a store that is there.
        key_file: Holds the key of an encrypted source; a file made of it is encrypted with the same. In a
            server its contents are not encrypted.
        progress: Receives the advance.

    Raises:
        UsageError: There is a store at the target and no `reset`, or it has decisions of its own.
        StoreNotFoundError: There is no store at the source.
        JobError: What arrived differs.

    Example:
        >>> facededup.copy_store("people.h5", "postgresql://db.example/registry")  # doctest: +SKIP
    """
    from facededup.copying import copy_stores

    return copy_stores(
        os.fsdecode(source),
        os.fsdecode(target),
        reset=reset,
        key_file=key_file,
        progress=progress or SilentProgress(),
    )


def move_root(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    **options: Any,
) -> MoveResult:
    """Gives the images under a folder that was moved or mounted elsewhere their new paths; reads no file.

    Args:
        old: The folder as the store knows it.
        new: The same folder now.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        PathNotFoundError: `new` is no folder, or the store has no image below `old`.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import follow_root

    return follow_root(_settings(settings, options), os.fsdecode(old), os.fsdecode(new))


def diagnose(*, settings: Settings | None = None, every_engine: bool = False, **options: Any) -> Diagnosis:
    """Looks at what works on this machine: libraries, GPUs, weights, folders, a self-test on known faces.

    Args:
        settings: What is asked for: `gpu`, `engine`, `model` and `store` are looked at.
        every_engine: Test every engine that is installed.
        **options: Fields of `Settings`; they go before `settings`.

    Returns:
        The checks; `problems` has those that failed and are needed.

    Raises:
        UsageError: There is no such model.
    """
    from facededup.diagnosis import examine

    return examine(_settings(settings, options), every_engine=every_engine)


def evaluate(
    folder: str | os.PathLike[str] | None = None,
    *,
    pairs: str | os.PathLike[str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    thresholds: Sequence[float] = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7),
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluateResult:
    """Measures accuracy on faces whose people are known.

    Args:
        folder: A folder with one sub-folder a person.
        pairs: Instead of a folder, a CSV file with the columns path_a, path_b and same (1 or 0).
        groups: A CSV file with the group of each person (or path), to measure each group, too.
        store: Keeps the embeddings, and is used for what it has; by default a temporary one.
        thresholds: Similarities at which clusters are measured, rising.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance of long steps.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: Not one of `folder` and `pairs` was given, or there are too few people.
        PathNotFoundError: The folder, the file or an image it names is not there.
    """
    from facededup.evaluation.pipeline import evaluate_folder, evaluate_pairs

    if (folder is None) == (pairs is None) or (groups is not None and folder is None):
        raise UsageError("evaluate takes a folder with one sub-folder a person (and --groups), or --pairs")
    chosen, metrics = _settings(settings, options), Metrics("evaluate")
    progress = progress or SilentProgress()
    kept_in = None if store is None else os.fsdecode(store)
    if pairs is not None:
        return evaluate_pairs(os.fsdecode(pairs), chosen, metrics, progress, store=kept_in)
    return evaluate_folder(
        os.fsdecode(folder or ""),
        chosen,
        metrics,
        progress,
        store=kept_in,
        groups=None if groups is None else os.fsdecode(groups),
        thresholds=thresholds,
    )


def list_models() -> tuple[ModelDescription, ...]:
    """The recognition models facededup knows, without loading any."""
    return MODELS


def list_decisions(*, settings: Settings | None = None, **options: Any) -> tuple[DecisionEntry, ...]:
    """All decisions of a store, in the order they were made.

    Args:
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
    """
    from facededup.deciding import decision_entries

    return decision_entries(_settings(settings, options))


def add_decision(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    verdict: str,
    *,
    who: str = "",
    settings: Settings | None = None,
    **options: Any,
) -> Decision:
    """Decides on a pair of faces; durable on return.

    Args:
        a: Path of an image in the store, with `#` and a number for one face of several.
        b: Likewise.
        verdict: `same`, `different`, `look-alike`, `later` or `undo`.
        who: Free text.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: The store has no such image.
        UsageError: No such verdict or face, or both are one face.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.deciding import add

    return add(_settings(settings, options), os.fsdecode(a), os.fsdecode(b), verdict, who=who)


def import_decisions(
    path: str | os.PathLike[str], *, who: str = "", settings: Settings | None = None, **options: Any
) -> DecisionImport:
    """Appends the decisions of a file to the log, all or none; those already there are left out.

    Args:
        path: JSON or CSV, as `export_decisions` or the report writes it, or pairs of paths with a verdict.
        who: Whose decisions they are where the file does not say.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: There is no such file, or the store has no such image.
        UsageError: The file holds no decisions; the sentence names the entry.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.deciding import take_decisions

    return take_decisions(_settings(settings, options), os.fsdecode(path), who=who)


def export_decisions(
    path: str | os.PathLike[str], *, settings: Settings | None = None, **options: Any
) -> int:
    """Writes all decisions of a store to a file, CSV where its name ends so, else JSON; gives their number.

    Args:
        path: A file, replaced in one step, or `-` for standard output.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        JobError: The file cannot be written.
    """
    from facededup.deciding import write_log

    return write_log(_settings(settings, options), os.fsdecode(path))


def apply_findings(
    action: str,
    *,
    to: str | os.PathLike[str] | None = None,
    every: bool = False,
    yes: bool = False,
    log: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> ApplyResult:
    """Keeps the best image of each confirmed cluster, and acts on the others.

    Args:
        action: `list`, `copy`, `move`, `hardlink` or `delete`.
        to: Folder for the images, in a folder a cluster; not for `list` and `delete`.
        every: All clusters of the last findings, also those that nobody confirmed.
        yes: Do it; else only say what would be done.
        log: Where the log goes, which must not exist; by default a file named by the time.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: No such action, no folder for it, no findings, or the log exists.
        StoreNotFoundError: There is no store.
        JobError: The log cannot be written; nothing was done after that.
    """
    from facededup import applying

    return applying.apply_findings(
        _settings(settings, options),
        action,
        to=None if to is None else os.fsdecode(to),
        every=every,
        yes=yes,
        log=None if log is None else os.fsdecode(log),
    )


def undo_apply(log: str | os.PathLike[str]) -> Undone:
    """Takes back what a log of `apply_findings` says was done; what was deleted stays so.

    Args:
        log: The log.

    Raises:
        PathNotFoundError: There is no such log.
        UsageError: It is none.
    """
    from facededup.file_actions import undo

    return undo(os.fsdecode(log))
