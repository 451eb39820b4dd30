"""The options that several commands share, each declared once, and the request they add up to.

A command is written as a body that takes a `Request` and its own parameters; `takes` adds the options of the
groups it names. Where an option has the name of a field of `Settings`, its value goes there.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from facededup.errors import UsageError
from facededup.progress import Progress, SilentProgress
from facededup.report.files import STANDARD_OUTPUT, check_writable
from facededup.settings import Settings, load_settings, parse_devices

if TYPE_CHECKING:
    from rich.console import Console

_STORE = "Store and settings"
_ENCODER = "Faces and model"
_READING = "Reading images"
_SPEED = "Speed"
_QUEUE = "Other machines"
_SEARCH = "Search"
_OUTPUT = "Output"


class ConfigOptions:
    """What else sets options."""

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="A file of options; the environment and the command line win over it.",
            rich_help_panel=_STORE,
        ),
    ] = None


class StoreOptions(ConfigOptions):
    """Where the store is and what else sets options."""

    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|URL",
            help="The store: file, postgresql:// or redis://. Default: FACEDEDUP_STORE, else facededup.h5.",
            rich_help_panel=_STORE,
        ),
    ] = None
    key_file: Annotated[
        str | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="Holds the key of an encrypted store. Default: the key in FACEDEDUP_KEY.",
            rich_help_panel=_STORE,
        ),
    ] = None


class NewStoreOptions:
    """What a new store is like on the disk."""

    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt",
            help="Encrypt a new store with the key. Default: no; `store pack` changes it later.",
            rich_help_panel=_STORE,
        ),
    ] = None


class DeviceOptions:
    """Where the numbers are crunched."""

    gpu: Annotated[
        bool | None,
        typer.Option(
            "--gpu/--cpu",
            help="Demand a GPU, or do without. Default: a GPU where a usable one is there.",
            rich_help_panel=_SPEED,
        ),
    ] = None
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="0,1",
            help="Which GPUs; the work is shared among them. Default: all.",
            rich_help_panel=_SPEED,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="What a GPU calculates in: float32, or float16, which is faster and refused where it would "
            "change results. Default: float32.",
            rich_help_panel=_SPEED,
        ),
    ] = None


class EngineOptions:
    """What runs the network."""

    gpu_memory_limit: Annotated[
        int | None,
        typer.Option(
            "--gpu-memory-limit",
            metavar="MB",
            help="Memory of a GPU that the network may take. Default: what it needs.",
            rich_help_panel=_SPEED,
        ),
    ] = None

    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="What runs the network: auto, onnx, tensorflow or pytorch. Default: auto.",
            rich_help_panel=_SPEED,
        ),
    ] = None


class WorkerOptions:
    """How many processes read images."""

    detect_gpu: Annotated[
        bool | None,
        typer.Option(
            "--detect-gpu",
            help="Find faces on a GPU, too: yolo, retinaface, mtcnn and fastmtcnn can.",
            rich_help_panel=_SPEED,
        ),
    ] = None
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            metavar="N",
            help="Processes that read images and find faces. Default: one a core.",
            rich_help_panel=_SPEED,
        ),
    ] = None


class ModelOptions:
    """Which network."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "--model-name",
            metavar="NAME",
            help="Recognition model of a new store. Default: Dlib.",
            rich_help_panel=_ENCODER,
        ),
    ] = None


