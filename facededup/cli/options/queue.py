"""Other machines."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Other machines"


class QueueOptions:
    """Other machines."""

    queue: Annotated[
        bool | None,
        typer.Option(
            "--queue",
            help="Have the work done by `facededup worker` processes, here or on other machines, through the "
            "broker at FACEDEDUP_BROKER_URL.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    worker_wait: Annotated[
        float | None,
        typer.Option(
            "--worker-wait",
            metavar="SECONDS",
            help="With --queue: end when no worker did anything for so long; 0 waits for ever. Default: 600.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class QueuedIndexOptions(QueueOptions):
    """Other machines, for images."""

    resume: Annotated[
        bool | None,
        typer.Option(
            "--resume",
            help="With --queue: take up the job that an interrupted run left with the workers.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    chunk_images: Annotated[
        int | None,
        typer.Option(
            "--chunk-images",
            metavar="N",
            help="With --queue: images in one task. Default: 64.",
            rich_help_panel=_HEADING,
        ),
    ] = None
