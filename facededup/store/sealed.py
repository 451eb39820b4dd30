"""An encrypted file with random access: pieces of 64 KiB, each sealed, between two copies of one head.

    head:   magic, version, the store key's lock, an id of the file, the sealed length of the content, CRC-32
    piece:  nonce, 65,536 bytes encrypted, tag; bound to the id and its place. The last one ends in zeros

The head is written last, so that a file without one was never complete; the length in it tells a file that
lost whole pieces. The second copy is read by a repair only: with the lock, all would be lost.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

from facededup.errors import NewerFormatError, WrongKeyError
from facededup.store.crypto import LOCK_BYTES, OVERHEAD, Cipher, Key, StoreKey
from facededup.store.files import NewFile, disk, write_all

_MAGIC = b"\x89FDSEAL\n"
_VERSION = 1
_ID_BYTES = 16
_LENGTH = struct.Struct("<Q")
_HEAD = struct.Struct(f"<8sI{LOCK_BYTES}s{_ID_BYTES}s{_LENGTH.size + OVERHEAD}sI")

PIECE = 1 << 16
_SEALED_PIECE = PIECE + OVERHEAD
_KEPT_PIECES = 32
"""Pieces held in the clear, in memory only: 2 MiB."""


@dataclass(frozen=True, slots=True)
class _Head:
    """What the head says, once it is known to be undamaged."""

    store_key: StoreKey
    cipher: Cipher
    file_id: bytes
    length: int

    def pack(self) -> bytes:
        """The head as it lies in the file."""
        sealed = self.cipher.seal(_LENGTH.pack(self.length), b"length" + self.file_id)
        head = _HEAD.pack(_MAGIC, _VERSION, self.store_key.lock, self.file_id, sealed, 0)[:-4]
        return head + struct.pack("<I", zlib.crc32(head))

    @classmethod
    def unpack(cls, data: bytes, path: str, key: Key | None) -> Self:
        """Of the bytes in a file.

        Raises:
            ValueError: They are damaged.
            NewerFormatError: A later version wrote them.
            WrongKeyError: The key is missing, or another.
            PackageMissingError: The package for it is not installed.
        """
        if len(data) < _HEAD.size:
            raise ValueError("too short for a head")
        magic, version, lock, file_id, sealed, check = _HEAD.unpack(data)
        if magic != _MAGIC or check != zlib.crc32(data[:-4]):
            raise ValueError("checksum of the head")
        if version > _VERSION:
            raise NewerFormatError(
                f"the store {path!r} was made by a later version of facededup; update facededup"
            )
        if key is None:
            raise WrongKeyError(
                f"the store {path!r} is encrypted; give its key with --key-file FILE or in FACEDEDUP_KEY"
            )
        store_key = StoreKey.unlock(lock, key, path)
        cipher = _cipher(store_key, file_id)
        (length,) = _LENGTH.unpack(cipher.open(sealed, b"length" + file_id))
        return cls(store_key, cipher, file_id, length)


def is_sealed(path: str) -> bool:
    """Whether a file begins, or at least ends, like an encrypted one.

    Raises:
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        if file.read(len(_MAGIC)) == _MAGIC:
            return True
        with suppress(OSError):  # shorter than a head
            file.seek(-_HEAD.size, io.SEEK_END)
            return file.read(len(_MAGIC)) == _MAGIC
    return False


