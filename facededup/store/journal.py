"""The journal beside a store: committed steps, appended one by one, each durable before the next begins.

    header:  magic, format, generation of the store's file it extends, the store's uuid, CRC-32
    record:  marker, kind, length, CRC-32 of these; the payload; BLAKE2b of header, place, record and payload

A record is bound to its journal and its place, so that stale disk blocks never pass for one. In an encrypted
store each payload is sealed, bound to the same.

A bad record at the end is a torn tail, a commit that never returned, if a power loss can have left it so: it
is short, or a disk sector of it holds nothing but zeros. Any other is damage, and so is every bad record with
a valid one behind it. The last record of a writer that closed is an empty one, so that what was committed
before it is never the end.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from math import prod

import numpy as np

from facededup.errors import DamagedStoreError, NewerFormatError, StoreWriteError
from facededup.store.base import FORMAT
from facededup.store.crypto import Cipher, StoreKey
from facededup.store.files import disk, flush_folder, write_all, writing
from facededup.types import Array

CLOSED = 0
BATCH = 1
INFO = 2
DROP_FINDINGS = 3
DECISIONS = 4
FORGET_DECISIONS = 5

_MAGIC = b"FDJRNL\r\n"
_HEADER = struct.Struct("<8sIQ16sI")
_MARKER = b"\xf5REC"
_RECORD = struct.Struct("<4sBxxxQI")
_CHECK_BYTES = 16
_SEARCH_BYTES = 1 << 24
_SECTOR = 512
"""Bytes that a disk writes whole or not at all."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its kind and where its payload lies in the file."""

    kind: int
    start: int
    length: int


class JournalReader:
    """The valid records of a journal when it was opened; it stays readable when the file is removed.

    Attributes:
        was_begun: False for a file torn while it was made; it has no records, and the next two mean nothing.
        uuid: Of the store, 16 bytes.
        generation: Of the store's file the records extend.
        records: All valid ones, in order.
        end: Offset behind the last one.

    Raises:
        FileNotFoundError: There is no journal.
        OSError: It cannot be read.
        DamagedStoreError: Its header is damaged; see `refuse_damage` for the rest.
        NewerFormatError: A later version wrote it.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - held as long as the snapshot
        self._unsealed: _Unsealed | None = None
        try:
            self._size = os.fstat(self._file.fileno()).st_size
            self.uuid, self.generation = b"", -1
            self.was_begun = self._read_header()
            self.records: list[Record] = []
            self.end = self._follow(_HEADER.size)
        except BaseException:
            self.close()
            raise

    def refuse_damage(self) -> None:
        """Passes a journal that ends with its last valid record, or in a torn tail.

        Raises:
            DamagedStoreError: It does not: committed records are lost.
        """
        if self._find_record(self.end + 1) is not None:
            what = "later records are whole"
        elif self._is_unlike_a_torn_tail():
            what = "its last record was changed"
        else:
            return
        raise DamagedStoreError(
            f"the journal {self._path!r} is damaged at byte {self.end}: {what}; "
            "run `facededup verify --repair`, or restore it from a backup"
        )

    def unseal(self, store_key: StoreKey) -> None:
        """Says that the payloads are encrypted, and with what."""
        self._unsealed = _Unsealed(_cipher(store_key, self._header))

    def payload(self, record: Record) -> bytes:
        """The bytes of a record's payload.

        Raises:
            DamagedStoreError: It was not encrypted with the key of its store.
        """
        data = self.read(record.start, record.length)
        if self._unsealed is None:
            return data
        try:
            return self._unsealed.open(data, _bound(record.start - _RECORD.size, record.kind))
        except ValueError as exc:
            raise DamagedStoreError(
                f"the journal {self._path!r} is not its store's; restore both from one backup"
            ) from exc

    def payload_end(self, record: Record, length: int) -> bytes:
        """The last `length` bytes of a record's payload.

        Raises:
            DamagedStoreError: See `payload`.
        """
        if self._unsealed is None:
            return self.read(record.start + record.length - length, length)
        payload = self.payload(record)
        return payload[len(payload) - length :]

    def read(self, start: int, length: int) -> bytes:
        """Some bytes of the file; fewer at its end."""
        # Positioned reads, for searches read from several threads.
        if hasattr(os, "pread"):
            parts = []
            while length:
                part = os.pread(self._file.fileno(), length, start)
                if not part:
                    break
                parts.append(part)
                start += len(part)
                length -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)
        self._file.seek(start)
        return self._file.read(length)

    def close(self) -> None:
        """Lets the file go."""
        self._file.close()

    def _read_header(self) -> bool:
        self._header = self.read(0, _HEADER.size)
        found = _unpack_header(self._header)
        if found is not None:
            version, self.generation, self.uuid = found
            if version > FORMAT:
                raise NewerFormatError(f"the journal {self._path!r} was made by a later version of facededup")
            return True
        if self._size > _HEADER.size:
            raise DamagedStoreError(
                f"the journal {self._path!r} has a damaged header; "
                "run `facededup verify --repair`, or restore it from a backup"
            )
        # No record was ever committed to it: that waits for the header to be on the disk.
        return False

    def _record_at(self, offset: int) -> Record | None:
        length = self._length_at(offset)
        if length is None:
            return None
        data = memoryview(self.read(offset, _RECORD.size + length + _CHECK_BYTES))
        head, payload, check = data[: _RECORD.size], data[_RECORD.size : -_CHECK_BYTES], data[-_CHECK_BYTES:]
        if check != _checksum(self._header, offset, head, payload):
            return None
        return Record(_RECORD.unpack(head)[1], offset + _RECORD.size, length)

    def _follow(self, place: int) -> int:
        """Takes the valid records from an offset on; the offset behind the last of them."""
        while (record := self._record_at(place)) is not None:
            self.records.append(record)
            place = record.start + record.length + _CHECK_BYTES
        return place

    def _is_unlike_a_torn_tail(self) -> bool:
        """Whether no power loss leaves what is behind the last valid record.

        A disk writes a sector whole or not at all, and what it did not write reads as zeros. So the beginning
        of a torn record is whole, unless a sector of it was not written.
        """
        head = self.read(self.end, _RECORD.size)
        if len(head) < _RECORD.size:
            return False
        length = _length(head)
        if length is None:
            return self._was_written(_RECORD.size)
        total = _RECORD.size + length + _CHECK_BYTES
        return self.end + total <= self._size and self._was_written(total)

    def _was_written(self, length: int) -> bool:
        """Whether no sector that holds some of the bytes behind the last valid record is all zeros."""
        second = _SECTOR - self.end % _SECTOR
        behind = second + -(-max(0, length - second) // _SECTOR) * _SECTOR
        data = self.read(self.end, behind)
        return any(data[:second]) and all(
            any(data[place : place + _SECTOR]) for place in range(second, min(behind, len(data)), _SECTOR)
        )

    def _length_at(self, offset: int) -> int | None:
        """The payload's length of a record whose beginning is whole and whose end is in the file."""
        length = _length(self.read(offset, _RECORD.size))
        if length is None or offset + _RECORD.size + length + _CHECK_BYTES > self._size:
            return None
        return length

    def _find_record(self, place: int) -> int | None:
        """The offset of the first valid record at or behind one."""
        while place < self._size:
            window = self.read(place, _SEARCH_BYTES)
            found = window.find(_MARKER)
            while found >= 0:
                if self._record_at(place + found) is not None:
                    return place + found
                found = window.find(_MARKER, found + 1)
            if len(window) < len(_MARKER):
                break
            place += len(window) - len(_MARKER) + 1
        return None


