"""`worker` and `flower`: the machines of a queue."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import replace
from typing import Annotated

import typer

from facededup.cli.options import ConfigOptions, DeviceOptions, EngineOptions, Request, takes
from facededup.errors import JobError, PackageMissingError

_WORKER = "This worker"


@takes(ConfigOptions, DeviceOptions, EngineOptions)
def worker(
    request: Request,
    *,
    concurrency: Annotated[
        int | None,
        typer.Option(
            "--concurrency",
            "-c",
            metavar="N",
            help="Processes that read images and find faces. Default: one a core.",
            rich_help_panel=_WORKER,
        ),
    ] = None,
    queues: Annotated[
        str,
        typer.Option(
            "--queues",
            metavar="NAMES",
            help="The work to take: index, search or both.",
            rich_help_panel=_WORKER,
        ),
    ] = "index,search",
    folders: Annotated[
        list[str] | None,
        typer.Option(
            "--root",
            metavar="DIR",
            help="Read only files below this folder; may be repeated. Default: FACEDEDUP_ROOTS, else any.",
            rich_help_panel=_WORKER,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Start nothing; name the workers that answer.", rich_help_panel=_WORKER),
    ] = False,
) -> None:
    """Do the work of `index --queue` and `find --queue` here.

    Broker and results are found by FACEDEDUP_BROKER_URL and FACEDEDUP_RESULT_BACKEND, or in the file of
    --config. Ctrl-C ends it after the work in hand.
    """
    _demand_celery()
    from facededup.distributed.worker import find_workers, run_worker

    if check:
        names = find_workers(request.settings)
        if not names:
            raise JobError("no worker answers: start one with `facededup worker`")
        for name in names:
            request.out.print(name, markup=False)
        return
    settings = replace(
        request.settings,
        processes=concurrency or request.settings.processes,
        roots=os.pathsep.join(folders) if folders else request.settings.roots,
    )
    level = "DEBUG" if request.verbose else "INFO"
    raise typer.Exit(run_worker(settings, queues.split(","), log_level=level))


@takes(ConfigOptions)
def flower(
    request: Request,
    *,
    port: Annotated[int, typer.Option("--port", metavar="N", help="Where it listens.")] = 5555,
    address: Annotated[
        str,
        typer.Option(
            "--address",
            metavar="HOST",
            help="For which machines; 0.0.0.0 is all: set FLOWER_BASIC_AUTH then.",
        ),
    ] = "127.0.0.1",
) -> None:
    """Show the workers and their tasks in a browser (Flower)."""
    _demand_celery()
    from facededup.distributed.worker import run_flower

    request.out.print(f"Flower is at http://{address}:{port}/", markup=False)
    run_flower(request.settings, address=address, port=port)


def _demand_celery() -> None:
    if importlib.util.find_spec("celery") is None:
        raise PackageMissingError("a queue needs Celery: run pip install 'facededup[queue]'")
