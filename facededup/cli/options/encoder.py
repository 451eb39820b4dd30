"""What makes an embedding."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Faces and model"


class ModelOptions:
    """Which network."""

    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "--model-name",
            metavar="NAME",
            help="Recognition model of a new store. Default: Dlib.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class EncoderOptions(ModelOptions):
    """What makes an embedding. A store keeps to the values it was made with."""

    detector: Annotated[
        str | None,
        typer.Option(
            "--detector",
            "--detector-backend",
            metavar="NAME",
            help="Face detector of a new store. Default: dlib.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    align: Annotated[
        str | None,
        typer.Option(
            "--align",
            metavar="HOW",
            help="How faces are cut out: chip (dlib's), arcface (five landmarks) or deepface (its exact "
            "numbers). Default: what suits the model.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    faces: Annotated[
        str | None,
        typer.Option(
            "--faces",
            metavar="WHICH",
            help="Which faces of an image are kept: all, largest, center or single (an image with several "
            "is set aside). Default: all.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    flip: Annotated[
        bool | None,
        typer.Option(
            "--flip/--no-flip",
            help="Average each face with its mirror: more accurate, twice the work. Default: no.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    crops: Annotated[
        int | None,
        typer.Option(
            "--crops",
            metavar="N",
            help="Average N cuts of each face, a little higher and lower: 1, 2 or 5. More accurate, N times "
            "the embedding; with --flip twice that. Default: 1.",
            rich_help_panel=_HEADING,
        ),
    ] = None
