"""Copies, moves, links and deletes files so that nothing is overwritten, and that can be taken back.

Each act is written to a log (JSON lines) and flushed before it is done, so whatever interrupts the work, the
log names all that may have happened.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from facededup.errors import JobError, PathNotFoundError, UsageError
from facededup.store.files import write_all

SCHEMA = "facededup/apply/1"
ACTIONS = ("copy", "move", "hardlink", "delete")
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS)
"""What a file system says that cannot give a file a second name there."""


class ActionLog:
    """The log of one run, made anew; a context manager.

    Args:
        path: Of the log; it must not exist.
        about: Plain values for its first line.

    Raises:
        UsageError: There is such a file.
        JobError: It cannot be written.
    """

    def __init__(self, path: str, about: dict[str, Any]) -> None:
        self._path = path
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except FileExistsError as exc:
            raise UsageError(f"the log {path!r} is there already: give another name by --log") from exc
        except OSError as exc:
            raise JobError(f"cannot write the log {path!r}: {exc.strerror}; nothing was done") from exc
        self.note({"schema": SCHEMA, "at": datetime.now(UTC).isoformat(timespec="seconds"), **about})

    def note(self, entry: dict[str, Any]) -> None:
        """Adds a line, durably.

        Raises:
            JobError: It cannot be written.
        """
        try:
            write_all(self._file, json.dumps(entry).encode() + b"\n")
            os.fsync(self._file)
        except OSError as exc:
            raise JobError(f"cannot write the log {self._path!r}: {exc.strerror}; stopped there") from exc

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


@dataclass(frozen=True, slots=True)
class Undone:
    """What `undo` did.

    Attributes:
        reverted: Files that are where they were.
        kept: Why others are not, a sentence each.
    """

    reverted: int
    kept: tuple[str, ...]


def act(action: str, source: str, target: str | None) -> None:
    """Does one thing; nothing is ever overwritten.

    Args:
        action: One of `ACTIONS`.
        source: The file.
        target: Where it, its copy or its second name goes; None for `delete`.

    Raises:
        OSError: It cannot be done; the source is as it was.
    """
    if target is None:
        os.unlink(source)
        return
    os.makedirs(os.path.dirname(target), exist_ok=True)
    if action == "hardlink":
        os.link(source, target, follow_symlinks=False)
    elif action == "copy":
        _copy(source, target)
    else:
        move(source, target)


def move(source: str, target: str) -> None:
    """Moves a file, also to another file system; one that is there already is never overwritten.

    Raises:
        OSError: It cannot be done; the source is as it was.
    """
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as exc:
        if exc.errno not in _NO_LINKS:
            raise
        _copy(source, target)
    try:
        os.unlink(source)
    except OSError:  # a read-only folder: what was made is taken back
        os.unlink(target)
        raise


def _copy(source: str, target: str) -> None:
    """A copy with its times, on the disk when this returns, or none at all."""
    with open(source, "rb") as read, open(target, "xb") as written:
        try:
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
            shutil.copystat(source, target)
        except BaseException:
            os.unlink(target)
            raise


def free_name(folder: str, name: str, taken: set[str]) -> str:
    """A path in a folder, `a.jpg`, else `a-2.jpg`, that no file has nor `taken`, to which it is added."""
    stem, ending = os.path.splitext(name)
    number, path = 1, os.path.join(folder, name)
    while path in taken or os.path.lexists(path):
        number += 1
        path = os.path.join(folder, f"{stem}-{number}{ending}")
    taken.add(path)
    return path


def explain(error: OSError, action: str, source: str) -> str:
    """Why something could not be done, in one sentence."""
    if action == "hardlink" and error.errno in _NO_LINKS:
        return f"{source!r} was left: a file on another file system cannot be linked, only copied"
    return f"{source!r} was left: {error.strerror or error}"


def undo(path: str) -> Undone:
    """Takes back what a log says was done, the last first; what was deleted stays so.

    Raises:
        PathNotFoundError: There is no such log.
        JobError: It cannot be read.
        UsageError: It is none.
    """
    reverted, kept = 0, []
    for entry in reversed(list(_acts(path))):
        action, source, target = entry["action"], entry["from"], entry.get("to")
        try:
            said = _revert(action, source, target)
        except OSError as exc:
            said = f"{target!r} was left: {exc.strerror or exc}"
        if said is None:
            reverted += 1
        elif said:
            kept.append(said)
        if target is not None:
            with suppress(OSError):  # not empty, or never made
                os.rmdir(os.path.dirname(target))
    return Undone(reverted, tuple(kept))


def _revert(action: str, source: str, target: str | None) -> str | None:
    """Takes one act back: None, why it cannot be, or "" where it had not been done."""
    if target is None:
        return f"{source!r} was deleted, which cannot be taken back" if not os.path.lexists(source) else ""
    if not os.path.lexists(target):
        return "" if os.path.lexists(source) else f"{target!r} is gone, and so is {source!r}"
    if action == "move" and not os.path.lexists(source):
        os.makedirs(os.path.dirname(source), exist_ok=True)
        move(target, source)
        return None
    if not os.path.lexists(source):
        return f"{target!r} was left: {source!r}, of which it is a {action}, is gone"
    if not filecmp.cmp(source, target, shallow=False):
        return f"{target!r} was left: it is no longer the same as {source!r}"
    os.unlink(target)
    return None


def _acts(path: str) -> Iterator[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no log {path!r}") from exc
    except OSError as exc:
        raise JobError(f"cannot read the log {path!r}: {exc.strerror}") from exc
    # The text behind the last line break is a line cut off while it was written: its act was never begun.
    try:
        about, *acts = [json.loads(line) for line in lines[:-1]]
        is_log = about["schema"] == SCHEMA and all(
            entry["action"] in ACTIONS and isinstance(entry["from"], str) for entry in acts
        )
    except (ValueError, KeyError, TypeError) as exc:
        raise UsageError(f"{path!r} is no log of `facededup apply`") from exc
    if not is_log:
        raise UsageError(f"{path!r} is no log of `facededup apply`")
    yield from acts
