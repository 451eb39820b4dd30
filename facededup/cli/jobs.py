"""The job: `index`, `find` and both in a row as `run`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from facededup.cli.options import (
    AgainstOptions,
    BatchOptions,
    CsvOptions,
    DeviceOptions,
    EncoderOptions,
    EngineOptions,
    GpuSearchOptions,
    JsonOptions,
    LimitOptions,
    ManifestOptions,
    MetricsOptions,
    NewStoreOptions,
    QueuedIndexOptions,
    QueueOptions,
    ReadingOptions,
    ReportOptions,
    Request,
    ResetFindingsOptions,
    ResetIndexOptions,
    SearchOptions,
    SheetOptions,
    StoreOptions,
    WorkerOptions,
    takes,
)
from facededup.cli.text import shown
from facededup.errors import InterruptedRunError, UsageError

if TYPE_CHECKING:
    from facededup.metrics import Metrics
    from facededup.results import FindResult, IndexResult

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Folders, searched to the bottom, and image files. None: the images that --manifest lists.",
        show_default=False,
    ),
]

_INDEXING = (
    StoreOptions,
    NewStoreOptions,
    EncoderOptions,
    ReadingOptions,
    BatchOptions,
    ManifestOptions,
    DeviceOptions,
    EngineOptions,
    WorkerOptions,
)
_FINDING = (
    SearchOptions,
    LimitOptions,
    GpuSearchOptions,
    JsonOptions,
    CsvOptions,
    ReportOptions,
    SheetOptions,
)


Roots = Annotated[
    list[str] | None,
    typer.Option(
        "--root",
        metavar="OLD=NEW",
        help="The folder OLD of earlier runs is NEW now: keep its images, read none again. May be repeated.",
    ),
]


@takes(*_INDEXING, QueuedIndexOptions, ResetIndexOptions, MetricsOptions)
def index(request: Request, paths: Paths = None, *, root: Roots = None) -> None:
    """Find images and store the faces of the new ones.

    Changed images are read again, moved ones keep their embedding, and the rest is left alone. Images that
    cannot be used are listed with the reason; they do not stop the job. An interrupted run continues where
    it stopped.
    """
    _refuse_nothing(request, paths)
    _warm_up_workers()
    from facededup import api

    for pair in root or []:
        old, mark, new = pair.partition("=")
        if not (old and mark and new):
            raise UsageError(f"--root takes OLD=NEW, two folders, not {pair!r}")
        moved = api.move_root(old, new, settings=request.settings)
        request.out.print(
            f"moved  {moved.images:,} images to their new paths ({moved.unchanged:,} look unchanged)"
        )
    result = api.index(paths or [], settings=request.settings, progress=request.progress)
    write_metrics(request, result.metrics)
    show_index(request, result)


@takes(
    *(StoreOptions, DeviceOptions, *_FINDING, AgainstOptions),
    *(QueueOptions, ResetFindingsOptions, MetricsOptions),
)
def find(request: Request) -> None:
    """Search the whole store for faces of the same person.

    Prints the largest clusters and how many false pairs to expect; the files hold the whole result.
    """
    from facededup import api

    with _continued_later():
        result = api.find(settings=request.settings, progress=request.progress)
    show_findings(request, result)


@takes(*_INDEXING, *_FINDING, QueuedIndexOptions, ResetIndexOptions, MetricsOptions)
def run(request: Request, paths: Paths = None) -> None:
    """Index, then find, in one go.

    Embeds what is new under the given paths and searches the whole store for faces of the same person.
    """
    _refuse_nothing(request, paths)
    if request.settings.demands_gpu_search:
        from facededup.finding import open_searches

        # A demand that the search cannot meet is refused before hours of indexing, not after.
        open_searches(request.settings)
    if request.settings.confirm_model is not None:
        from facededup.confirmation import check_second_model

        check_second_model(request.settings, request.settings.confirm_model)
    _warm_up_workers()
    from facededup import api

    indexed = api.index(paths or [], settings=request.settings, progress=request.progress)
    show_index(request, indexed)
    request.out.print()
    # A reset emptied the store and its findings already.
    with _continued_later():
        found = api.find(settings=replace(request.settings, reset=False), progress=request.progress)
    show_findings(request, replace(found, metrics=_together(indexed.metrics, found.metrics)))


def _refuse_nothing(request: Request, paths: list[str] | None) -> None:
    if not paths and request.settings.manifest is None:
        raise UsageError("there is nothing to index: give a PATH, or --manifest with a list of images")


def _warm_up_workers() -> None:
    """Lets the workers' imports go on beside our own."""
    from facededup.workers.pool import warm_up

    warm_up("facededup.workers.steps", "dlib")


