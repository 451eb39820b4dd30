"""`doctor`: what works on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.options import (
    DeviceOptions,
    EngineOptions,
    JsonOptions,
    ModelOptions,
    Request,
    StoreOptions,
    takes,
)
from facededup.errors import JobError


@takes(StoreOptions, ModelOptions, DeviceOptions, EngineOptions, JsonOptions)
def doctor(
    request: Request,
    *,
    every: Annotated[
        bool, typer.Option("--every-engine", help="Test every engine that is installed.")
    ] = False,
) -> None:
    """Show what works on this machine.

    Versions, engines, GPUs as the driver and each library see them, weights, folders, and a self-test on
    known faces. Exit code 1 when something that was asked for, or that nothing works without, does not work.
    """
    from facededup import api
    from facededup.cli.tables import print_diagnosis
    from facededup.report.json_report import diagnosis_document, write_json

    result = api.diagnose(settings=request.settings, every_engine=every)
    print_diagnosis(request.out, result)
    if request.json_file is not None:
        write_json(diagnosis_document(result), request.json_file)
    if result.problems:
        first = result.problems[0]
        raise JobError(f"{first.area}, {first.name}: {first.detail}")
