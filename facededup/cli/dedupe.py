"""`dedupe PATH`: the whole job with the option names of the proof of concept."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from facededup.cli import leave_with
from facededup.cli.command import Command
from facededup.errors import InterruptedRunError
from facededup.models.catalog import DEFAULT_DETECTOR, DEFAULT_MODEL

if TYPE_CHECKING:
    from facededup.results import FindResult, IndexResult

app = typer.Typer(
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_ENDING = """Example: dedupe data/IMAGES -p 4

Defaults and scores are facededup's: 1 is identical, 0.4 the model's own limit, higher is stricter. The store
and the files _findings_*.json, _perf_*.json and _report_*.html lie in the folder of the images."""


@app.command("dedupe", cls=Command, epilog=_ENDING)
def dedupe(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder of the images.")],
    *,
    processes: Annotated[
        int | None, typer.Option("--processes", "-p", metavar="N", help="Processes. Default: one a core.")
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold", "-t", "--dedupe-threshold", metavar="X", help="Lowest similarity. Default: 0.4."
        ),
    ] = None,
    report_threshold: Annotated[
        float | None,
        typer.Option(
            "--report-threshold", metavar="X", help="Lowest similarity in the report. Default: that of -t."
        ),
    ] = None,
    model: Annotated[str, typer.Option("--model-name", metavar="NAME", help="Model.")] = DEFAULT_MODEL,
    detector: Annotated[
        str, typer.Option("--detector-backend", metavar="NAME", help="Detector.")
    ] = DEFAULT_DETECTOR,
    queue: Annotated[
        bool, typer.Option("--queue", help="Have `facededup worker` processes do the work.")
    ] = False,
    reset: Annotated[bool, typer.Option("--reset", help="Start over.")] = False,
    report: Annotated[bool, typer.Option("--report", help="Write the HTML report.")] = False,
    progress: Annotated[bool, typer.Option("--progress", help="Show how far it is.")] = False,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="List pairs in both directions.")] = False,
    edges: Annotated[
        int | None,
        typer.Option("--edges", metavar="N", help="Report only the N most and N least similar pairs."),
    ] = None,
    encodings: Annotated[
        str | None,
        typer.Option(
            "--import-encodings",
            metavar="DIR",
            help="First take over the _encoding_*.json files of a folder.",
        ),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")] = False,
) -> None:
    """Find duplicate faces in a folder of images, as the proof of concept `dedupe` did."""
    del verbose  # the command's class looks at it
    from facededup import api
    from facededup.cli.progress import TerminalProgress
    from facededup.cli.terminal import console
    from facededup.legacy import import_encodings, legacy_file, legacy_findings
    from facededup.models.catalog import describe_detector, describe_model
    from facededup.progress import SilentProgress
    from facededup.report.files import check_writable
    from facededup.settings import load_settings

    names = describe_model(model).name, describe_detector(detector).name
    folder = path if os.path.isdir(path) else os.path.dirname(os.path.abspath(path))
    given = {"model": names[0], "detector": names[1], "processes": processes, "threshold": threshold}
    settings = load_settings({**given, "queue": queue or None})
    if "FACEDEDUP_STORE" not in os.environ:
        settings = replace(settings, store=legacy_file(folder, "store", *names, ending=".h5"))
    settings = replace(settings, limit=0)
    target = {what: legacy_file(folder, what, *names) for what in ("findings", "perf")}
    for file in target.values():
        check_writable(file)
    out, notes = console(sys.stdout), console(sys.stderr)
    with TerminalProgress(notes) if progress or notes.is_terminal else _Silently() as told:
        shown = told or SilentProgress()
        indexing = replace(settings, reset=reset)
        if encodings is not None:
            taken = import_encodings(settings, encodings)
            out.print(f"Found {taken} existing encodings")
        indexed = api.index([path], settings=indexing, progress=shown)
        if indexed.interrupted:
            raise InterruptedRunError("interrupted; the work so far is kept, the same command continues it")
        found = api.find(settings=settings, progress=shown)
        options = {**given, "threshold": found.threshold, "queue": queue, "reset": reset}
        sections = metrics_sections(indexed, found, options)
        _write(target["findings"], legacy_findings(found, symmetric=symmetric))
        _write(target["perf"], sections)
        if report:
            page = legacy_file(folder, "report", *names, ending=".html")
            if report_threshold is not None:
                api.find(settings=replace(settings, threshold=report_threshold), progress=shown)
            api.write_report(
                page,
                edges=edges,
                symmetric=symmetric,
                inline_limit=1 << 40,
                settings=settings,
                progress=shown,
            )
    for values in sections.values():
        for name, value in values.items():
            out.print(f"{name:<25}: {value}", soft_wrap=True)
    if report:
        out.print(f"Report saved to {page}", soft_wrap=True)


def metrics_sections(
    indexed: IndexResult, found: FindResult, options: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Timing, performance, information and options of a run: the sections of the proof of concept."""
    images, faces = indexed.metrics.to_dict(), found.metrics.to_dict()
    return {
        "timing": {
            "Encoding Time": images["seconds"],
            "Deduplication Time": faces["seconds"],
            "Total Time": round(images["seconds"] + faces["seconds"], 6),
        },
        "perfs": {
            "Images/s": images["images_per_second"],
            "Faces/s": images["faces_per_second"],
            "RAM Mb": round(max(images["peak_rss_bytes"], faces["peak_rss_bytes"]) / 2**20, 1),
        },
        "info": {
            "Total Files": indexed.found,
            "New Images": indexed.read,
            "Database": indexed.counts.total,
            "Findings": found.pairs_total,
            "Clusters": found.clusters_total,
            "Engine": images["engine"],
        },
        "options": options,
    }


class _Silently:
    def __enter__(self) -> None:
        """Nothing is told."""

    def __exit__(self, *_: object) -> None: ...


def _write(path: str, document: Any) -> None:
    from facededup.report.files import writing

    with writing(path) as file:
        json.dump(document, file, indent=1)


def main() -> None:
    """Runs `dedupe`."""
    leave_with(lambda: app, "dedupe")
