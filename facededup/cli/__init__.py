"""The command line."""

from __future__ import annotations

import sys

from facededup.errors import InterruptedRunError


def main() -> None:
    """Runs the command line and leaves the process with its exit code."""
    try:
        # Imported here so that Ctrl-C during the imports ends as quietly as later on.
        from facededup.cli.app import app
        from facededup.metrics import measure_from_process_start

        measure_from_process_start()
        app(prog_name="facededup")
    except KeyboardInterrupt:
        sys.exit(InterruptedRunError.exit_code)
