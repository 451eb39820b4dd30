"""`models`: the recognition models, and how their weights come to this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.command import Command, Group
from facededup.cli.options import EngineOptions, JsonOptions, Request, takes
from facededup.cli.text import shown

models_commands = typer.Typer(
    cls=Group, invoke_without_command=True, epilog="Example: facededup models", rich_markup_mode=None
)


@models_commands.callback()
@takes(JsonOptions)
def models(request: Request, context: typer.Context) -> None:
    """List the recognition models and face detectors.

    With the length of an embedding, the size of the input, the cosine that similarity 0.4 stands for, the
    weights that are on this machine, and what their licence says.
    """
    if context.invoked_subcommand is not None:
        return
    from facededup import api
    from facededup.cli.tables import print_detectors, print_models
    from facededup.models.catalog import DETECTORS
    from facededup.report.json_report import models_document, write_json

    known = api.list_models()
    print_models(request.out, known)
    print_detectors(request.out, DETECTORS)
    if request.json_file is not None:
        write_json(models_document(known, DETECTORS), request.json_file)


@models_commands.command(cls=Command, epilog="Example: facededup models fetch ArcFace")
@takes(EngineOptions)
def fetch(
    request: Request, name: Annotated[str, typer.Argument(metavar="NAME", help="A model or a detector.")]
) -> None:
    """Download the weights of a model or a detector.

    From where DeepFace has them, those of a model in the format of the engine (onnx by default). A transfer
    that was cut off goes on where it stopped.
    """
    from facededup.faces.weights import fetch_detector
    from facededup.models.catalog import DETECTORS
    from facededup.models.fetch import fetch_weights

    # By its exact name: in any letter case, `dlib` is also a model.
    for detector in DETECTORS:
        if detector.name == name and detector.weights_files:
            folder = fetch_detector(detector, request.progress)
            request.out.print(f"the weights of the detector {name} are in {shown(folder)}", soft_wrap=True)
            return
    engine = "onnx" if request.settings.engine == "auto" else request.settings.engine
    path = fetch_weights(name, engine, progress=request.progress)
    request.out.print(f"the weights of {name} are in {shown(path)}", soft_wrap=True)


@models_commands.command(
    "import", cls=Command, epilog="Example: facededup models import arcface_weights.onnx"
)
@takes()
def import_file(
    request: Request,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A weights file, under the name it was published.")
    ],
) -> None:
    """Take over a weights file that was brought by hand.

    For machines without internet: it is copied to where DeepFace looks for it.
    """
    from facededup.models.fetch import import_weights

    names = import_weights(file)
    request.out.print(f"{shown(file)} has the weights of {', '.join(names)}", soft_wrap=True)
