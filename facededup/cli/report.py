"""`report`: the last findings as a page."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.options import LimitOptions, Request, StoreOptions, WorkerOptions, takes
from facededup.cli.text import shown
from facededup.report.files import check_writable


@takes(StoreOptions, LimitOptions, WorkerOptions)
def report(
    request: Request,
    file: Annotated[str, typer.Argument(metavar="FILE.html", help="Where the page goes.")] = "report.html",
    *,
    edges: Annotated[
        int | None,
        typer.Option("--edges", metavar="N", min=1, help="Only the N most and the N least similar pairs."),
    ] = None,
    symmetric: Annotated[
        bool, typer.Option("--symmetric", help="List each pair in both directions.")
    ] = False,
    inline_limit: Annotated[
        int,
        typer.Option(
            "--inline-limit",
            metavar="MB",
            min=0,
            help="Pictures in the file itself, at most; more lie in a folder beside it.",
        ),
    ] = 30,
) -> None:
    """Write the last findings as a page to decide on.

    Clusters, pairs, bad images and charts in one file that needs no network. Decisions made in it by
    keyboard are downloaded and taken into the store with `facededup decisions import`.
    """
    from facededup import api
    from facededup.cli.tables import note_unsearched

    check_writable(file)
    api.write_report(
        file,
        edges=edges,
        symmetric=symmetric,
        inline_limit=inline_limit * 1_000_000,
        settings=request.settings,
        progress=request.progress,
    )
    request.out.print(f"report  {shown(file)}", markup=False, soft_wrap=True)
    note_unsearched(request.notes, api.store_status(settings=request.settings))
