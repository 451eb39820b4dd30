"""A store's file and its journal, seen together as they were at one moment."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from functools import cached_property
from typing import Any

import h5py
import numpy as np

from facededup.errors import DamagedStoreError, JobError, NewerFormatError
from facededup.store.base import FaceTable, Fingerprint, ImageTable
from facededup.store.basefile import BLOCK, BaseFile, Header
from facededup.store.closing import Closing
from facededup.store.crypto import Key, StoreKey
from facededup.store.findings import Hdf5Findings
from facededup.store.journal import (
    BATCH,
    CLOSED,
    DECISIONS,
    DROP_FINDINGS,
    FORGET_DECISIONS,
    INFO,
    JournalReader,
    Record,
)
from facededup.store.replay import Replay, replay_decisions
from facededup.types import Decision, Floats

_ATTEMPTS = 3


class Hdf5Snapshot(Closing):
    """See `base.Snapshot`. It holds the files it was opened on, so that a writer never disturbs it.

    Args:
        path: Of the store.
        key: Of an encrypted store.

    Raises:
        WrongKeyError: The store is encrypted, and the key is missing or another.
        StoreNotFoundError: There is no store.
        UsageError: It is a folder.
        JobError: It may not be read.
        DamagedStoreError: It is damaged, or no store.
        NewerFormatError: It was made by a later version.
    """

    def __init__(self, path: str, key: Key | None = None) -> None:
        self._path = path
        self._base, self.journal = open_pair(path, key)
        self._info = dict(self._base.header.info)
        self._has_findings = True
        self._batches: list[Record] = []
        self._on_decisions: list[Record] = []
        if self.journal is None:
            return
        for record in self.journal.records:
            if record.kind == BATCH:
                self._batches.append(record)
            elif record.kind == INFO:
                self._info.update(json.loads(self.journal.payload(record)))
            elif record.kind == DROP_FINDINGS:
                self._has_findings = False
            elif record.kind in (DECISIONS, FORGET_DECISIONS):
                self._on_decisions.append(record)
            elif record.kind != CLOSED:
                self.close()
                raise NewerFormatError(
                    f"the journal of {path!r} was written by a later version of facededup; update facededup"
                )

    @property
    def header(self) -> Header:
        """The header of the file below the journal."""
        return self._base.header

    @property
    def store_key(self) -> StoreKey | None:
        """Of an encrypted store, None for any other."""
        return self._base.store_key

    @property
    def fingerprint(self) -> Fingerprint:
        """See `base.Snapshot`."""
        return self._base.header.fingerprint

    @property
    def info(self) -> Mapping[str, Any]:
        """See `base.Snapshot`."""
        return self._info

    @property
    def images(self) -> ImageTable:
        """See `base.Snapshot`."""
        return self._replay.images if self._replay else self._base.images

    @property
    def faces(self) -> FaceTable:
        """See `base.Snapshot`."""
        return self._replay.faces if self._replay else self._base.faces

    @property
    def has_lost_faces(self) -> bool:
        """Whether faces of the file below the journal are gone by now."""
        return self._replay is not None and not np.isin(self._base.faces.id, self.faces.id).all()

    @property
    def next_image_id(self) -> int:
        """See `base.Snapshot`."""
        return self._replay.next_image_id if self._replay else self._base.header.next_image_id

    @property
    def next_face_id(self) -> int:
        """The id the next new face will get."""
        return self._replay.next_face_id if self._replay else self._base.header.next_face_id

    def embeddings(self, start: int, stop: int) -> Floats:
        """See `base.Snapshot`."""
        return (self._replay or self._base).embeddings(start, stop)

    def nearest(self, probes: Floats, k: int) -> None:
        """See `base.Snapshot`; a file does not look for itself."""

    def embedding_blocks(self) -> Iterator[Floats]:
        """All embeddings in blocks of `BLOCK` rows, the last one shorter."""
        count = len(self.faces)
        for start in range(0, count, BLOCK):
            yield self.embeddings(start, min(start + BLOCK, count))

    def findings(self) -> Hdf5Findings | None:
        """See `base.Snapshot`."""
        group = self.findings_group()
        return None if group is None else Hdf5Findings(self._path, group)

    def findings_group(self) -> h5py.Group | None:
        """The HDF5 group of the findings, None if there are none."""
        return self._base.group("findings") if self._has_findings else None

    def decisions(self) -> tuple[Decision, ...]:
        """See `base.Snapshot`."""
        below = self._base.decisions()
        return replay_decisions(below, self.journal, self._on_decisions) if self.journal else below

    def close(self) -> None:
        """Lets the files go."""
        self._base.close()
        if self.journal is not None:
            self.journal.close()

    @cached_property
    def _replay(self) -> Replay | None:
        return Replay(self._base, self.journal, self._batches) if self.journal and self._batches else None


def open_pair(path: str, key: Key | None) -> tuple[BaseFile, JournalReader | None]:
    """The store's file and the journal that extends it, None where there is none or the file has it all.

    The journal is opened first: whatever a writer does in between, it is then the file's own or an older one.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return _open_pair_once(path, key)
        except DamagedStoreError:
            # Nearly always real; but a writer may have cut a torn tail, or replaced the store, meanwhile.
            if attempt == _ATTEMPTS - 1:
                raise
            time.sleep(0.01)
    raise AssertionError


def _open_pair_once(path: str, key: Key | None) -> tuple[BaseFile, JournalReader | None]:
    journal_path = path + ".journal"
    with ExitStack() as opened:
        journal = None
        try:
            journal = opened.enter_context(closing(JournalReader(journal_path)))
        except FileNotFoundError:
            pass
        except OSError as exc:
            raise JobError(f"the journal {journal_path!r} cannot be read: {exc.strerror}") from exc
        base = opened.enter_context(closing(BaseFile(path, key)))
        if journal is not None and journal.was_begun:
            if journal.uuid != base.header.uuid:
                raise DamagedStoreError(
                    f"the journal {journal_path!r} belongs to another store than {path!r}; "
                    "put it back beside its own or remove it"
                )
            if journal.generation > base.header.generation:
                raise DamagedStoreError(
                    f"the journal {journal_path!r} continues a later state of {path!r}; "
                    "restore both from one backup"
                )
            if journal.generation == base.header.generation:
                journal.refuse_damage()
                if base.store_key is not None:
                    journal.unseal(base.store_key)
                opened.pop_all()
                return base, journal
        opened.pop_all()
    if journal is not None:
        journal.close()
    return base, None
