"""A pool of processes that survives what happens in them. It knows nothing of faces.

Each worker has a pipe of its own: a shared queue has locks that a killed worker would take to its grave. A
thread of the parent, the pump, hands out tasks and takes in answers, so workers go on while the parent is
busy with the answers it got.

    caller -- tasks --> waiting --> pump == pipe ==> worker 1..n
    caller <-- answers <----------- pump <== pipe == worker 1..n
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import multiprocessing
import os
import pickle
import queue
import signal
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import connection, resource_tracker, spawn
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any, Generic, Self, TypeVar

from facededup.environment import environment
from facededup.errors import FacededupError, JobError, first_line

A = TypeVar("A")
T = TypeVar("T")
R = TypeVar("R")

# A worker that has one task in hand and one in its pipe never waits for the pump.
_TASKS_IN_WORKER = 2
# Tasks pulled ahead for each worker: they bridge the time in which the caller works on a batch of answers.
_AHEAD = 16
_ATTEMPTS = 2
_FAILED_STARTS = 3
_START_SECONDS = 120.0
# Processes are the parallelism: threads of the numeric libraries would only fight over the cores.
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


@dataclass(frozen=True, slots=True)
class Failure:
    """What comes back instead of a result.

    Attributes:
        reason: One sentence.
        traceback: Of the exception in the worker; None where the worker died or took too long.
    """

    reason: str
    traceback: str | None = None


@dataclass(slots=True, eq=False)
class _Job(Generic[T]):
    task: T
    attempts: int = 0


@dataclass(slots=True, eq=False)
class _Worker(Generic[T]):
    """A process, and the jobs it was given; the first is the one it is working on.

    Attributes:
        process: The process.
        pipe: The parent's end.
        jobs: In the order of work.
        since: When the first of them began, or the start-up (monotonic seconds).
        ready: Its handler is built.
        verdict: Why the parent killed it, "" where it did not.
    """

    process: BaseProcess
    pipe: connection.Connection
    jobs: deque[_Job[T]] = field(default_factory=deque)
    since: float = field(default_factory=time.monotonic)
    ready: bool = False
    verdict: str = ""


class Pool(Generic[T, R]):
    """Worker processes that start at once and run one function over many tasks.

    A worker that dies is replaced and its task tried once more, elsewhere; so is a task that takes too long.
    A task whose function raises a `JobError` ends the run with it: what surrounds the tasks is broken.
    Workers ignore Ctrl-C, which is the parent's to handle, and end with the pool or the parent. A context
    manager.

    Args:
        factory: Called in each worker with `argument`; gives the function that turns a task into a result.
            It must be importable: the parent's main module is not loaded again in the workers.
        argument: Anything that can be pickled.
        processes: Number of workers.
        timeout: Seconds a task may take; None for any.
        memory: Bytes a worker may take on top of what it has once it is ready; None for any. Works on Linux.
    """

    def __init__(
        self,
        factory: Callable[[A], Callable[[T], R]],
        argument: A,
        processes: int,
        *,
        timeout: float | None = None,
        memory: int | None = None,
    ) -> None:
        self._context = _choose_context()
        self._opening = pickle.dumps((factory, argument, memory), pickle.HIGHEST_PROTOCOL)
        self._processes = processes
        self._timeout = timeout
        self._failed_starts = 0
        self._closing = False
        self._running = False
        self._waiting: deque[_Job[T]] = deque()
        self._answers: queue.SimpleQueue[tuple[T, R | Failure] | BaseException] = queue.SimpleQueue()
        self._wake_reader, self._wake_writer = multiprocessing.Pipe(duplex=False)
        self._workers: list[_Worker[T]] = []
        self._pump_thread = threading.Thread(target=self._pump, name="pool pump", daemon=True)
        self._pump_thread.start()
        # A pool that nobody closed must not be cut off by the interpreter's end while it starts a worker.
        atexit.register(self.close)

    @property
    def pids(self) -> list[int]:
        """The process ids of the workers now."""
        return [worker.process.pid for worker in tuple(self._workers) if worker.process.pid is not None]

    def run(self, tasks: Iterable[T]) -> Iterator[tuple[T, R | Failure]]:
        """Runs all tasks and gives each back with its result, in the order in which they finish.

        Tasks are pulled in the caller's thread, a few for each worker ahead of the results taken. Leaving
        the iterator before its end closes the pool.

        Raises:
            JobError: The workers cannot start, or a task raised it; where the factory raised one of
                facededup's own errors, that error is raised instead.
        """
        if self._running or self._closing:
            raise RuntimeError("the pool is already running tasks, or closed")
        self._running = True
        source = iter(tasks)
        pulled = given = 0
        try:
            while True:
                room = self._processes * _AHEAD - (pulled - given)
                for task in itertools.islice(source, room):
                    self._waiting.append(_Job(task))
                    pulled += 1
                if pulled == given:
                    break
                self._wake_writer.send_bytes(b"w")
                yield self.take()
                given += 1
            self._running = False
        finally:
            if self._running:
                self.close()

    def submit(self, task: T) -> None:
        """Puts one more task in line, for those who feed the pool bit by bit instead of by `run`.

        One thread at a time.
        """
        self._waiting.append(_Job(task))
        self._wake_writer.send_bytes(b"w")

    def take(self) -> tuple[T, R | Failure]:
        """Waits for the next task that has finished.

        Raises:
            JobError: As `run`, and when the pool is closed while this waits.
        """
        answer = self._answers.get()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        """Stops the workers at once, whatever they are doing. Closing again does nothing."""
        if self._closing:
            return
        self._closing = True
        atexit.unregister(self.close)
        self._wake_writer.send_bytes(b"w")
        self._pump_thread.join()
        self._answers.put(JobError("the pool was closed"))
        self._wake_writer.close()
        self._wake_reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What follows runs in the pump's thread.

    def _pump(self) -> None:
        try:
            _hold_back_interrupts()
            for _ in range(self._processes):
                self._workers.append(self._start())
            for worker in self._workers:
                self._send(worker, self._opening)
            while not self._closing:
                self._hand_out()
                self._take_in()
        except BaseException as exc:  # the caller waits for answers: whatever happens must reach it
            self._answers.put(exc)
        finally:
            for worker in self._workers:
                worker.process.kill()
            for worker in self._workers:
                _bury(worker)
            self._workers.clear()

    def _start(self) -> _Worker[T]:
        parent_end, child_end = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(child_end,), daemon=True)
        try:
            with main_module_left_alone():
                process.start()
        except (EOFError, OSError) as exc:  # of the server that forks them, or at a limit of the system
            raise JobError(
                f"no worker process can be started ({first_line(exc)}): take fewer --processes, and see"
                f" whether {sys.executable} may be run here"
            ) from exc
        child_end.close()
        return _Worker(process, parent_end)

    def _send(self, worker: _Worker[T], message: bytes) -> None:
        # A dead worker's pipe is broken; its death is dealt with where its sentinel is seen.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send_bytes(message)

    def _hand_out(self) -> None:
        """Gives waiting jobs out, first to the workers that have none."""
        for depth in range(_TASKS_IN_WORKER):
            for worker in self._workers:
                if self._waiting and len(worker.jobs) == depth:
                    job = self._waiting.popleft()
                    if not worker.jobs and worker.ready:
                        worker.since = time.monotonic()
                    worker.jobs.append(job)
                    self._send(worker, pickle.dumps(job.task, pickle.HIGHEST_PROTOCOL))

    def _take_in(self) -> None:
        """Waits until something happens, then deals with all that has."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        sentinels = [worker.process.sentinel for worker in self._workers]
        ready = connection.wait([self._wake_reader, *by_pipe, *sentinels], self._patience())
        if self._wake_reader in ready:
            self._wake_reader.recv_bytes()
        for worker in tuple(self._workers):
            if self._closing:
                return
            is_dead = worker.process.sentinel in ready
            if worker.pipe in ready:
                is_dead = not self._receive(worker) or is_dead
            if is_dead:
                while self._receive(worker):  # what it sent before it died counts
                    pass
                self._replace(worker)
            elif self._deadline(worker) < time.monotonic() and not worker.pipe.poll():
                worker.verdict = f"took longer than {self._limit(worker):g} seconds"
                worker.process.kill()
                worker.since = float("inf")

    def _limit(self, worker: _Worker[T]) -> float:
        if not worker.ready:
            return _START_SECONDS
        return self._timeout if self._timeout is not None and worker.jobs else float("inf")

    def _deadline(self, worker: _Worker[T]) -> float:
        return worker.since + self._limit(worker)

    def _patience(self) -> float | None:
        """Seconds until the next task is overdue."""
        soonest = min(map(self._deadline, self._workers))
        return None if soonest == float("inf") else max(0.0, soonest - time.monotonic()) + 0.01

    def _receive(self, worker: _Worker[T]) -> bool:
        """Takes one message of a worker, if it has sent one; False where nothing more can come."""
        try:
            if not worker.pipe.poll():
                return False
            kind, content = pickle.loads(worker.pipe.recv_bytes())  # noqa: S301 - our own process wrote it
        except (EOFError, OSError):
            return False
        if kind == "broken":
            raise content
        if kind == "ready":
            worker.ready = True
            self._failed_starts = 0
        else:
            self._answers.put((worker.jobs.popleft().task, content))
        worker.since = time.monotonic()
        return True

    def _replace(self, worker: _Worker[T]) -> None:
        """Puts a new worker in a dead one's place and its jobs back in line."""
        worker.process.join()
        reason = worker.verdict or f"the worker process died ({_describe_exit(worker.process.exitcode)})"
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= _FAILED_STARTS:
                raise JobError(f"no worker could start: {reason}; see above for its own message")
        jobs = worker.jobs
        if jobs and worker.ready:
            jobs[0].attempts += 1
            if jobs[0].attempts >= _ATTEMPTS:
                self._answers.put((jobs.popleft().task, Failure(f"{reason}, twice")))
        self._waiting.extendleft(reversed(jobs))
        self._workers[self._workers.index(worker)] = successor = self._start()
        _bury(worker)
        self._send(successor, self._opening)


