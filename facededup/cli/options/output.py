"""What is told, how and where."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Output"


class LimitOptions:
    """How much is listed."""

    limit: Annotated[
        int | None,
        typer.Option(
            "--limit",
            metavar="N",
            help="How many pairs and clusters the files list; 0 for all. Default: 100,000.",
            rich_help_panel=_HEADING,
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
            rich_help_panel=_HEADING,
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
            rich_help_panel=_HEADING,
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
            rich_help_panel=_HEADING,
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
            rich_help_panel=_HEADING,
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
            rich_help_panel=_HEADING,
        ),
    ] = None


class TalkOptions:
    """How much is said."""

    verbose: Annotated[
        bool,
        typer.Option("--verbose", help="Say more, and show tracebacks.", rich_help_panel=_HEADING),
    ] = False
    quiet: Annotated[
        bool,
        typer.Option("--quiet", help="Say nothing but errors.", rich_help_panel=_HEADING),
    ] = False
    log_file: Annotated[
        str | None,
        typer.Option(
            "--log-file",
            metavar="FILE",
            help="Log what is done to a file, with nothing personal unless --verbose; put aside at 10 MB.",
            rich_help_panel=_HEADING,
        ),
    ] = None
