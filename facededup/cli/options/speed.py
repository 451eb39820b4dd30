"""What does the work on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Speed"


class DeviceOptions:
    """Where the numbers are crunched."""

    gpu: Annotated[
        bool | None,
        typer.Option(
            "--gpu/--cpu",
            help="Demand a GPU, or do without. Default: a GPU where a usable one is there.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    devices: Annotated[
        str | None,
        typer.Option(
            "--devices",
            metavar="0,1",
            help="Which GPUs; the work is shared among them. Default: all.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    precision: Annotated[
        str | None,
        typer.Option(
            "--precision",
            metavar="NAME",
            help="What a GPU calculates in: float32, or float16, which is faster and refused where it would "
            "change results. Default: float32.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class EngineOptions:
    """What runs the network."""

    gpu_memory_limit: Annotated[
        int | None,
        typer.Option(
            "--gpu-memory-limit",
            metavar="MB",
            help="Memory of a GPU that the network may take. Default: what it needs.",
            rich_help_panel=_HEADING,
        ),
    ] = None

    engine: Annotated[
        str | None,
        typer.Option(
            "--engine",
            metavar="NAME",
            help="What runs the network: auto, onnx, tensorflow or pytorch. Default: auto.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class BatchOptions:
    """How much the network is given at a time."""

    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            metavar="N",
            help="Faces in a batch of the network. Default: what suits the engine.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class WorkerOptions:
    """How many processes read images."""

    detect_gpu: Annotated[
        bool | None,
        typer.Option(
            "--detect-gpu",
            help="Find faces on a GPU, too: yolo, retinaface, mtcnn and fastmtcnn can.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    processes: Annotated[
        int | None,
        typer.Option(
            "--processes",
            "-p",
            metavar="N",
            help="Processes that read images and find faces. Default: one a core, two with --detect-gpu.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class GpuSearchOptions:
    """What searches on a GPU."""

    search_engine: Annotated[
        str | None,
        typer.Option(
            "--search-engine",
            metavar="NAME",
            help="What searches on a GPU: faiss, torch, cupy, or auto, the first of them that sees one. "
            "Default: auto.",
            rich_help_panel=_HEADING,
        ),
    ] = None
