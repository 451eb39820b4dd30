"""Ctrl-C at a moment of our choosing, so that a batch is never half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self


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
