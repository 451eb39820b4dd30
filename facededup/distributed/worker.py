"""Starts a Celery worker, asks those that run, starts Flower."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from facededup.distributed.addresses import backend_of, broker_of, broker_out_of_reach
from facededup.distributed.celery_app import INDEX_QUEUE, SEARCH_QUEUE, SLOTS, app, configure, depot
from facededup.errors import PackageMissingError, UsageError
from facededup.settings import Settings

QUEUES = {"index": INDEX_QUEUE, "search": SEARCH_QUEUE}


def run_worker(settings: Settings, queues: Sequence[str], *, log_level: str) -> int:
    """Runs a worker until it is told to stop.

    Args:
        settings: Of this worker: engine, GPU, processes, roots, broker.
        queues: Which work it takes: names among `index` and `search`.
        log_level: Of Celery and facededup, e.g. `INFO`.

    Returns:
        The exit code.

    Raises:
        UsageError: There is no such queue, or broker or results are not named rightly.
        JobError: The server of the results does not answer.
    """
    for queue in queues:
        if queue not in QUEUES:
            raise UsageError(f"queues are {' and '.join(QUEUES)}, not {queue!r}")
    configure(settings)
    depot().check()
    worker = app.Worker(
        hostname=f"facededup-{os.getpid()}@{socket.gethostname()}",
        queues=[QUEUES[queue] for queue in queues],
        concurrency=SLOTS,
        loglevel=log_level,
        without_mingle=True,
        without_gossip=True,
    )
    worker.start()
    return int(worker.exitcode or 0)


def find_workers(settings: Settings, *, seconds: float = 2.0) -> list[str]:
    """The names of the workers that answer within some seconds.

    Raises:
        UsageError: Broker or results are not named rightly.
        JobError: The broker cannot be reached.
    """
    from kombu.exceptions import OperationalError

    configure(settings)
    backend_of(settings)  # named wrongly, it would stop the workers as well
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0.2)
            answers = app.control.ping(timeout=seconds, connection=connection)
    except (OperationalError, OSError) as exc:
        raise broker_out_of_reach(broker_of(settings), exc) from exc
    return sorted(name for answer in answers for name in answer)


def run_flower(settings: Settings, *, address: str, port: int) -> None:
    """Runs the Flower dashboard until it is told to stop.

    Raises:
        PackageMissingError: Flower is not installed.
    """
    try:
        import flower.command  # noqa: F401 - the command that is started below
    except ImportError as exc:
        raise PackageMissingError("Flower is not installed: run pip install 'facededup[queue]'") from exc
    configure(settings)
    app.start(["flower", f"--address={address}", f"--port={port}"])
