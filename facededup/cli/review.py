"""`review`: the report, with decisions saved as they are made."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.options import LimitOptions, Request, StoreOptions, takes


@takes(StoreOptions, LimitOptions)
def review(
    request: Request,
    *,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="On 127.0.0.1; 0 for any that is free."),
    ] = 8765,
    opened: Annotated[
        bool,
        typer.Option(
            "--open/--no-open", help="Open the page in the browser. Default: yes.", show_default=False
        ),
    ] = True,
) -> None:
    """Decide on the last findings in the browser.

    Serves the page of `report` to this machine only, and saves each decision in the store as it is made. The
    address is a secret: whoever has it can decide. Ctrl-C ends it and loses nothing.
    """
    import webbrowser

    from facededup import api
    from facededup.cli.tables import note_unsearched
    from facededup.report.page_data import PageOptions
    from facededup.report.review import Review
    from facededup.report.server import ReviewServer

    content = Review(request.settings, PageOptions(limit=request.settings.limit))
    with ReviewServer(content, port) as server:
        request.out.print(f"review  {server.url}", markup=False, soft_wrap=True)
        request.out.print("Ctrl-C ends it; every decision is saved when it is made.")
        note_unsearched(request.notes, api.store_status(settings=request.settings))
        if opened:
            webbrowser.open(server.url)
        server.serve_forever()
