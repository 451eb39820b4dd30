from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from facededup.cli.progress import TerminalProgress
from facededup.progress import Progress

ROOT = Path(__file__).parents[2]


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_a_step_shows_its_count():
    console = terminal()
    with TerminalProgress(console) as progress:
        progress.start("index", 40)
        progress.advance(7)
        progress.advance(33)
        progress.finish()
    text = console.file.getvalue()
    assert "index" in text
    assert "40/40" in text


def test_an_end_that_is_not_known_and_a_step_after_a_step():
    console = terminal()
    with TerminalProgress(console) as progress:
        progress.start("[bold]scan", None)
        progress.advance()
        progress.start("cluster", 2)
        progress.advance(2)
    assert "[bold]scan" in console.file.getvalue()
    assert "2/2" in console.file.getvalue()


def test_the_cursor_comes_back_when_the_work_fails():
    console = terminal()

    def fail() -> None:
        with TerminalProgress(console) as progress:
            progress.start("index", 2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    assert console.file.getvalue().rfind(shown) > console.file.getvalue().rfind(hidden) >= 0


def test_advance_before_a_step_is_harmless():
    progress: Progress = TerminalProgress(terminal())
    progress.advance()
    progress.finish()


@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs terminals as Linux and macOS have them")
@pytest.mark.parametrize(("kind", "bars"), [("xterm", True), ("dumb", False)])
def test_a_dumb_terminal_gets_no_bars(kind, bars, tmp_path):
    (tmp_path / "empty").mkdir()
    leader, follower = os.openpty()
    subprocess.run(
        [sys.executable, "-m", "facededup", "index", "empty"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TERM": kind},
        stdout=subprocess.DEVNULL,
        stderr=follower,
        timeout=120,
        check=True,
    )
    os.close(follower)
    with os.fdopen(leader, "rb", buffering=0) as seen:
        try:
            written = seen.read(4096)
        except OSError:  # Linux says so when all is read and the other side closed
            written = b""
    assert bool(written) == bars
