"""Copies, moves, links and deletes files so that nothing is overwritten, and that can be taken back.

Each act is written to a log (JSON lines) and flushed before it is done, and so is why one failed, so whatever
interrupts the work, the log names all that may have happened.
"""

from __future__ import annotations

import errno
import filecmp
import json
import os
import shutil
import unicodedata
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from facededup.errors import JobError, PathNotFoundError, UsageError
from facededup.store.files import flush_folder, write_all

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
        try:
            self._write({"schema": SCHEMA, "at": datetime.now(UTC).isoformat(timespec="seconds"), **about})
            flush_folder(os.path.abspath(path))
        except OSError as exc:
            os.close(self._file)
            os.unlink(path)
            raise JobError(f"cannot write the log {path!r}: {exc.strerror}; nothing was done") from exc

    def note(self, entry: dict[str, Any]) -> None:
        """Adds a line, durably.

        Raises:
            JobError: It cannot be written.
        """
        try:
            self._write(entry)
        except OSError as exc:
            raise JobError(
                f"cannot write the log {self._path!r}: {exc.strerror}; stopped there, what was done is in it"
            ) from exc

    def _write(self, entry: dict[str, Any]) -> None:
        write_all(self._file, json.dumps(entry).encode() + b"\n")
        os.fsync(self._file)

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
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
        flush_folder(folder)
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
        flush_folder(target)
        os.unlink(source)
    except OSError:  # a read-only folder: what was made is taken back
        os.unlink(target)
        raise


def _copy(source: str, target: str) -> None:
    """A copy with its times, its bytes on the disk when this returns, or none at all."""
    with open(source, "rb") as read, open(target, "xb", opener=_private) as written:
        try:
            before = os.fstat(read.fileno())
            shutil.copyfileobj(read, written, 1 << 20)
            written.flush()
            os.fsync(written.fileno())
            _refuse_changed(before, os.fstat(read.fileno()))
            with suppress(PermissionError):  # FAT has no permissions to copy; times come first
                shutil.copystat(source, target)
        except BaseException:
            os.unlink(target)
            raise


def _refuse_changed(before: os.stat_result, after: os.stat_result) -> None:
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise OSError(errno.EBUSY, "it changed while it was copied")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def is_one_file(a: str, b: str) -> bool:
    """Whether two paths are one name of one file, so that to remove either is to remove both.

    By a link in either, a folder mounted twice, letter case where that makes no difference. Two hard links
    are two names. False where one cannot be reached.
    """
    try:
        if not os.path.samefile(a, b):
            return False
        (folder, name), (other, its_name) = (
            os.path.split(os.path.realpath(a)),
            os.path.split(os.path.realpath(b)),
        )
        return _folded(name) == _folded(its_name) and os.path.samefile(folder, other)
    except OSError:
        return False


def _folded(name: str) -> str:
    """What some file systems hold for the same name."""
    return unicodedata.normalize("NFC", name).casefold()


def free_name(folder: str, name: str, taken: set[str]) -> str:
    """A path in a folder, `a.jpg`, else `a-2.jpg`, that no file has.

    Args:
        folder: Where.
        name: That is wanted.
        taken: What was given before, as file systems see it that know no letter case; this is added.
    """
    stem, ending = os.path.splitext(name)
    number, path = 1, os.path.join(folder, name)
    while _folded(path) in taken or os.path.lexists(path):
        number += 1
        path = os.path.join(folder, f"{stem}-{number}{ending}")
    taken.add(_folded(path))
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
    for entry in reversed(_acts(path)):
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
    if is_one_file(source, target):
        return f"{target!r} was left: {source!r} leads to it by now"
    if not (filecmp.cmp(source, target, shallow=False) or _is_cut_off(target, source)):
        return f"{target!r} was left: it is no longer the same as {source!r}"
    os.unlink(target)
    return None


def _is_cut_off(path: str, whole: str) -> bool:
    """Whether a file holds the beginning of another: a copy that was killed."""
    with open(path, "rb") as short, open(whole, "rb") as long:
        while block := short.read(1 << 20):
            if block != long.read(len(block)):
                return False
    return True


def _acts(path: str) -> list[dict[str, Any]]:
    """What was done, or may have been."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no log {path!r}") from exc
    except OSError as exc:
        raise JobError(f"cannot read the log {path!r}: {exc.strerror}") from exc
    # The text behind the last line break is a line cut off while it was written: its act was never begun.
    try:
        about, *entries = [json.loads(line) for line in lines[:-1]]
        is_log = about["schema"] == SCHEMA and all(map(_is_entry, entries))
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        raise UsageError(f"{path!r} is no log of `facededup apply`") from exc
    if not is_log:
        raise UsageError(f"{path!r} is no log of `facededup apply`")
    acts: list[dict[str, Any]] = []
    for entry in entries:
        if "failed" in entry:
            del acts[-1:]
        else:
            acts.append(entry)
    return acts


def _is_entry(entry: dict[str, Any]) -> bool:
    """Whether it is an act, or says that the one before it failed."""
    if "failed" in entry:
        return True
    kind = str if entry["action"] != "delete" else type(None)
    return entry["action"] in ACTIONS and type(entry["from"]) is str and type(entry.get("to")) is kind
