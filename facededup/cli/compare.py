"""`compare`: why two images do or do not match."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.jobs import write_metrics
from facededup.cli.options import (
    DeviceOptions,
    EncoderOptions,
    EngineOptions,
    JsonOptions,
    MetricsOptions,
    Request,
    StoreOptions,
    takes,
)
from facededup.report.files import check_writable


@takes(StoreOptions, EncoderOptions, DeviceOptions, EngineOptions, JsonOptions, MetricsOptions)
def compare(
    request: Request,
    first: Annotated[str, typer.Argument(metavar="A", help="An image.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another.")],
    threshold: Annotated[
        float | None,
        typer.Option("--threshold", metavar="X", help="Lowest similarity of a match. Default: 0.4."),
    ] = None,
    sheet: Annotated[
        str | None,
        typer.Option("--sheet", metavar="FILE.png", help="Draw the aligned faces side by side."),
    ] = None,
) -> None:
    """Show why two images do or do not match.

    Each face of one is compared with each of the other. The images need not be in a store; where --store is
    there, its model, detector and alignment are used.
    """
    from facededup import api
    from facededup.cli.tables import print_comparison
    from facededup.report.comparison import comparison_document, write_sheet
    from facededup.report.json_report import write_json

    if sheet is not None:
        check_writable(sheet)
    options = {} if threshold is None else {"threshold": threshold}
    result = api.compare(first, second, settings=request.settings, **options)
    print_comparison(request.out, result)
    if sheet is not None:
        write_sheet(result, sheet)
    if request.json_file is not None:
        write_json(comparison_document(result), request.json_file)
    write_metrics(request, result.metrics)
