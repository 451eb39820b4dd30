"""`status` and `models`: what is there."""

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


@takes(JsonOptions)
def models(request: Request) -> None:
    """List the recognition models.

    With the length of an embedding, the size of the input, the cosine that similarity 0.4 stands for, and
    what the licence of the weights says.
    """
    from facededup import api
    from facededup.cli.tables import print_models
    from facededup.report.json_report import models_document, write_json

    known = api.list_models()
    print_models(request.out, known)
    if request.json_file is not None:
        write_json(models_document(known), request.json_file)