class EncoderOptions(ModelOptions):
    """What makes an embedding. A store keeps to the values it was made with."""

    detector: Annotated[
        str | None,
        typer.Option(
            "--detector",
            "--detector-backend",
            metavar="NAME",
            help="Face detector of a new store. Default: dlib.",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    align: Annotated[
        str | None,
        typer.Option(
            "--align",
            metavar="HOW",
            help="How faces are cut out: chip (dlib's), arcface (five landmarks) or deepface (its exact "
            "numbers). Default: what suits the model.",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    faces: Annotated[
        str | None,
        typer.Option(
            "--faces",
            metavar="WHICH",
            help="Which faces of an image are kept: all, largest, center or single (an image with several "
            "is set aside). Default: all.",
            rich_help_panel=_ENCODER,
        ),
    ] = None
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Average each face with its mirror: more accurate, twice the work. Default: no.",
            rich_help_panel=_ENCODER,
        ),
    ] = None


class ReadingOptions:
    """Which files are read, and how."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Faces in a batch of the network. Default: what suits the engine.",
            rich_help_panel=_SPEED,
        ),
    ] = None
    follow_symlinks: Annotated[
        bool | None,
        typer.Option(
            "--follow-symlinks", help="Follow links inside the given folders.", rich_help_panel=_READING
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="N",
            help="Refuse images with more pixels than this. Default: 178,956,970.",
            rich_help_panel=_READING,
        ),
    ] = None
    worker_memory: Annotated[
        int | None,
        typer.Option(
            "--worker-memory",
            metavar="MB",
            help="Memory a process may take for an image; one that needs more is FILE_ERROR. Default: any.",
            rich_help_panel=_READING,
        ),
    ] = None
    rehash: Annotated[
        bool | None,
        typer.Option(
            "--rehash", help="Read every file again, whatever its time stamp says.", rich_help_panel=_READING
        ),
    ] = None


class QueueOptions:
    """Other machines."""

    queue: Annotated[
        bool | None,
        typer.Option(
            "--queue",
            help="Have the work done by `facededup worker` processes, here or on other machines, through the "
            "broker at FACEDEDUP_BROKER_URL.",
            rich_help_panel=_QUEUE,
        ),
    ] = None


class QueuedIndexOptions(QueueOptions):
    """Other machines, for images."""

    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume",
            help="With --queue: take up the job that an interrupted run left with the workers.",
            rich_help_panel=_QUEUE,
        ),
    ] = None
    chunk_images: Annotated[
        int | None,
        typer.Option(
            "--chunk-images",
            metavar="N",
            help="With --queue: images in one task. Default: 64.",
            rich_help_panel=_QUEUE,
        ),
    ] = None


class ManifestOptions:
    """What is known of the images."""

    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            metavar="FILE.csv",
            help="A table of what is known of each image, with a heading: path, and as you like id, group "
            "and others, which go along to all outputs. Without PATH its images are indexed; - is standard "
            "input.",
            rich_help_panel=_READING,
        ),
    ] = None


class ResetIndexOptions:
    """Starting the store anew."""

    reset: Annotated[
        bool | None,
        typer.Option(
            "--reset",
            help="Drop the images, faces, embeddings and findings of the store first.",
            rich_help_panel=_STORE,
        ),
    ] = None


class ResetFindingsOptions:
    """Starting the findings anew."""

    reset: Annotated[
        bool | None,
        typer.Option(
            "--reset",
            help="Drop the findings before, so that every pair is new.",
            rich_help_panel=_STORE,
        ),
    ] = None


class GpuSearchOptions:
    """What searches on a GPU."""

    search_engine: Annotated[
        str | None,
        typer.Option(
            "--search-engine",
            metavar="NAME",
            help="What searches on a GPU: faiss, torch or cupy. Default: the first of them that sees one.",
            rich_help_panel=_SPEED,
        ),
    ] = None


class SearchOptions:
    """Which pairs are found."""

    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="X",
            help="Lowest similarity of a pair; 0.4 is the model's own limit, 1 is identical. Default: 0.4.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    max_false_pairs: Annotated[
        float | None,
        typer.Option(
            "--max-false-pairs",
            metavar="N",
            help="Instead of --threshold: take the lowest one at which so many false pairs are to be "
            "expected among the faces compared.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    fmr: Annotated[
        float | None,
        typer.Option(
            "--fmr",
            metavar="X",
            help="Instead of --threshold: the share of the pairs of two people that may be taken for one, "
            "such as 1e-5.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="FILE.toml",
            help="Scale and error rates of the model, as `facededup evaluate` measures them. Default: the "
            "store's, else the catalogue's.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="NAME",
            help="How to search: flat is exact, ivf and hnsw approximate with their recall measured, auto "
            "exact unless that would take more than about ten minutes, else ivf. Default: auto.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    exact: Annotated[
        bool | None,
        typer.Option("--exact", help="Search exactly however long it takes.", rich_help_panel=_SEARCH),
    ] = None
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            metavar="X",
            help="Part of the pairs an approximate search is tuned to find. Default: 0.999.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    clustering: Annotated[
        str | None,
        typer.Option(
            "--clustering",
            metavar="NAME",
            help="How pairs make clusters: average (linkage), components or chinese-whispers. "
            "Default: average.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="REGEX|parent|column:NAME|none",
            help="Images known to be of one person, not to be reported: those in one folder (parent), with "
            "the same value in a column of the manifest, or with the same match of a regular expression in "
            "their paths (its first group). Default: the manifest's column group, where it has one.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    min_quality: Annotated[
        float | None,
        typer.Option(
            "--min-quality",
            metavar="X",
            help="Leave faces of a lower quality out of the pairs, 0 to 1: small, blurred, turned or dark "
            "ones. Default: take all.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize",
            help="Add a second score to each listed pair: how far its cosine stands out among those of its "
            "two faces with other people.",
            rich_help_panel=_SEARCH,
        ),
    ] = None
    max_pairs: Annotated[
        int | None,
        typer.Option(
            "--max-pairs",
            metavar="N",
            help="Stop before more pairs than this are stored. Default: 50,000,000.",
            rich_help_panel=_SEARCH,
        ),
    ] = None


class LimitOptions:
    """How much is listed."""

    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="How many pairs and clusters the files list; 0 for all. Default: 100,000.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class AgainstOptions:
    """Another store to compare with."""

    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="STORE",
            help="Compare with the faces of this other store, an enrolled base, and not with each other; "
            "list the pairs and store nothing.",
            rich_help_panel=_SEARCH,
        ),
    ] = None


class JsonOptions:
    """The result for programs."""

    json_file: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="FILE",
            help="Write the result as JSON; - is standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class CsvOptions:
    """The result for spreadsheets."""

    csv_file: Annotated[
        str | None,
        typer.Option(
            "--csv",
            metavar="FILE",
            help="Write the pairs as CSV; - is standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class ReportOptions:
    """The result for people."""

    report_file: Annotated[
        str | None,
        typer.Option(
            "--report",
            metavar="FILE.html",
            help="Write the result as a page to look through and decide on; - is standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class SheetOptions:
    """The result as pictures."""

    contact_sheet: Annotated[
        str | None,
        typer.Option(
            "--contact-sheet",
            metavar="DIR",
            help="Draw each listed cluster's faces as a PNG file in this folder.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class MetricsOptions:
    """What the command cost."""

    metrics_file: Annotated[
        str | None,
        typer.Option(
            "--metrics",
            metavar="FILE",
            help="Write the timing of every stage as JSON; - is standard output.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


class TalkOptions:
    """How much is said."""

    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Say more, and show tracebacks.", rich_help_panel=_OUTPUT),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Say nothing but errors.", rich_help_panel=_OUTPUT),
    ] = False
    log_file: Annotated[
        str | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Log what is done to a file, with nothing personal unless --verbose; put aside at 10 MB.",
            rich_help_panel=_OUTPUT,
        ),
    ] = None


Body = Callable[..., None]
"""What a command does; its first argument is the `Request`, the others are its own parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for.

    Attributes:
        settings: For the library.
        progress: Where the library tells how far it is.
        out: The terminal for results; says nothing while standard output carries a file.
        notes: The terminal for remarks, standard error.
        json_file: Where the result goes as JSON, if anywhere; `-` is standard output.
        csv_file: Likewise as CSV.
        report_file: Likewise as a page.
        metrics_file: Likewise the metrics.
        contact_sheet: The folder for pictures of the clusters, if any.
        verbose: Say more.
    """

    settings: Settings
    progress: Progress
    out: Console
    notes: Console
    json_file: str | None
    csv_file: str | None
    report_file: str | None
    metrics_file: str | None
    contact_sheet: str | None
    verbose: bool


def takes(*groups: type) -> Callable[[Body], Body]:
    """Gives a command the options of some groups and its body the request they add up to."""
    shared = [parameter for group in (*groups, TalkOptions) for parameter in _parameters(group)]

    def decorate(body: Body) -> Body:
        hints = get_type_hints(body, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(body).parameters.values())[1:]
        ]

        @functools.wraps(body)
        def command(**given: Any) -> None:
            options = {parameter.name: given.pop(parameter.name) for parameter in shared}
            with _request(options) as request:
                body(request, **given)

        parameters = own + shared
        # What typer reads to build the command.
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _parameters(group: type) -> Iterator[inspect.Parameter]:
    for name, annotation in get_type_hints(group, include_extras=True).items():
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(group, name), annotation=annotation
        )


@contextmanager
def _request(options: dict[str, Any]) -> Iterator[Request]:
    from facededup.cli.progress import TerminalProgress
    from facededup.cli.terminal import console

    overrides = {field.name: options.get(field.name) for field in fields(Settings)}
    if overrides["devices"] is not None:
        overrides["devices"] = parse_devices(overrides["devices"])
    settings = load_settings(overrides, config=options.get("config"))
    files = {name: options.get(name) for name in ("json_file", "csv_file", "report_file", "metrics_file")}
    targets = [path for path in files.values() if path is not None]
    if targets.count(STANDARD_OUTPUT) > 1:
        raise UsageError("only one of --json, --csv, --report and --metrics can go to standard output")
    for path in targets:
        check_writable(path)
    if options.get("against") and (options.get("report_file") or options.get("contact_sheet")):
        raise UsageError(
            "--report and --contact-sheet show what a store keeps, --against keeps nothing: leave them out"
        )
    quiet = options["quiet"]
    notes = console(sys.stderr, quiet=quiet)
    with TerminalProgress(notes) if notes.is_terminal and not quiet else _no_progress() as progress:
        yield Request(
            settings=settings,
            progress=progress if options["log_file"] is None else _logged(progress),
            out=console(sys.stdout, quiet=quiet or STANDARD_OUTPUT in targets),
            notes=notes,
            **files,
            contact_sheet=options.get("contact_sheet"),
            verbose=options["verbose"],
        )


def _logged(progress: Progress) -> Progress:
    from facededup.cli.logs import LoggedProgress

    return LoggedProgress(progress)


@contextmanager
def _no_progress() -> Iterator[Progress]:
    yield SilentProgress()
