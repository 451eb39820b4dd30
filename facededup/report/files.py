"""Where reports go: a file that appears complete or not at all, or standard output (`-`)."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from facededup.errors import JobError

STANDARD_OUTPUT = "-"


def check_writable(path: str) -> None:
    """Finds out before the long work whether a report can be written at its end.

    Raises:
        JobError: The folder is missing or read-only, or the path is a folder.
    """
    if path == STANDARD_OUTPUT:
        return
    target = os.path.realpath(path)
    if os.path.isdir(target):
        raise JobError(f"cannot write {path!r}: it is a folder; give the name of a file")
    if _is_special(target):
        writable = target
    else:
        writable = os.path.dirname(target)
        if not os.path.isdir(writable):
            raise JobError(f"cannot write {path!r}: there is no folder {writable!r}")
    if not os.access(writable, os.W_OK):
        raise JobError(f"cannot write {path!r}: no permission to write to {writable!r}")


@contextmanager
def writing(path: str) -> Iterator[TextIO]:
    """A UTF-8 text file to write to; it takes its name only when it is complete.

    Bytes of file names that are not UTF-8 go out as they came in (`surrogateescape`). Devices and pipes
    are written directly.

    Args:
        path: The file, `-` for standard output.

    Raises:
        JobError: It cannot be written.
    """
    if path == STANDARD_OUTPUT:
        try:
            with _standard_output() as file:
                yield file
        except BrokenPipeError:  # a reader that has had enough
            raise
        except OSError as exc:
            raise JobError(f"cannot write to standard output: {exc.strerror or exc}") from exc
        return
    target = os.path.realpath(path)
    try:
        if _is_special(target):
            with _open(target, "w") as file:
                yield file
        else:
            with _replacing(target) as file:
                yield file
    except OSError as exc:
        raise JobError(f"cannot write {path!r}: {exc.strerror or exc}") from exc


@contextmanager
def _replacing(target: str) -> Iterator[TextIO]:
    temporary = f"{target}.{os.getpid()}.tmp"
    try:
        with _open(temporary, "w") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    sys.stdout.flush()
    file = io.TextIOWrapper(sys.stdout.buffer, "utf-8", "surrogateescape", newline="", write_through=True)
    try:
        yield file
    finally:
        file.detach()
    sys.stdout.flush()


def _open(path: str, mode: str) -> TextIO:
    return open(path, mode, encoding="utf-8", errors="surrogateescape", newline="")  # type: ignore[return-value]


def _is_special(path: str) -> bool:
    """Whether something other than a file is there: a device, a pipe."""
    return os.path.exists(path) and not os.path.isfile(path)
