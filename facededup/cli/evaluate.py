"""`evaluate`: how accurate the model is on faces whose people are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from facededup.cli.jobs import write_metrics
from facededup.cli.options import (
    BatchOptions,
    ConfigOptions,
    DeviceOptions,
    EncoderOptions,
    EngineOptions,
    JsonOptions,
    MetricsOptions,
    ReadingOptions,
    Request,
    WorkerOptions,
    takes,
)
from facededup.errors import UsageError
from facededup.report.files import check_writable, writing

if TYPE_CHECKING:
    from facededup.evaluation.pipeline import EvaluateResult

_INTO_STORE = "store"


@takes(
    ConfigOptions,
    EncoderOptions,
    ReadingOptions,
    BatchOptions,
    DeviceOptions,
    EngineOptions,
    WorkerOptions,
    JsonOptions,
    MetricsOptions,
)
def evaluate(
    request: Request,
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="A folder with one sub-folder a person.")
    ] = None,
    *,
    pairs: Annotated[
        str | None,
        typer.Option(
            "--pairs",
            metavar="FILE.csv",
            help="Instead of a folder: labelled pairs, with the columns path_a, path_b and same (1 or 0).",
        ),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            "--groups",
            metavar="FILE.csv",
            help="The group of each person, or image, with the columns person (or path) and group: measure "
            "each group, too.",
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE",
            help="Keep the embeddings in this store, and use those it has. Default: a temporary one.",
        ),
    ] = None,
    write_calibration: Annotated[
        str | None,
        typer.Option(
            "--write-calibration",
            metavar="FILE.toml|store",
            help="Write scale and error rates for `find --calibration`, or into the store of --store.",
        ),
    ] = None,
    markdown: Annotated[
        str | None, typer.Option("--markdown", metavar="FILE.md", help="Write the tables as Markdown.")
    ] = None,
    png: Annotated[
        str | None,
        typer.Option(
            "--png", metavar="FILE.png", help="Draw ROC, DET and cluster quality (needs matplotlib)."
        ),
    ] = None,
) -> None:
    """Measure accuracy on faces whose people are known.

    Every image is compared with every other: error rates with confidence intervals, the thresholds that have
    them, ten-fold accuracy, and the quality of clusters; for each group of people, too, if a file names them.
    """
    from facededup import api
    from facededup.cli.evaluation_tables import print_evaluation
    from facededup.report.evaluation import evaluation_document, write_markdown
    from facededup.report.evaluation_chart import write_chart
    from facededup.report.json_report import write_json

    if write_calibration == _INTO_STORE and store is None:
        raise UsageError(
            "--write-calibration store needs --store: say which, or give the name of a .toml file"
        )
    for target in (markdown, png, None if write_calibration == _INTO_STORE else write_calibration):
        if target is not None:
            check_writable(target)
    result = api.evaluate(
        folder, pairs=pairs, groups=groups, store=store, settings=request.settings, progress=request.progress
    )
    print_evaluation(request.out, result)
    if write_calibration is not None:
        _keep(result, write_calibration, store, request.settings.key_file)
    if markdown is not None:
        write_markdown(result, markdown)
    if png is not None:
        write_chart(result, png)
    if request.json_file is not None:
        write_json(evaluation_document(result), request.json_file)
    write_metrics(request, result.metrics)


def _keep(result: EvaluateResult, target: str, store: str | None, key_file: str | None) -> None:
    from facededup.calibration import calibration_text
    from facededup.evaluation.pipeline import keep_calibration

    if target == _INTO_STORE and store is not None:
        keep_calibration(result, store, key_file)
        return
    with writing(target) as file:
        file.write(calibration_text(result.calibration, result.fingerprint))
