"""`status`: what is there."""

from __future__ import annotations

from facededup.cli.options import JsonOptions, Request, StoreOptions, takes


@takes(StoreOptions, JsonOptions)
def status(request: Request) -> None:
    """Show what is in the store.

    Images by outcome, faces, model, size on disk, the last run and the last findings.
    """
    from facededup import api
    from facededup.cli.tables import print_status
    from facededup.report.json_report import status_document, write_json

    result = api.store_status(settings=request.settings)
    print_status(request.out, result)
    if request.json_file is not None:
        write_json(status_document(result), request.json_file)
