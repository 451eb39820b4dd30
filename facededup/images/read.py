"""Reads files whole and says in one sentence why one cannot be read."""

from __future__ import annotations

import errno
import os
import stat

from facededup.types import FileStat

_REASONS = {
    errno.ENOENT: "file vanished",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EIO: "input/output error of the disk",
}


class ReadError(Exception):
    """A file could not be read.

    Attributes:
        reason: One sentence.
        retry: Whether another try may fare better.
        stat: Of the file, where that much could be learnt.
    """

    def __init__(self, reason: str, *, retry: bool = True, stat: FileStat | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry
        self.stat = stat


def explain(error: OSError) -> str:
    """The reason of a failed look at a file, in a few words."""
    return _REASONS.get(error.errno or 0) or (error.strerror or str(error)).lower()


def file_stat(status: os.stat_result) -> FileStat:
    """What is kept of a stat."""
    return FileStat(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def read_file(path: str, *, max_bytes: int) -> tuple[bytes, FileStat]:
    """Reads a regular file whole, and its stat as it was while reading.

    Args:
        path: As `os.fsdecode` gives it.
        max_bytes: A longer file is refused unread.

    Raises:
        ReadError: It cannot be read, is no regular file, is too long, or changed meanwhile.
    """
    try:
        # Without O_NONBLOCK a pipe that took a file's place would keep this process waiting for ever.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with open(descriptor, "rb") as file:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ReadError("not a regular file")
            if before.st_size > max_bytes:
                reason = f"file has {before.st_size} bytes, more than the limit of {max_bytes}"
                raise ReadError(reason, retry=False, stat=file_stat(before))
            data = file.read()
            after = os.fstat(descriptor)
    except OSError as exc:
        raise ReadError(explain(exc)) from exc
    if file_stat(before) != file_stat(after) or len(data) != after.st_size:
        raise ReadError("file changed while it was read", stat=file_stat(after))
    return data, file_stat(after)
