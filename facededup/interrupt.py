"""Ctrl-C at a moment of our choosing, so that a batch is never half done."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_AGAIN_SECONDS = 0.02


class StopRequest:
    """Turns Ctrl-C into a flag; inside `interruptible` it raises KeyboardInterrupt as usual.

    A context manager. A second Ctrl-C raises wherever the program is. Outside the main thread, where Python
    delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._waiting = False
        self._previous: object = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)  # type: ignore[arg-type] # what signal() gave us

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.requested or self._waiting:
            self.requested = True
            raise KeyboardInterrupt
        self.requested = True

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """A block in which nothing can be half done, such as waiting for a worker."""
        if self.requested:
            raise KeyboardInterrupt
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False


def repeat_swallowed_interrupts() -> None:
    """Lets Ctrl-C through that falls into a callback of Python's own, for the rest of this process.

    What a finaliser or a weak reference's callback raises is only reported, so now and then a Ctrl-C would
    change nothing; it is sent again a moment later.
    """
    report = sys.unraisablehook

    def hook(unraisable: UnraisableHookArgs) -> None:
        if isinstance(unraisable.exc_value, KeyboardInterrupt):
            again = threading.Timer(_AGAIN_SECONDS, _interrupt_main_thread)
            again.daemon = True
            again.start()
        else:
            report(unraisable)

    sys.unraisablehook = hook


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # wakes a call that waits in the system, too
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
