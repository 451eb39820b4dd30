"""The command line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from facededup.errors import InterruptedRunError
from facededup.interrupt import repeat_swallowed_interrupts


def open_closed_streams() -> None:
    """Puts the null device where standard input, output or error is closed.

    The next file to be opened would have its number, and what some library prints would go into that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def leave_with(load: Callable[[], Any], name: str) -> None:
    """Runs a command line and leaves the process with its exit code.

    Args:
        load: Imports and gives it; called here so that Ctrl-C during the imports ends as quietly as later on.
        name: As users call it.
    """
    open_closed_streams()
    repeat_swallowed_interrupts()
    try:
        from facededup.metrics import measure_from_process_start

        app = load()
        measure_from_process_start()
        app(prog_name=name)
    except KeyboardInterrupt:
        sys.exit(InterruptedRunError.exit_code)
    except OSError as exc:  # outside of any command: the help goes to a full disk, say
        sys.exit(f"{name}: {exc.strerror or exc}")


def main() -> None:
    """Runs `facededup`."""

    def load() -> Any:
        from facededup.cli.app import app

        return app

    leave_with(load, "facededup")