@contextmanager
def _continued_later() -> Iterator[None]:
    """Says of a search that the user stopped what becomes of it."""
    try:
        yield
    except KeyboardInterrupt as exc:
        raise InterruptedRunError(
            "interrupted; the findings before are kept, and the same command continues the search"
        ) from exc


def show_index(request: Request, result: IndexResult) -> None:
    """Prints what `index` did.

    Raises:
        InterruptedRunError: The user stopped it.
    """
    from logging import getLogger

    from facededup.cli.tables import print_index

    print_index(request.out, result, verbose=request.verbose)
    log = getLogger(__name__)
    log.info(
        "index: %d found, %d unchanged, %d read, %d faces embedded, %d moved, %d copies, %d without a face, "
        "%d failed, %d places unreadable",
        *(result.found, result.unchanged, result.read, result.embedded, result.moved, result.copies),
        *(result.no_face, result.failed, len(result.unreadable)),
    )
    for problem in result.problems:
        log.debug("%s: %s: %s", problem.outcome.name, problem.path, problem.reason)
    if result.interrupted:
        how = "the same command with --resume" if request.settings.queue else "the same command"
        raise InterruptedRunError(f"interrupted; the work so far is kept, and {how} continues it")


def show_findings(request: Request, result: FindResult) -> None:
    """Prints and writes what `find` found."""
    from logging import getLogger

    from facededup.cli.tables import print_findings

    getLogger(__name__).info(
        "find: %d faces, %d pairs in %d clusters at %g, complete: %s",
        *(result.faces, result.pairs_total, result.clusters_total, result.threshold, result.complete),
    )
    try:
        print_findings(request.out, request.notes, result)
    finally:  # also where nobody reads on, as in `find --report page.html | head`
        _write_files(request, result)


def _write_files(request: Request, result: FindResult) -> None:
    from facededup.cli.tables import note_limit
    from facededup.report.csv_report import write_pairs
    from facededup.report.json_report import write_findings

    write_metrics(request, result.metrics)
    if request.json_file is not None:
        write_findings(result, request.json_file)
    if request.csv_file is not None:
        write_pairs(result, request.csv_file)
    if request.report_file is not None:
        write_report(request, result)
    if request.contact_sheet is not None:
        write_sheets(request, request.contact_sheet)
    if request.json_file or request.csv_file or request.report_file:
        note_limit(request.notes, result)


def write_sheets(request: Request, folder: str) -> None:
    """Draws the contact sheets, and says where they are."""
    from facededup import api

    number = api.write_contact_sheets(folder, settings=request.settings, progress=request.progress)
    request.out.print(f"contact sheets  {number:,} in {shown(folder)}", markup=False, soft_wrap=True)


def write_report(request: Request, result: FindResult) -> None:
    """Writes the page of `--report`, and says where it is."""
    from facededup import api

    assert request.report_file is not None
    api.write_report(request.report_file, result=result, settings=request.settings, progress=request.progress)
    request.out.print(f"report          {shown(request.report_file)}", markup=False, soft_wrap=True)


def write_metrics(request: Request, metrics: Metrics) -> None:
    """Writes the document of `--metrics`, if it was asked for."""
    from facededup.report.json_report import write_json

    if request.metrics_file is not None:
        write_json(metrics.to_dict(), request.metrics_file)


def _together(indexed: Metrics, found: Metrics) -> Metrics:
    """The metrics of `run`: stages, images and faces of both added up; start-up ended with the first."""
    from facededup.gpu_usage import add_usage

    both = replace(
        indexed,
        command="run",
        stages={name: replace(stage) for name, stage in indexed.stages.items()},
        devices={**indexed.devices, **found.devices},
        versions={**indexed.versions, **found.versions},
        images=indexed.images + found.images,
        faces=indexed.faces + found.faces,
        startup_seconds=indexed.startup_seconds or found.startup_seconds,
        gpu=add_usage(indexed.gpu, found.gpu),
    )
    for name, stage in found.stages.items():
        both.stages[name].add(stage.seconds, stage.items)
    return both
