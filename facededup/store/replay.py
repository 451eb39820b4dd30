"""A store's file with the batches of its journal applied, without writing anything."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import FaceTable, ImageTable
from facededup.store.basefile import BLOCK, Header
from facededup.store.decisions import forget, read_decisions
from facededup.store.journal import DECISIONS, JournalReader, Record, unpack_arrays
from facededup.store.tables import Tables
from facededup.types import Decision, Floats

_SLAB = 16 * BLOCK
"""Rows read at a time where some of them are gone."""


class Below(Protocol):
    """What lies below the journal: `basefile.BaseFile`, or what is left of one."""

    header: Header

    @property
    def images(self) -> ImageTable:
        """All images."""

    @property
    def faces(self) -> FaceTable:
        """All faces."""

    @property
    def face_count(self) -> int:
        """Rows of the embeddings."""

    def embeddings(self, start: int, stop: int) -> Floats:
        """Rows start to stop."""


class Replay:
    """Tables and embeddings after the given batches, which are the journal's.

    Embeddings are read from the two files when asked for.

    Attributes:
        images: After the last batch.
        faces: Likewise.
        next_image_id: Likewise.
        next_face_id: Likewise.
    """

    def __init__(self, base: Below, journal: JournalReader | None, batches: Sequence[Record]) -> None:
        self._base = base
        self._journal = journal
        tables = Tables(base.images, base.faces, base.header.next_image_id, base.header.next_face_id)
        # Batch k offered the sources _starts[k] to _starts[k + 1]; its embeddings end its record.
        self._starts = [base.face_count]
        self._batches = batches
        for record in batches:
            assert journal is not None
            arrays = unpack_arrays(journal.payload(record))
            tables.apply(arrays)
            self._starts.append(self._starts[-1] + len(arrays["embeddings"]))
        self.images = tables.images()
        self.faces, self._source = tables.faces(self.images)
        self.next_image_id = tables.next_image_id
        self.next_face_id = tables.next_face_id

    def embeddings(self, start: int, stop: int) -> Floats:
        """Rows start to stop, float32 (stop - start, dimension).

        Raises:
            DamagedStoreError: Some of them differ from what was written.
        """
        source = self._source[start:stop]
        rows = np.empty((len(source), self._base.header.fingerprint.dimension), np.float32)
        in_base = int(np.searchsorted(source, self._base.face_count))
        self._fill_from_base(rows[:in_base], source[:in_base])
        place = in_base
        while place < len(source):
            batch = bisect_right(self._starts, source[place]) - 1
            behind = int(np.searchsorted(source, self._starts[batch + 1]))
            rows[place:behind] = self._of_batch(batch)[source[place:behind] - self._starts[batch]]
            place = behind
        return rows

    def _fill_from_base(self, rows: Floats, source: NDArray[np.int64]) -> None:
        place = 0
        while place < len(source):
            first = int(source[place])
            behind = int(np.searchsorted(source, first + _SLAB))
            slab = self._base.embeddings(first, int(source[behind - 1]) + 1)
            rows[place:behind] = slab[source[place:behind] - first]
            place = behind

    def _of_batch(self, batch: int) -> Floats:
        count = self._starts[batch + 1] - self._starts[batch]
        dimension = self._base.header.fingerprint.dimension
        assert self._journal is not None
        data = self._journal.payload_end(self._batches[batch], count * dimension * 4)
        return np.frombuffer(data, "<f4").reshape(count, dimension)


def replay_decisions(
    below: Iterable[Decision], journal: JournalReader, records: Iterable[Record]
) -> tuple[Decision, ...]:
    """The decisions of the file below a journal, with what some of its records do to them."""
    found = list(below)
    for record in records:
        payload = journal.payload(record)
        if record.kind == DECISIONS:
            found += read_decisions(unpack_arrays(payload))
        else:
            found = forget(found, payload)
    return tuple(found)