class SealedFile:
    """An encrypted file opened for reading, for h5py to read from.

    Args:
        path: Of the file.
        key: The user's.
        rescue: Take what is left of a damaged one.

    Attributes:
        store_key: Of the store.

    Raises:
        WrongKeyError: The key is missing, or another.
        ValueError: It is damaged.
        NewerFormatError: A later version wrote it.
        OSError: It cannot be read.
    """

    def __init__(self, path: str, key: Key | None, *, rescue: bool = False) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - held until `close`
        try:
            head = self._read_head(path, key, rescue=rescue)
        except BaseException:
            self.close()
            raise
        self.store_key = head.store_key
        self._cipher = head.cipher
        self._id = head.file_id
        self._length = head.length
        self._position = 0
        self._opened: OrderedDict[int, bytes] = OrderedDict()

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.IOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._length}[whence]
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """See `io.IOBase.tell`."""
        return self._position

    def readinto(self, buffer: bytearray) -> int:
        """Fills the buffer as far as the file goes, and the rest with zeros.

        Raises:
            ValueError: A piece is damaged or missing.
        """
        view = memoryview(buffer).cast("B")
        there = max(0, min(len(view), self._length - self._position))
        filled = 0
        while filled < there:
            number, start = divmod(self._position + filled, PIECE)
            count = min(PIECE - start, there - filled)
            view[filled : filled + count] = memoryview(self._piece(number))[start : start + count]
            filled += count
        view[there:] = bytes(len(view) - there)
        self._position += there
        return there

    def read(self, size: int) -> bytes:
        """See `readinto`; h5py tells a file by this method."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.readinto(buffer)])

    def _piece(self, number: int) -> bytes:
        found = self._opened.get(number)
        if found is None:
            self._file.seek(_offset(number))
            found = self._cipher.open(_read(self._file, _SEALED_PIECE), _place(self._id, number))
            self._opened[number] = found
            if len(self._opened) > _KEPT_PIECES:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(number)
        return found

    def _read_head(self, path: str, key: Key | None, *, rescue: bool) -> _Head:
        data = _read(self._file, _HEAD.size)
        size = os.fstat(self._file.fileno()).st_size
        try:
            head = _Head.unpack(data, path, key)
        except ValueError:
            if not rescue or size < _HEAD.size:
                raise
            self._file.seek(-_HEAD.size, io.SEEK_END)
            return _Head.unpack(_read(self._file, _HEAD.size), path, key)
        if not rescue:
            behind = _offset(-(-head.length // PIECE))
            self._file.seek(behind)
            if size != behind + _HEAD.size or _read(self._file, _HEAD.size) != data:
                raise ValueError("the file does not end where it should")
        return head


class NewSealedFile(NewFile):
    """A `NewFile` whose bytes are encrypted before they leave the memory.

    Args:
        temporary: See `NewFile`.
        final: Likewise.
        store_key: Of the store.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, temporary: str, final: str, store_key: StoreKey) -> None:
        super().__init__(temporary, final)
        self._store_key = store_key
        self._id = os.urandom(_ID_BYTES)
        self._cipher = _cipher(store_key, self._id)
        self._unsaved: OrderedDict[int, bytearray] = OrderedDict()
        self._saved: set[int] = set()

    def _put(self, position: int, view: memoryview) -> None:
        while view and self._error is None:
            number, start = divmod(position, PIECE)
            part = view[: PIECE - start]
            if len(part) == PIECE:
                self._unsaved.pop(number, None)
                self._save(number, part)
            else:
                self._changing(number)[start : start + len(part)] = part
            position += len(part)
            view = view[len(part) :]

    def _get(self, position: int, view: memoryview) -> None:
        while view:
            number, start = divmod(position, PIECE)
            part = view[: PIECE - start]
            piece = self._unsaved[number] if number in self._unsaved else self._load(number)
            part[:] = memoryview(piece)[start : start + len(part)]
            position += len(part)
            view = view[len(part) :]

    def _cut(self, size: int) -> None:
        number, start = divmod(size, PIECE)
        for kept in [kept for kept in self._unsaved if kept >= number + (start > 0)]:
            del self._unsaved[kept]
        self._saved = {kept for kept in self._saved if kept < number + (start > 0)}
        if start and self._error is None:
            self._changing(number)[start:] = bytes(PIECE - start)

    def _complete(self) -> None:
        with self._noting():
            for number, piece in self._unsaved.items():
                self._save(number, piece)
            count = -(-self._end // PIECE)
            for number in set(range(count)) - self._saved:
                self._save(number, bytes(PIECE))
            head = _Head(self._store_key, self._cipher, self._id, self._end).pack()
            for place in (_offset(count), 0):
                if self._error is None:
                    self._file.seek(place)
                    write_all(self._file.fileno(), head)
            if self._error is None:
                disk.truncate(self._file.fileno(), _offset(count) + _HEAD.size)

    def _changing(self, number: int) -> bytearray:
        """A piece to be changed in place; it is saved when others have taken its room."""
        piece = self._unsaved.pop(number, None)
        if piece is None:
            piece = bytearray(self._load(number))
        self._unsaved[number] = piece
        if len(self._unsaved) > _KEPT_PIECES:
            self._save(*self._unsaved.popitem(last=False))
        return piece

    def _load(self, number: int) -> bytes:
        if number not in self._saved or self._error is not None:
            return bytes(PIECE)
        self._file.seek(_offset(number))
        return self._cipher.open(_read(self._file, _SEALED_PIECE), _place(self._id, number))

    def _save(self, number: int, piece: bytes | bytearray | memoryview) -> None:
        if self._error is None:
            self._file.seek(_offset(number))
            write_all(self._file.fileno(), self._cipher.seal(piece, _place(self._id, number)))
            self._saved.add(number)


def new_target(temporary: str, final: str, store_key: StoreKey | None) -> NewFile:
    """A new file of a store: encrypted where there is a key.

    Raises:
        OSError: The file cannot be made.
    """
    if store_key is None:
        return NewFile(temporary, final)
    return NewSealedFile(temporary, final, store_key)


def _cipher(store_key: StoreKey, file_id: bytes) -> Cipher:
    return store_key.cipher(b"file " + file_id)


def _place(file_id: bytes, number: int) -> bytes:
    return b"piece" + file_id + struct.pack("<Q", number)


def _offset(number: int) -> int:
    return _HEAD.size + number * _SEALED_PIECE


def _read(file: io.FileIO, size: int) -> bytes:
    """So many bytes from where the file stands; fewer at its end."""
    parts = []
    while size and (part := file.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