class RescuedJournal(JournalReader):
    """All valid records of a journal, also behind damage.

    Args:
        path: Of the journal.
        uuid: Of the store, 16 bytes; with the next it stands in for a damaged header.
        generation: Of the store's file.

    Attributes:
        gaps: How often records are missing, between valid ones or behind them; a torn tail is no gap.

    Raises:
        FileNotFoundError: There is no journal.
        OSError: It cannot be read.
    """

    def __init__(self, path: str, uuid: bytes, generation: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - held until `close`
        self._path = path
        self._unsealed = None
        self._size = os.fstat(self._file.fileno()).st_size
        self._header = _pack_header(uuid, generation)
        self.uuid, self.generation, self.was_begun = uuid, generation, True
        self.records = []
        self.gaps = 0
        self.end = _HEADER.size
        written = _unpack_header(self.read(0, _HEADER.size))
        if written is not None and written[1] < generation:
            return  # all of it is in the file
        self.end = self._follow(self.end)
        while (place := self._find_record(self.end + 1)) is not None:
            self.gaps += 1
            self.end = self._follow(place)
        self.gaps += self._is_unlike_a_torn_tail()


class Journal:
    """The writing end of a journal; the file is made by the first `append`.

    Args:
        store: Path of the store, for messages.
        path: Of the journal.
        uuid: Of the store, 16 bytes.
        generation: Of the store's file it extends.
        end: Offset behind the last valid record of a journal that is there; what follows is cut off. None to
            begin anew.
        store_key: Of an encrypted store.

    Raises:
        StoreWriteError: The torn tail cannot be cut off.
    """

    def __init__(
        self,
        store: str,
        path: str,
        uuid: bytes,
        generation: int,
        *,
        end: int | None,
        store_key: StoreKey | None = None,
    ) -> None:
        self._store = store
        self._path = path
        self._header = _pack_header(uuid, generation)
        self._cipher = None if store_key is None else _cipher(store_key, self._header)
        self._is_open_ended = False
        self._file: io.FileIO | None = None
        self._broken = False
        self.size = 0
        if end is not None:
            with writing(store):
                self._open(os.O_APPEND)
                self._cut(end)

    def append(self, kind: int, payload: bytes) -> None:
        """Adds one record; it is durable on return.

        Raises:
            StoreWriteError: It could not be written; it is not there, and nothing can be added any more.
        """
        if self._broken:
            raise StoreWriteError(
                f"the store {self._store!r} takes no more after a failed write; "
                "what was committed before is safe; run it again"
            )
        with writing(self._store):
            # Only a whole record or a clean cut clears this: nothing may ever follow half a record.
            self._broken = True
            try:
                if self.size == 0:
                    self._create()
                if self._cipher is not None:
                    payload = self._cipher.seal(payload, _bound(self.size, kind))
                head = _RECORD.pack(_MARKER, kind, len(payload), 0)[:-4]
                head += struct.pack("<I", zlib.crc32(head))
                data = head + payload + _checksum(self._header, self.size, head, payload)
                assert self._file is not None
                write_all(self._file.fileno(), data)
                disk.flush(self._file.fileno())
            except OSError:
                with suppress(OSError):
                    self._cut(self.size)
                raise
            except BaseException:  # Ctrl-C: what was begun is taken back, the next commit may come
                self._cut(self.size)
                self._broken = False
                raise
            self.size += len(data)
            self._broken = False
            self._is_open_ended = kind != CLOSED

    def finish(self) -> None:
        """Marks the end, where something was added.

        Raises:
            StoreWriteError: It could not be written; nothing else is lost.
        """
        if self._is_open_ended and not self._broken:
            self.append(CLOSED, b"")

    @property
    def broken(self) -> bool:
        """Whether a write failed, so that nothing can be added."""
        return self._broken

    def close(self) -> None:
        """Lets the file go; it stays, and nothing can be added any more."""
        self._broken = True
        if self._file is not None:
            self._file.close()

    def _open(self, flags: int) -> None:
        self._file = os.fdopen(disk.open(self._path, os.O_RDWR | flags), "r+b", buffering=0)

    def _create(self) -> None:
        if self._file is not None:
            self._file.close()
        self._open(os.O_APPEND | os.O_CREAT | os.O_TRUNC)
        assert self._file is not None
        write_all(self._file.fileno(), self._header)
        disk.flush(self._file.fileno())
        flush_folder(self._path)
        self.size = _HEADER.size

    def _cut(self, size: int) -> None:
        if self._file is not None and os.fstat(self._file.fileno()).st_size != size:
            disk.truncate(self._file.fileno(), size)
            disk.flush(self._file.fileno())
        self.size = size


class _Unsealed:
    """Opens payloads; keeps the last one, for embeddings are read from it block by block."""

    def __init__(self, cipher: Cipher) -> None:
        self._cipher = cipher
        self._last = (b"", b"")

    def open(self, sealed: bytes, bound: bytes) -> bytes:
        """See `Cipher.open`."""
        last, payload = self._last  # one assignment, for there may be several threads
        if last != bound:
            payload = self._cipher.open(sealed, bound)
            self._last = (bound, payload)
        return payload


def _cipher(store_key: StoreKey, header: bytes) -> Cipher:
    return store_key.cipher(b"journal " + header)


def _bound(offset: int, kind: int) -> bytes:
    """What the payload of a record is bound to."""
    return struct.pack("<QB", offset, kind)


def _pack_header(uuid: bytes, generation: int) -> bytes:
    head = _HEADER.pack(_MAGIC, FORMAT, generation, uuid, 0)[:-4]
    return head + struct.pack("<I", zlib.crc32(head))


def _unpack_header(data: bytes) -> tuple[int, int, bytes] | None:
    """Format, generation and uuid; None where it is not whole."""
    if len(data) < _HEADER.size:
        return None
    magic, version, generation, uuid, check = _HEADER.unpack(data)
    if magic != _MAGIC or check != zlib.crc32(data[:-4]):
        return None
    return version, generation, uuid


def _length(head: bytes) -> int | None:
    """The payload's length that the beginning of a record tells; None where it is not whole."""
    if len(head) < _RECORD.size:
        return None
    marker, _, length, check = _RECORD.unpack(head)
    if marker != _MARKER or check != zlib.crc32(head[:-4]):
        return None
    return int(length)


def _checksum(header: bytes, offset: int, head: bytes | memoryview, payload: bytes | memoryview) -> bytes:
    check = blake2b(header, digest_size=_CHECK_BYTES)
    check.update(struct.pack("<Q", offset))
    check.update(head)
    check.update(payload)
    return check.digest()


def pack_arrays(arrays: Mapping[str, Array]) -> bytes:
    """Arrays as bytes: a JSON header of names, types and shapes, then their raw contents in order."""
    # tobytes gives C order; every type used is little-endian by name.
    header = {name: [array.dtype.str, list(array.shape)] for name, array in arrays.items()}
    text = json.dumps(header, separators=(",", ":")).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(array.tobytes() for array in arrays.values())])


def unpack_arrays(data: bytes | memoryview) -> dict[str, Array]:
    """The arrays of `pack_arrays`, read-only views of `data`."""
    (size,) = struct.unpack_from("<I", data)
    offset = 4 + size
    arrays: dict[str, Array] = {}
    for name, (kind, shape) in json.loads(bytes(data[4:offset])).items():
        count = prod(shape)
        arrays[name] = np.frombuffer(data, kind, count, offset).reshape(shape)
        offset += arrays[name].nbytes
    return arrays