def _bury(worker: _Worker[Any]) -> None:
    worker.process.kill()
    worker.process.join()
    worker.process.close()
    worker.pipe.close()


def _choose_context() -> SpawnContext | ForkServerContext:
    if "forkserver" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context("spawn")


def warm_up(*modules: str) -> None:
    """Starts the server that workers are forked from, and has it load modules while the caller goes on.

    Every worker then begins with them loaded. Does nothing where workers are not forked from a server, or
    where the server runs already.

    Args:
        modules: Names of modules the workers will need; they must start no threads when imported with one
            thread allowed.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return
    from multiprocessing import forkserver

    multiprocessing.get_context("forkserver").set_forkserver_preload(list(modules))
    resource_tracker.ensure_running()  # see _hold_back_interrupts
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with environment(dict.fromkeys(_ONE_THREAD, "1")):
            forkserver.ensure_running()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def _hold_back_interrupts() -> None:
    """Keeps Ctrl-C from this thread and from the processes it starts, which inherit that.

    Until a worker is far enough to ignore it by itself, it would answer with a traceback.
    """
    if hasattr(signal, "pthread_sigmask"):
        # Started now because starting it lets Ctrl-C through again.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


_preparation_lock = threading.Lock()


@contextlib.contextmanager
def main_module_left_alone() -> Iterator[None]:
    """Processes that this thread starts do not run the parent's main module again.

    Doing so costs them its imports, and asks for a guard in every script that uses facededup.
    """
    thread = threading.get_ident()

    def prepare_without_main(name: str) -> dict[str, Any]:
        data = prepare(name)
        if threading.get_ident() == thread:
            data.pop("init_main_from_name", None)
            data.pop("init_main_from_path", None)
        return data

    with _preparation_lock:
        prepare = spawn.get_preparation_data
        spawn.get_preparation_data = prepare_without_main
        try:
            yield
        finally:
            spawn.get_preparation_data = prepare


def _describe_exit(code: int | None) -> str:
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(pipe: connection.Connection) -> None:
    """The life of a worker: builds the handler, then answers tasks until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in _ONE_THREAD:
        os.environ[name] = "1"
    try:
        factory, argument, memory = pickle.loads(pipe.recv_bytes())  # noqa: S301 - the parent wrote it
        handler = factory(argument)
    except (EOFError, ConnectionResetError):
        return
    except Exception as exc:  # the factory is the caller's code
        own = exc if isinstance(exc, FacededupError) else None
        if own is None:
            traceback.print_exc()
        reason = own or JobError(f"a worker could not start: {_last_line(exc)}")
        _answer(pipe, _packed("broken", reason))
        return
    if memory is not None:
        _limit_memory(memory)
    _answer(pipe, _packed("ready", None))
    inbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(pipe, inbox), daemon=True).start()
    while True:
        task = pickle.loads(inbox.get())  # noqa: S301 - the parent wrote it
        try:
            result: Any = handler(task)
            message = _packed("done", result)
        except JobError as exc:
            message = _packed("broken", exc)
        except Exception as exc:  # the handler is the caller's code
            message = _packed("done", Failure(_last_line(exc), traceback.format_exc()))
        _answer(pipe, message)


def _limit_memory(more: int) -> None:
    """Lets this process take some more bytes than it has now; beyond that, it gets a MemoryError."""
    if sys.platform != "linux":
        return
    import resource

    with open("/proc/self/statm", "rb") as file:
        taken = int(file.read().split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + more, hard))


def _listen(pipe: connection.Connection, inbox: queue.SimpleQueue[bytes]) -> None:
    """Reads tasks while the worker works, and ends the worker when the parent is gone.

    So neither side ever waits for the other to read.
    """
    try:
        while True:
            inbox.put(pipe.recv_bytes())
    except (EOFError, OSError):
        os._exit(0)


def _packed(kind: str, content: Any) -> bytes:
    return pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL)


def _answer(pipe: connection.Connection, message: bytes) -> None:
    """Sends to the parent; where it is gone, whoever reads the pipe finds that out, too."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        pipe.send_bytes(message)


def _last_line(error: BaseException) -> str:
    return "".join(traceback.format_exception_only(error)).strip().splitlines()[-1]
