"""Progress bars on a terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars
from rich.text import Text


class RateColumn(ProgressColumn):
    """Items a second over the last moments."""

    def render(self, task: Task) -> Text:
        """The rate of one step."""
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.1f}/s")


class TerminalProgress:
    """Shows one step after another as a bar with count, rate and time left; gone when the step is over.

    A context manager: leaving it clears the terminal, whatever happened.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars: Bars | None = None
        self._task = TaskID(0)

    def start(self, step: str, total: int | None) -> None:
        """See `facededup.progress.Progress.start`."""
        self.finish()
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bars.add_task(step, total=total)
        self._bars.start()

    def advance(self, amount: int = 1) -> None:
        """See `facededup.progress.Progress.advance`."""
        if self._bars is not None:
            self._bars.advance(self._task, amount)

    def finish(self) -> None:
        """See `facededup.progress.Progress.finish`."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()
