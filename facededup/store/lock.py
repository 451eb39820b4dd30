"""One writer at a time: a lock the kernel takes back when its holder dies, with a note of who holds it."""

from __future__ import annotations

import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime

from facededup.errors import StoreLockedError
from facededup.store.files import disk, remove, write_all, writing

# A link put there would have the file that it leads to emptied. Windows makes none unasked.
_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)


class StoreLock:
    """The right to write to the store at `path`, held from construction to `release`.

    Raises:
        StoreLockedError: Another writer has it.
        StoreWriteError: The lock file cannot be made.
        PathNotFoundError: The store's folder does not exist.
    """

    def __init__(self, path: str) -> None:
        self._path = path + ".lock"
        while True:
            with writing(path):
                self._descriptor = disk.open(self._path, _FLAGS)
                is_ours = self._try()
            if not is_ours:
                holder = _holder(self._descriptor)
                os.close(self._descriptor)
                raise StoreLockedError(
                    f"the store {path!r} is being written by {holder}; wait until it is done"
                )
            # The holder before may have removed the file between our open and our lock.
            if self._is_current():
                break
            os.close(self._descriptor)
        try:
            self._sign(path)
        except BaseException:
            self.release()
            raise

    def release(self) -> None:
        """Gives the right back and leaves no file behind."""
        # Removed while still held: whoever opened the file before finds that it is not current.
        with suppress(OSError):
            remove(self._path)
        os.close(self._descriptor)

    def _try(self) -> bool:
        try:
            return _take(self._descriptor)
        except OSError:  # a file system without locks
            os.close(self._descriptor)
            raise

    def _is_current(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _sign(self, path: str) -> None:
        note = {
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        with writing(path):
            disk.truncate(self._descriptor, 0)
            write_all(self._descriptor, json.dumps(note).encode())


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.read(descriptor, 1000))
        return f"process {note['pid']} on {note['host']} since {note['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process"  # it has not signed yet


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> bool:
        # A byte far behind the note, since a locked byte cannot be read by others.
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        finally:
            os.lseek(descriptor, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def _take(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
