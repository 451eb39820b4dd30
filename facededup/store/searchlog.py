"""What an unfinished search has found so far, in a journal of its own beside the store.

A record is a part of what the search keeps of itself (STATE), some pairs (PAIRS), or the word that all
records before belong together (COVERED). What follows the last such word is cut off: the search had not come
far enough to say what it belongs to. A log that another search wrote, or that is damaged, counts for nothing:
no search depends on it.
"""

from __future__ import annotations

import os
import struct
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, suppress

import numpy as np

from facededup.errors import DamagedStoreError, NewerFormatError
from facededup.store.base import PairBlock
from facededup.store.crypto import StoreKey
from facededup.store.files import flush_folder, remove, writing
from facededup.store.journal import Journal, JournalReader, Record, pack_arrays, unpack_arrays
from facededup.types import Array

STATE = 1
PAIRS = 2
COVERED = 3

ENDING = ".search"
KEEP_SECONDS = 10.0
"""What a kill may cost of a search; a search that takes less writes nothing."""

_BUFFER_PAIRS = 1 << 20
_STATE_BYTES = 1 << 24
_CHECK_BYTES = 16
_NUMBER = struct.Struct("<Q")


class FileSearchLog:
    """See `base.SearchLog`. The file is made when there is something to keep.

    Args:
        store: Path of the store.
        key: 16 bytes that only the same search has; a log with another is not continued.
        store_key: Of an encrypted store.
    """

    def __init__(self, store: str, key: bytes, store_key: StoreKey | None = None) -> None:
        self._store = store
        self._store_key = store_key
        self._path = store + ENDING
        self._key = key
        self._records: list[Record] = []
        self._reader = self._read()
        self._journal: Journal | None = None
        self._unkept: Mapping[str, Array] | None = None
        self._settled: list[PairBlock] = []
        self._pending: int | None = None
        self._open: list[PairBlock] = []
        self._buffered = 0
        self._kept_at = time.monotonic()
        self.covered = 0
        self.state: Mapping[str, Array] | None = None
        if self._reader is not None:
            self._take_over(self._reader)

    def pairs(self) -> Iterator[PairBlock]:
        """See `base.SearchLog`."""
        for record in self._records:
            if record.kind == PAIRS and self._reader is not None:
                columns = unpack_arrays(self._reader.payload(record))
                new = np.zeros(len(columns["a"]), np.bool_)
                yield PairBlock(columns["a"], columns["b"], columns["cosine"], new)

    def begin(self, state: Mapping[str, Array]) -> None:
        """See `base.SearchLog`."""
        self._close_files()
        self._records.clear()
        self._journal = self._open_journal(end=None)
        self._unkept, self.state, self.covered = state, state, 0
        self._settled, self._pending, self._open, self._buffered = [], None, [], 0
        self._kept_at = time.monotonic()

    def append(self, block: PairBlock) -> None:
        """See `base.SearchLog`."""
        self._open.append(block)
        self._buffered += len(block)
        if self._buffered >= _BUFFER_PAIRS:
            self.keep()
            self._write_pairs(self._open)
            self._open, self._buffered = [], 0

    def cover(self, covered: int) -> None:
        """See `base.SearchLog`."""
        self._settled += self._open
        self._open = []
        self._pending = covered
        if time.monotonic() - self._kept_at >= KEEP_SECONDS:
            self.keep()

    def keep(self) -> None:
        """See `base.SearchLog`."""
        if self._pending is None or self._journal is None:
            return
        self._write_state(self._journal)
        self._write_pairs(self._settled)
        self._journal.append(COVERED, _NUMBER.pack(self._pending))
        self.covered = self._pending
        self._settled, self._pending = [], None
        self._buffered = sum(map(len, self._open))
        self._kept_at = time.monotonic()

    def remove(self) -> None:
        """See `base.SearchLog`."""
        self._close_files()
        with writing(self._store):
            if os.path.lexists(self._path):
                remove(self._path)
                flush_folder(self._path)

    def close(self) -> None:
        """Lets the file go; it stays."""
        self._close_files()

    def _read(self) -> JournalReader | None:
        """The log that is there, if it is this search's and whole."""
        with suppress(OSError, DamagedStoreError, NewerFormatError):
            with ExitStack() as opened:
                reader = opened.enter_context(closing(JournalReader(self._path)))
                if reader.was_begun and reader.uuid == self._key:
                    reader.refuse_damage()
                    if self._store_key is not None:
                        reader.unseal(self._store_key)
                    opened.pop_all()
                    return reader
        return None

    def _open_journal(self, *, end: int | None) -> Journal:
        return Journal(self._store, self._path, self._key, 0, end=end, store_key=self._store_key)

    def _take_over(self, reader: JournalReader) -> None:
        ends = [place for place, record in enumerate(reader.records) if record.kind == COVERED]
        if not ends:
            return
        last = reader.records[ends[-1]]
        self._records = reader.records[: ends[-1]]
        (self.covered,) = _NUMBER.unpack(reader.payload(last))
        self.state = self._read_state(reader)
        end = last.start + last.length + _CHECK_BYTES
        self._journal = self._open_journal(end=end)

    def _read_state(self, reader: JournalReader) -> Mapping[str, Array]:
        parts: dict[str, list[Array]] = {}
        for record in self._records:
            if record.kind == STATE:
                for name, part in unpack_arrays(reader.payload(record)).items():
                    parts.setdefault(name, []).append(part)
        return {name: np.concatenate(some) for name, some in parts.items()}

    def _write_state(self, journal: Journal) -> None:
        for name, array in (self._unkept or {}).items():
            rows = max(1, _STATE_BYTES // max(1, array[:1].nbytes))
            for start in range(0, len(array), rows):
                journal.append(STATE, pack_arrays({name: array[start : start + rows]}))
        self._unkept = None

    def _write_pairs(self, blocks: list[PairBlock]) -> None:
        if blocks and self._journal is not None:
            self._write_state(self._journal)
            columns = {
                name: np.concatenate([getattr(block, name) for block in blocks])
                for name in ("a", "b", "cosine")
            }
            self._journal.append(PAIRS, pack_arrays(columns))

    def _close_files(self) -> None:
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if self._journal is not None:
            self._journal.close()
            self._journal = None
