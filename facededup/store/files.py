"""Files that survive: private, flushed to the disk, put in place by one rename, with errors as sentences."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from facededup.errors import PathNotFoundError, StoreWriteError

_HINTS = {
    errno.ENOSPC: "free some space and run it again",
    errno.EDQUOT: "free some space and run it again",
    errno.EFBIG: "raise the limit on file sizes or put the store elsewhere",
    errno.EROFS: "put the store into a folder that can be written",
    errno.EACCES: "put the store into a folder that can be written",
    errno.EPERM: "put the store into a folder that can be written",
    errno.EIO: "check the disk and run it again",
}


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns the system's errors while the store at `path` is written into one sentence.

    Raises:
        PathNotFoundError: The store's folder does not exist.
        StoreWriteError: Anything else.
    """
    try:
        yield
    except OSError as exc:
        folder = os.path.dirname(path)
        if isinstance(exc, FileNotFoundError | NotADirectoryError) and not os.path.isdir(folder):
            raise PathNotFoundError(f"there is no folder {folder!r} for the store; make it first") from exc
        reason = os.strerror(exc.errno) if exc.errno else str(exc)
        hint = _HINTS.get(exc.errno or 0, "look into this and run it again")
        raise StoreWriteError(
            f"the store {path!r} cannot be written ({reason}); what was committed before is safe; {hint}"
        ) from exc


class Disk:
    """All that the store asks of the file system when it writes; tests put one here that records or fails.

    Every method raises OSError as the system gave it.
    """

    def open(self, path: str, flags: int) -> int:
        """Opens a file that only its owner can read, and makes it where `flags` say so; its descriptor."""
        return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o600)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Writes at the file's position; how many bytes the system took."""
        return os.write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Makes the file this long."""
        os.ftruncate(descriptor, size)

    def flush(self, descriptor: int) -> None:
        """Returns when the file's bytes are on the disk."""
        if sys.platform == "darwin":
            import fcntl

            # fsync on macOS leaves the bytes in the drive's own cache.
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
        elif sys.platform == "win32":
            os.fsync(descriptor)
        else:
            os.fdatasync(descriptor)

    def replace(self, old: str, new: str) -> None:
        """Renames a file over another."""
        os.replace(old, new)

    def link(self, old: str, new: str) -> None:
        """Gives a file a second name."""
        os.link(old, new)

    def unlink(self, path: str) -> None:
        """Takes a name away."""
        os.unlink(path)

    def flush_folder(self, folder: str) -> None:
        """Returns when the names in a folder are on the disk."""
        if sys.platform == "win32":  # folders cannot be opened there
            return
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


disk = Disk()


def flush_folder(path: str) -> None:
    """Makes the names in the folder of the file `path` durable.

    Raises:
        OSError: As the system gave it.
    """
    disk.flush_folder(os.path.dirname(path))


def remove(path: str) -> None:
    """Takes a file away if it is there.

    Raises:
        OSError: It is there and stays.
    """
    with suppress(FileNotFoundError):
        disk.unlink(path)


def write_all(descriptor: int, data: bytes | memoryview) -> None:
    """Writes every byte at the file's position, where the system takes only some at a time too.

    Raises:
        OSError: As the system gave it.
    """
    view = memoryview(data)
    while view:
        view = view[disk.write(descriptor, view) :]


class NewFile:
    """A file under a temporary name, for HDF5 to write into, that `publish` puts in its place.

    The HDF5 library cannot close a file after a failed write, and may crash when it is asked again. So it
    never hears of a failure: the first one is kept here, later writes go nowhere, and `filling`, `check`
    and `publish` raise it.

    Args:
        temporary: Its name until then; a file of that name is overwritten.
        final: The name to be replaced.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, temporary: str, final: str) -> None:
        self._temporary = temporary
        self._final = final
        remove(temporary)
        descriptor = disk.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        self._file = os.fdopen(descriptor, "r+b", buffering=0)
        self._position = 0
        self._end = 0
        self._error: OSError | None = None

    def check(self) -> None:
        """Raises the first error of a write, if there was one."""
        if self._error is not None:
            raise self._error

    @contextmanager
    def filling(self, path: str) -> Iterator[None]:
        """Wraps calls of HDF5 that write here: a failed write is raised in place of what HDF5 made of it.

        Args:
            path: Of the store, for the message.

        Raises:
            StoreWriteError: A write failed.
        """
        try:
            yield
        finally:
            with writing(path):
                self.check()

    def publish(self) -> None:
        """Flushes the file and puts it under its final name, in one durable step.

        Raises:
            OSError: It could not be written; the file of that name before is untouched.
        """
        self._complete()
        self.check()
        disk.flush(self._file.fileno())
        self._file.close()
        disk.replace(self._temporary, self._final)
        flush_folder(self._final)

    def abandon(self) -> None:
        """Removes the file unless it was published."""
        if not self._file.closed:
            self._file.close()
            with suppress(OSError):
                remove(self._temporary)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._position

    def readinto(self, buffer: bytearray) -> int:
        """Fills the whole buffer, with zeros where nothing was written."""
        view = memoryview(buffer).cast("B")
        self._get(self._position, view)
        self._position += len(view)
        return len(view)

    def read(self, size: int) -> bytes:
        """See `readinto`; h5py tells a file by this method."""
        buffer = bytearray(size)
        self.readinto(buffer)
        return bytes(buffer)

    def write(self, data: bytes) -> int:
        """Always says that all was written."""
        view = memoryview(data).cast("B")
        with self._noting():
            self._put(self._position, view)
        self._position += len(view)
        self._end = max(self._end, self._position)
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Always says that it was done."""
        self._end = self._position if size is None else size
        with self._noting():
            self._cut(self._end)
        return self._end

    def flush(self) -> None:
        """Nothing is buffered here; `publish` flushes to the disk."""

    @contextmanager
    def _noting(self) -> Iterator[None]:
        """Keeps the first error of the block to itself; `_put` and `_cut` do nothing from then on."""
        try:
            yield
        except OSError as exc:
            self._error = self._error or exc

    def _put(self, position: int, view: memoryview) -> None:
        if self._error is None:
            self._file.seek(position)
            write_all(self._file.fileno(), view)

    def _get(self, position: int, view: memoryview) -> None:
        self._file.seek(position)
        filled = 0
        while filled < len(view):
            count = self._file.readinto(view[filled:])
            if not count:
                view[filled:] = bytes(len(view) - filled)
                break
            filled += count

    def _cut(self, size: int) -> None:
        if self._error is None:
            disk.truncate(self._file.fileno(), size)

    def _complete(self) -> None:
        """Writes what `publish` needs to be there."""
