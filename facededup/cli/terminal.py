"""The terminal, as rich sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from rich.console import Console

_PIPE_WIDTH = 10_000
"""Nothing is wrapped for a program that reads along."""


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
        file=stream,
        quiet=quiet,
        markup=False,
        emoji=False,
        highlight=False,
        width=None if terminal else _PIPE_WIDTH,
        force_terminal=terminal,
    )
