"""The tasks of a worker. Messages name a job and one of its units; all else is in the depot."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from celery.signals import worker_init, worker_shutdown

from facededup.distributed.blob import unpack
from facededup.distributed.celery_app import INDEX_TASK, SEARCH_TASK, app, depot, worker_settings
from facededup.distributed.depot import Job
from facededup.distributed.leases import Leases
from facededup.distributed.results import pack_results, unpack_tasks
from facededup.distributed.roots import is_below, real_roots, warn_without_roots
from facededup.distributed.search import search_unit
from facededup.distributed.workshop import Order, Workshops
from facededup.errors import FacededupError
from facededup.recipe import choose_fingerprint
from facededup.settings import Settings
from facededup.store.base import Fingerprint
from facededup.workers.pool import Failure
from facededup.workers.steps import Analysis

_log = logging.getLogger(__name__)
_leases = Leases()
_workshops = Workshops()
_NAME = f"{socket.gethostname()}:{os.getpid()}"

JOB_SETTINGS = ("max_pixels", "image_timeout", "batch_size", "worker_memory")
"""What a job decides; engine, processes and roots are the worker's."""

Done = tuple[bytes, dict[str, Any]]
"""The bytes for the coordinator, and plain values for those who watch."""


class _OpeningError(Exception):
    """This worker cannot do the job at all; the cause says why."""


@app.task(name=INDEX_TASK)  # type: ignore[untyped-decorator]
def index_chunk(job: str, unit: int) -> dict[str, Any]:
    """Analyses and embeds the images of one unit."""
    return _carry_out(depot().job(job), unit, _index)


@app.task(name=SEARCH_TASK)  # type: ignore[untyped-decorator]
def search_blocks(job: str, unit: int) -> dict[str, Any]:
    """Compares the faces of one unit."""
    return _carry_out(depot().job(job), unit, search_unit)


def _carry_out(job: Job, unit: int, work: Callable[[Job, bytes], Done]) -> dict[str, Any]:
    payload = job.begin(unit, _NAME)
    if payload is None:
        return {"skipped": "done, in hand elsewhere, or not wanted any more"}
    started = time.perf_counter()
    with _leases.hold(job, unit):
        try:
            data, facts = work(job, payload)
        except _OpeningError as exc:
            job.fail(unit, f"{exc.__cause__} (on {socket.gethostname()})", fatal=True)
            raise
        except Exception as exc:
            job.fail(unit, f"{type(exc).__name__}: {exc}", fatal=False)
            raise
        job.finish(unit, data)
    return {**facts, "bytes": len(data), "seconds": round(time.perf_counter() - started, 3)}


def _index(job: Job, payload: bytes) -> Done:
    tasks = unpack_tasks(payload)
    roots = real_roots(worker_settings().roots)
    allowed = [is_below(task.path, roots) for task in tasks]
    mine = [task for task, may in zip(tasks, allowed, strict=True) if may]
    with ExitStack() as stack:
        try:
            workshop = stack.enter_context(_workshops.use(_order(job.name)))
        except Exception as exc:
            raise _OpeningError from exc
        done, embeddings, seconds = workshop.process(mine)
    answers = iter(done)
    results: list[Analysis | Failure] = [
        next(answers) if may else Failure("it is outside the folders this worker may read") for may in allowed
    ]
    engine = workshop.encoder.engine
    facts = {
        "engine": engine.name,
        "device": engine.device,
        "versions": dict(engine.versions),
        "embed_seconds": seconds,
    }
    return pack_results(results, embeddings, facts), {"images": len(tasks), "faces": len(embeddings)}


@lru_cache(maxsize=2)
def _order(name: str) -> Order:
    job = depot().job(name)
    description = job.description()
    if description is None:
        raise FacededupError("the job is not there any more")
    (fingerprint, given, key), _ = unpack(description)
    known = job.get("known")
    return _make_order(
        Fingerprint(**fingerprint),
        replace(worker_settings(), **given),
        np.frombuffer(known, np.uint64) if known else np.empty(0, np.uint64),
        key,
    )


def _make_order(fingerprint: Fingerprint, settings: Settings, known: Any, key: str) -> Order:
    marks = [*fingerprint.to_dict().items(), *((name, getattr(settings, name)) for name in JOB_SETTINGS)]
    return Order(fingerprint, settings, known, f"{marks} {key}")


@worker_init.connect  # type: ignore[untyped-decorator]
def _warm_up(sender: Any = None, **_: Any) -> None:
    """Opens the default model before the first chunk comes, where this worker takes any."""
    settings = worker_settings()
    warn_without_roots(real_roots(settings.roots))
    queues = sender.app.amqp.queues if sender is not None else {}
    if not any("index" in name for name in queues):
        return
    try:
        order = _make_order(choose_fingerprint(settings, None, ""), settings, np.empty(0, np.uint64), "")
        with _workshops.use(order) as workshop:
            _log.info("ready: %s on the %s", workshop.encoder.engine.name, workshop.encoder.engine.device)
    except FacededupError as exc:
        _log.warning("the default model cannot be opened: %s", exc)


@worker_shutdown.connect  # type: ignore[untyped-decorator]
def _close(**_: Any) -> None:
    _workshops.close()
