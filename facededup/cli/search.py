"""`search`: who in the store looks like a face."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.jobs import write_metrics
from facededup.cli.options import (
    DeviceOptions,
    EngineOptions,
    JsonOptions,
    MetricsOptions,
    Request,
    StoreOptions,
    takes,
)


@takes(StoreOptions, DeviceOptions, EngineOptions, JsonOptions, MetricsOptions)
def search(
    request: Request,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to look up; it is not stored.")],
    k: Annotated[int, typer.Option("-k", metavar="N", min=1, help="How many faces to show.")] = 10,
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="X", help="Show only faces with at least this similarity."),
    ] = None,
) -> None:
    """Show who in the store looks like an image.

    Each face in the image is looked up; neither the image nor its faces are stored.
    """
    from facededup import api
    from facededup.cli.tables import print_search
    from facededup.report.json_report import search_document, write_json

    result = api.search(image, k=k, threshold=threshold, settings=request.settings)
    print_search(request.out, result)
    if request.json_file is not None:
        write_json(search_document(result), request.json_file)
    write_metrics(request, result.metrics)
