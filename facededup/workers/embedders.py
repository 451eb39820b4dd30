"""One recognition model in several processes, one a GPU, spoken to as if it were one engine.

A framework in one process keeps several GPUs busy badly: Python runs one thread at a time, and TensorFlow
takes its settings once. So each GPU gets a process with an engine of its own, which answers on as many pipes
as the engine has lanes.

    run() in any thread -- a free pipe ==> thread of an embedder -- engine.run --> pipe --> run()
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

from facededup.errors import FacededupError, JobError
from facededup.models.catalog import ModelDescription, describe_model
from facededup.models.contract import Placement
from facededup.models.engine import open_engine
from facededup.types import Floats, Pixels
from facededup.workers.pool import main_module_left_alone
from facededup.workers.ready import await_ready

_MOST_LANES = 4


@dataclass(frozen=True, slots=True)
class _Description:
    """What an embedder says of its engine when it is ready."""

    name: str
    device: str
    versions: dict[str, str]
    lanes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Lane:
    """A pipe to an embedder, and what to call its place."""

    pipe: connection.Connection
    place: str


class EmbedderProcesses:
    """An `Engine` that is many. Its processes end with it, or with this process.

    Args:
        model: What all of them run.
        engine: As for `open_engine`.
        placements: One for each process.

    Raises:
        FacededupError: An embedder could not open the model.
        JobError: A process died, or did not get ready.
    """

    def __init__(self, model: ModelDescription, engine: str, placements: Sequence[Placement]) -> None:
        self.model = model
        # Spawned, as what CUDA has begun does not survive a fork.
        context = multiprocessing.get_context("spawn")
        processes: list[BaseProcess] = []
        self._stop = weakref.finalize(self, _kill, processes)
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        started = []
        for placement in placements:
            ends = [context.Pipe() for _ in range(_MOST_LANES)]
            process = context.Process(
                target=_serve, args=([child for _, child in ends], model.name, engine, placement), daemon=True
            )
            with main_module_left_alone():
                process.start()
            processes.append(process)
            for _, child in ends:
                child.close()
            started.append([_Lane(parent, _place(placement)) for parent, _ in ends])
        try:
            descriptions: list[_Description] = [
                await_ready(lanes[0].pipe, f"the embedder on {lanes[0].place}") for lanes in started
            ]
        except BaseException:
            self._stop()
            raise
        first = descriptions[0]
        self.name, self.device = first.name, first.device
        self.versions: Mapping[str, str] = first.versions
        self.lanes = 0
        # Lane by lane, so that a few batches spread over all GPUs.
        for number in range(_MOST_LANES):
            for lanes, description in zip(started, descriptions, strict=True):
                if number < description.lanes:
                    self._free.put(lanes[number])
                    self.lanes += 1

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        lane = self._free.get()
        try:
            lane.pipe.send(chips)
            answer: Floats | FacededupError = lane.pipe.recv()
        except (EOFError, OSError) as exc:
            raise JobError(
                f"the embedder on {lane.place} died; what is stored is kept: run the same command again,"
                " without this device (--devices) if it dies again"
            ) from exc
        finally:
            self._free.put(lane)
        if isinstance(answer, FacededupError):
            raise answer
        return answer

    def close(self) -> None:
        """Ends the processes; closing again does nothing."""
        self._stop()


def _place(placement: Placement) -> str:
    return "the CPU" if placement.gpu is False else f"GPU {placement.device}"


def _kill(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.kill()
    for process in processes:
        process.join()


def _serve(pipes: list[connection.Connection], model: str, engine: str, placement: Placement) -> None:
    """The life of an embedder: opens the model, then answers batches until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        opened = open_engine(describe_model(model), engine=engine, placement=placement)
    except FacededupError as exc:
        pipes[0].send(exc)
        return
    lanes = min(opened.lanes, len(pipes))
    pipes[0].send(_Description(opened.name, opened.device, dict(opened.versions), lanes))
    for pipe in pipes[:lanes]:
        threading.Thread(target=_answer, args=(pipe, opened), daemon=True).start()
    threading.Event().wait()


def _answer(pipe: connection.Connection, engine: Any) -> None:
    with contextlib.suppress(EOFError, OSError):
        while True:
            chips = pipe.recv()
            try:
                pipe.send(engine.run(chips))
            except FacededupError as exc:
                pipe.send(exc)
    os._exit(0)  # the parent is gone
