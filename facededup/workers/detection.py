"""One of DeepFace's detectors in a process of its own, which looks at what all workers show it, in batches.

A GPU shared by many processes holds a context for each and runs their small calls one after the other. So
one process has the detector, and the workers connect to it. Whatever they have shown by the time it is free
is looked at next, images of one size together.

    worker -- RemoteFinder.find() ==> a thread each --> waiting --> Finder.find() ==> worker
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import secrets
import signal
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any, Self

import numpy as np

from facededup.errors import FacededupError, JobError, first_line
from facededup.faces.deepface_client import DeepFaceClient, Finder, Region
from facededup.models.contract import CPU_DEVICE, GPU_DEVICE
from facededup.types import Pixels
from facededup.workers.pool import main_module_left_alone
from facededup.workers.ready import await_ready

_FAREWELL_SECONDS = 5.0

_Answer = list[list[Region]] | Exception


@dataclass(frozen=True, slots=True)
class DetectionAddress:
    """Where a detection process listens, for a worker.

    Attributes:
        address: As `multiprocessing.connection` has it.
        key: Both sides must know it.
        name: What to call it in a message.
    """

    address: Any
    key: bytes
    name: str


class DetectionProcess:
    """Opens a detector in a process of its own, which ends with this object or this process.

    Args:
        detector: One of DeepFace's.
        gpu: Number of the GPU it runs on; None for the CPU.

    Raises:
        FacededupError: It could not open the detector.
        JobError: The process died, or did not get ready.
    """

    def __init__(self, detector: str, gpu: int | None) -> None:
        self.device = CPU_DEVICE if gpu is None else GPU_DEVICE
        name = f"the process that finds faces on {'the CPU' if gpu is None else f'GPU {gpu}'}"
        key = secrets.token_bytes(32)
        # Spawned, as what CUDA has begun does not survive a fork.
        context = multiprocessing.get_context("spawn")
        control, child_end = context.Pipe()
        process = context.Process(target=_serve, args=(child_end, detector, gpu, key), daemon=True)
        with main_module_left_alone():
            process.start()
        child_end.close()
        self._stop = weakref.finalize(self, _end, process, control)
        try:
            self.address = DetectionAddress(await_ready(control, name), key, name)
        except BaseException:
            self._stop()
            raise

    def close(self) -> None:
        """Ends the process; closing again does nothing."""
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class RemoteFinder:
    """A `Finder` that has a detection process look, for one thread.

    Args:
        address: Of the process.

    Raises:
        JobError: The process is gone.
    """

    def __init__(self, address: DetectionAddress) -> None:
        self._name = address.name
        try:
            self._pipe = connection.Client(address.address, authkey=address.key)
        except (EOFError, OSError) as exc:
            raise self._died() from exc

    def find(self, images: Sequence[Pixels]) -> list[list[Region]]:
        """See `Finder`.

        Raises:
            JobError: The process, its library or its device failed.
            MemoryError: One of the images does not fit into the memory of the device.
            Exception: What DeepFace raises for one of these images.
        """
        try:
            self._pipe.send(list(images))
            answer: _Answer = self._pipe.recv()
        except (EOFError, OSError) as exc:
            raise self._died() from exc
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _died(self) -> JobError:
        return JobError(
            f"{self._name} died; what is stored is kept: run the same command again,"
            " without --detect-gpu if it dies again"
        )


def _end(process: BaseProcess, control: connection.Connection) -> None:
    # It ends when it sees the pipe closed, and takes the socket's file with it.
    control.close()
    process.join(_FAREWELL_SECONDS)
    process.kill()
    process.join()


# What follows runs in the detection process.


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    images: list[Pixels]
    pipe: connection.Connection

    def answer(self, answer: _Answer) -> None:
        with contextlib.suppress(OSError):  # the worker is gone
            self.pipe.send(answer)


def _serve(control: connection.Connection, detector: str, gpu: int | None, key: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        finder = DeepFaceClient(detector, gpu=gpu)
    except FacededupError as exc:
        control.send(exc)
        return
    waiting: queue.SimpleQueue[_Request] = queue.SimpleQueue()
    with connection.Listener(backlog=os.cpu_count() or 1, authkey=key) as listener:
        threading.Thread(target=_accept, args=(listener, waiting), daemon=True).start()
        threading.Thread(target=_work, args=(finder, waiting), daemon=True).start()
        control.send(listener.address)
        with contextlib.suppress(EOFError, OSError):
            control.recv()  # until the parent closes it, or is gone


def _accept(listener: connection.Listener, waiting: queue.SimpleQueue[_Request]) -> None:
    while True:
        try:
            pipe = listener.accept()
        except (EOFError, multiprocessing.AuthenticationError):
            continue
        except OSError:  # closed
            return
        threading.Thread(target=_listen, args=(pipe, waiting), daemon=True).start()


def _listen(pipe: connection.Connection, waiting: queue.SimpleQueue[_Request]) -> None:
    with pipe, contextlib.suppress(EOFError, OSError):
        while True:
            waiting.put(_Request(pipe.recv(), pipe))


def _work(finder: Finder, waiting: queue.SimpleQueue[_Request]) -> None:
    while True:
        requests = [waiting.get()]
        with contextlib.suppress(queue.Empty):
            while True:
                requests.append(waiting.get_nowait())
        _answer_all(finder, requests)


def _answer_all(finder: Finder, requests: Sequence[_Request]) -> None:
    """Looks at the images of all requests together, or one by one where something goes wrong with that."""
    images = [image for request in requests for image in request.images]
    try:
        found = iter(finder.find(images))
    except Exception:  # DeepFace's errors and those of the frameworks share no class
        for request in requests:
            request.answer(_answer_alone(finder, request.images))
        return
    for request in requests:
        request.answer([next(found) for _ in request.images])


_PLAIN = np.zeros((64, 64, 3), np.uint8)


def _answer_alone(finder: Finder, images: list[Pixels]) -> _Answer:
    try:
        return finder.find(images)
    except MemoryError:
        return MemoryError()
    except Exception as exc:
        reason = f"{type(exc).__name__}: {first_line(exc)}"
    try:
        finder.find([_PLAIN])
    except Exception:
        return JobError(
            f"faces can no longer be found on the GPU ({reason}); what is stored is kept: run the same"
            " command again, without --detect-gpu if it fails again"
        )
    return RuntimeError(reason)
