"""`--log-file`: what a command does, in a file that does not grow without bound.

At the default level no path, name or other content of a store is written: counts, times and kinds of errors
only. The same goes for all that the package logs at the level INFO and above.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO, TextIOWrapper
from logging.handlers import RotatingFileHandler
from typing import Any

import typer

from facededup.errors import UsageError
from facededup.progress import Progress

BYTES = 10 << 20
"""Size at which a file is put aside."""
FILES = 5
"""How many are kept beside the current one."""
_SECONDS = 60.0
"""Between two lines about one long step."""

_log = logging.getLogger(__name__)


@contextmanager
def logging_to(path: str, command: str, *, verbose: bool) -> Iterator[None]:
    """Logs the begin and the end of a command, and what the package has to say in between.

    Args:
        path: Of the file; lines are added to one that is there.
        command: Its name.
        verbose: Write details too: paths, reasons, tracebacks.

    Raises:
        UsageError: The file cannot be written.
    """
    level = logging.DEBUG if verbose else logging.INFO
    try:
        handler = _PrivateFile(
            path, maxBytes=BYTES, backupCount=FILES, encoding="utf-8", errors="backslashreplace"
        )
    except OSError as exc:
        raise UsageError(f"the log file {path!r} cannot be written: {exc.strerror}") from exc
    handler.setFormatter(_Lines("%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s"))
    package = logging.getLogger("facededup")
    before = package.level
    package.setLevel(level)
    package.addHandler(handler)
    # Python says warnings on standard error only where nothing else takes them.
    others = [logging.lastResort] if logging.lastResort is not None and not package.hasHandlers() else []
    for other in others:
        package.addHandler(other)
    started = time.monotonic()
    try:
        _log.info("%s began", command)
        yield
        _log.info("%s ended well after %.1f s", command, time.monotonic() - started)
    except BaseException as exc:
        code = getattr(exc, "exit_code", 130 if isinstance(exc, KeyboardInterrupt) else 1)
        kind = "" if isinstance(exc, typer.Exit) else f"{type(exc).__name__}, "
        seconds = time.monotonic() - started
        _log.log(
            logging.ERROR if code else logging.INFO,
            "%s ended after %.1f s: %sexit code %d",
            *(command, seconds, kind, code),
        )
        _log.debug("%s", exc, exc_info=exc)
        raise
    finally:
        for taken in (handler, *others):
            package.removeHandler(taken)
        package.setLevel(before)
        handler.close()


class LoggedProgress:
    """Tells another progress, and the log once a minute.

    Args:
        inner: The other one.
    """

    def __init__(self, inner: Progress) -> None:
        self._inner = inner
        self._step = ""
        self._total: int | None = None
        self._done = 0
        self._said = 0.0

    def start(self, step: str, total: int | None) -> None:
        """See `facededup.progress.Progress.start`."""
        self._inner.start(step, total)
        self._step, self._total, self._done, self._said = step, total, 0, time.monotonic()
        _log.info("%s began%s", step, "" if total is None else f": {total:,}")

    def advance(self, amount: int = 1) -> None:
        """See `facededup.progress.Progress.advance`."""
        self._inner.advance(amount)
        self._done += amount
        if time.monotonic() - self._said >= _SECONDS:
            self._said = time.monotonic()
            _log.info("%s: %s", self._step, self._where())

    def finish(self) -> None:
        """See `facededup.progress.Progress.finish`."""
        self._inner.finish()
        _log.info("%s ended: %s", self._step, self._where())

    def _where(self) -> str:
        return f"{self._done:,}" if self._total is None else f"{self._done:,} of {self._total:,}"


class _PrivateFile(RotatingFileHandler):
    """A log that only its owner can read, and that never stops a job."""

    def _open(self) -> TextIOWrapper:
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return TextIOWrapper(FileIO(descriptor, "a"), self.encoding, self.errors, line_buffering=True)

    def handleError(self, record: Any) -> None:  # noqa: N802 - the name is logging's
        """Drops a line that cannot be written, as on a full disk; the job goes on."""

    def close(self) -> None:
        """Lets the file go."""
        with suppress(OSError):  # what could not be written is tried again
            super().close()


class _Lines(logging.Formatter):
    """Times in UTC; a record is one line, whatever is in it, unless it brings a traceback."""

    converter = staticmethod(time.gmtime)
    default_time_format = "%Y-%m-%dT%H:%M:%S"
    default_msec_format = "%s.%03dZ"

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """The line."""
        return super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
