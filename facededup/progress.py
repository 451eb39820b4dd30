"""How long steps tell the outside where they are. The terminal's version lives in `facededup.cli`."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the advance of one long step after another."""

    def start(self, step: str, total: int | None) -> None:
        """A step begins; `total` is None where the end is not known."""

    def advance(self, amount: int = 1) -> None:
        """So many more items of the current step are done."""

    def finish(self) -> None:
        """The current step is over."""


class SilentProgress:
    """Says nothing; the default of every library call."""

    def start(self, step: str, total: int | None) -> None:
        """See `Progress.start`."""

    def advance(self, amount: int = 1) -> None:
        """See `Progress.advance`."""

    def finish(self) -> None:
        """See `Progress.finish`."""
