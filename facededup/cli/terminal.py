"""The terminal, as rich sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO, cast

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 10_000
"""Nothing is wrapped for a program that reads along."""


class _WithoutPadding:
    """A stream that leaves out the blanks at the end of lines, with which rich fills its tables."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Rich writes whole lines at once."""
        self._stream.write(re.sub(r" +$", "", text, flags=re.MULTILINE))
        return len(text)


def console(stream: TextIO, *, quiet: bool = False) -> Console:
    """A console that takes text as it is: no markup, no emoji names, no guessed highlights.

    Args:
        stream: Standard output or standard error.
        quiet: Print nothing.
    """
    from rich.console import Console

    if hasattr(stream, "reconfigure"):
        # A terminal that cannot show a letter must not end the job.
        stream.reconfigure(errors="backslashreplace")
    terminal = stream.isatty()
    return Console(
        file=stream if terminal else cast("TextIO", _WithoutPadding(stream)),
        quiet=quiet,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else _PIPE_WIDTH,
        force_terminal=terminal,
    )
