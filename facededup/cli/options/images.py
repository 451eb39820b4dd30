"""Which images are read, how, and what is known of them."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Reading images"


class ReadingOptions:
    """Which files are read, and how."""

    follow_symlinks: Annotated[
        bool | None,
        typer.Option(
            "--follow-symlinks", help="Follow links inside the given folders.", rich_help_panel=_HEADING
        ),
    ] = None
    max_pixels: Annotated[
        int | None,
        typer.Option(
            "--max-pixels",
            metavar="N",
            help="Refuse images with more pixels than this. Default: 178,956,970.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    worker_memory: Annotated[
        int | None,
        typer.Option(
            "--worker-memory",
            metavar="MB",
            help="Memory a process may take for an image; one that needs more is FILE_ERROR. Default: any.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    rehash: Annotated[
        bool | None,
        typer.Option(
            "--rehash", help="Read every file again, whatever its time stamp says.", rich_help_panel=_HEADING
        ),
    ] = None


class ManifestOptions:
    """What is known of the images."""

    manifest: Annotated[
        str | None,
        typer.Option(
            "--manifest",
            metavar="FILE.csv",
            help="A table of what is known of each image, with a heading: path, and as you like id, group "
            "and others, which go along to all outputs. Without PATH its images are indexed; - is standard "
            "input.",
            rich_help_panel=_HEADING,
        ),
    ] = None
