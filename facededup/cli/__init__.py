"""The command line."""

from __future__ import annotations

import os
import sys

from facededup.errors import InterruptedRunError


def open_closed_streams() -> None:
    """Puts the null device where standard input, output or error is closed.

    The next file to be opened would have its number, and what some library prints would go into that.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def main() -> None:
    """Runs the command line and leaves the process with its exit code."""
    open_closed_streams()
    try:
        # Imported here so that Ctrl-C during the imports ends as quietly as later on.
        from facededup.cli.app import app
        from facededup.metrics import measure_from_process_start

        measure_from_process_start()
        app(prog_name="facededup")
    except KeyboardInterrupt:
        sys.exit(InterruptedRunError.exit_code)
