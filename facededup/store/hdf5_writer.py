"""The one writer of a store in an HDF5 file.

Everything is committed to the journal. `pack` (also at the end of a writer) writes file and journal into a
new file, one generation later, renames it over the old one and then removes the journal. A kill between any
two of these steps leaves either the old file with its journal, or the new file with a journal of an older
generation, which is known to be in it.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import h5py

from facededup.errors import DamagedStoreError, SettingMismatchError, UsageError, WrongKeyError
from facededup.store.base import Batch, Fingerprint
from facededup.store.basefile import Header, new_file, refuse_unreadable, write_base
from facededup.store.closing import ClosingWriter
from facededup.store.crypto import Key, StoreKey
from facededup.store.decisions import decision_columns, pack_forgotten
from facededup.store.files import NewFile, flush_folder, remove, writing
from facededup.store.findings import Hdf5Findings, Hdf5FindingsWriter, copy_living
from facededup.store.hdf5_snapshot import Hdf5Snapshot, open_pair
from facededup.store.journal import (
    BATCH,
    DECISIONS,
    DROP_FINDINGS,
    FORGET_DECISIONS,
    INFO,
    Journal,
    pack_arrays,
)
from facededup.store.lock import StoreLock
from facededup.store.migrate import upgrade
from facededup.store.sealed import new_target
from facededup.store.searchlog import ENDING, FileSearchLog
from facededup.store.tables import batch_arrays, empty_tables
from facededup.types import Decision, Floats

_LARGE_STORE = 64 << 20
"""Bytes from which a store's journal may wait beside it."""
_LARGE_JOURNAL = 256 << 20
"""Bytes at which a journal does not wait any longer, whatever the size of the store."""
_HUGE_JOURNAL = 1 << 30
"""Bytes at which a journal is folded in the midst of a run."""


class Hdf5Writer(ClosingWriter):
    """See `base.Writer`. Made by `Hdf5Store.writer`, which documents the arguments and errors."""

    def __init__(
        self,
        path: str,
        fingerprint: Fingerprint | None,
        *,
        reset: bool,
        key: Key | None = None,
        encrypt: bool | None = None,
    ) -> None:
        self._path = path
        self._key = self._next_key = key
        self._closed = False
        self._lock = StoreLock(path)
        try:
            self._remove_leftovers()
            if not os.path.lexists(path):
                self._create(fingerprint, encrypt=encrypt)
            else:
                upgrade(path, key)
                if reset:
                    self._empty(fingerprint, encrypt=encrypt)
                elif encrypt is not None:
                    self._refuse_unless(encrypted=encrypt)
            self._journal = self._open_journal()
            if self._journal.size > _LARGE_JOURNAL:
                self.pack()
            self._snapshot = self._open()
        except BaseException:
            self._lock.release()
            raise
        self._findings: Hdf5FindingsWriter | None = None
        self._search_log: FileSearchLog | None = None

    @property
    def snapshot(self) -> Hdf5Snapshot:
        """See `base.Writer`."""
        return self._snapshot

    def commit(self, batch: Batch) -> None:
        """See `base.Writer`.

        Raises:
            StoreWriteError: The batch could not be written; all batches before are safe.
            ValueError: The batch breaks a rule of `Batch`.
        """
        if batch.is_empty:
            return
        arrays = batch_arrays(batch, self._snapshot.fingerprint.dimension)
        self._journal.append(BATCH, pack_arrays(arrays))
        if self._journal.size > max(_HUGE_JOURNAL, os.path.getsize(self._path)):
            self.pack()

    def record(self, info: Mapping[str, Any]) -> None:
        """See `base.Writer`."""
        self._journal.append(INFO, json.dumps(dict(info)).encode())

    def append_decisions(self, decisions: Sequence[Decision]) -> None:
        """See `base.Writer`."""
        if decisions:
            self._journal.append(DECISIONS, pack_arrays(decision_columns(decisions)))

    def forget_decisions(self, contents: Collection[bytes], paths: Collection[bytes]) -> None:
        """See `base.Writer`."""
        self._journal.append(FORGET_DECISIONS, pack_forgotten(contents, paths))

    def write_findings(self) -> Hdf5FindingsWriter:
        """See `base.Writer`."""
        self._abandon_findings()
        with self._open() as now:
            next_face_id = now.next_face_id
        self._findings = Hdf5FindingsWriter(
            self._path, self._path + ".findings.new", next_face_id, self._replace_base, self._store_key
        )
        return self._findings

    def drop_findings(self) -> None:
        """See `base.Writer`."""
        self._journal.append(DROP_FINDINGS, b"")

    def encrypt(self, key: Key | None) -> None:
        """Packs the store into a file that only this key opens, or that needs none.

        Raises:
            StoreWriteError: It could not be written; the store is as it was.
            DamagedStoreError: The store is damaged, and stays as it is.
            PackageMissingError: The package for it is not installed.
        """
        self._store_key = None if key is None else StoreKey.create(key)
        self._next_key = key
        self.pack()
        self._close_search_log()
        with writing(self._path):
            remove(self._path + ENDING)

    def search_log(self, key: bytes) -> FileSearchLog:
        """See `base.Writer`."""
        self._close_search_log()
        self._search_log = FileSearchLog(self._path, key, self._store_key)
        return self._search_log

    def pack(self) -> None:
        """Folds the journal into the store's file, so that one file holds everything; see `base.Writer`."""
        target = self._new_target(self._store_key)
        try:
            file = new_file(target)
            try:
                with self._open() as now, target.filling(self._path):
                    findings = now.findings_group()
                    if findings is not None and now.has_lost_faces:
                        copy_living(Hdf5Findings(self._path, findings), file, now.faces.id)
                    elif findings is not None:
                        findings.file.copy(findings, file, "findings")
                self._replace_base(target, file)
            finally:
                file.close()
        finally:
            target.abandon()

    def close(self) -> None:
        """Folds the journal where it is due, and releases the lock; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._abandon_findings()
            self._close_search_log()
            if self._is_fold_due():
                self.pack()
            else:
                self._journal.finish()
        finally:
            self._journal.close()
            self._snapshot.close()
            self._lock.release()

    def _remove_leftovers(self) -> None:
        with writing(self._path):
            for name in (".new", ".findings.new"):
                remove(self._path + name)

    def _open(self) -> Hdf5Snapshot:
        return Hdf5Snapshot(self._path, self._key)

    def _new_target(self, store_key: StoreKey | None) -> NewFile:
        with writing(self._path):
            return new_target(self._path + ".new", self._path, store_key)

    def _refuse_unless(self, *, encrypted: bool) -> None:
        with self._open() as now:
            is_encrypted = now.store_key is not None
        if encrypted and not is_encrypted:
            raise SettingMismatchError(
                f"the store {self._path!r} is not encrypted; `facededup store pack --encrypt` encrypts it"
            )
        if is_encrypted and not encrypted:
            raise SettingMismatchError(
                f"the store {self._path!r} is encrypted; `facededup store pack --decrypt` decrypts it"
            )

    def _create_key(self, *, encrypt: bool | None) -> StoreKey | None:
        if encrypt is None and self._key is not None:
            raise UsageError(
                f"there is a key, but {self._path!r} would be a new store without encryption: "
                "add --encrypt, or --no-encrypt if that is what you want"
            )
        if not encrypt:
            return None
        if self._key is None:
            raise WrongKeyError("--encrypt needs a key: give one with --key-file FILE or in FACEDEDUP_KEY")
        return StoreKey.create(self._key)

    def _create(self, fingerprint: Fingerprint | None, *, encrypt: bool | None) -> None:
        if fingerprint is None:
            refuse_unreadable(self._path)
            raise AssertionError  # pragma: no cover - the line above raises where there is no file
        if os.path.lexists(self._journal_path):
            raise DamagedStoreError(
                f"the journal {self._journal_path!r} is there without its store; put the store back "
                "or remove the journal"
            )
        now = datetime.now(UTC).isoformat(timespec="seconds")
        header = Header(uuid.uuid4().bytes, 0, fingerprint, {"created": now}, 0, 0)
        self._write_empty(header, (), self._create_key(encrypt=encrypt))

    def _empty(self, fingerprint: Fingerprint | None, *, encrypt: bool | None) -> None:
        with self._open() as old:
            header = Header(
                uuid=old.header.uuid,
                generation=old.header.generation + 1,
                fingerprint=fingerprint or old.fingerprint,
                info={"created": datetime.now(UTC).isoformat(timespec="seconds")},
                next_image_id=old.next_image_id,
                next_face_id=old.next_face_id,
            )
            store_key = old.store_key
            if encrypt is not None and encrypt != (store_key is not None):
                store_key = self._create_key(encrypt=encrypt)
            self._write_empty(header, old.decisions(), store_key)

    def _write_empty(self, header: Header, decisions: Sequence[Decision], store_key: StoreKey | None) -> None:
        target = self._new_target(store_key)
        try:
            with target.filling(self._path), new_file(target) as file:
                images, faces = empty_tables()
                write_base(file, header, images=images, faces=faces, embeddings=iter(()), decisions=decisions)
            with writing(self._path):
                target.publish()
        finally:
            target.abandon()

    def _replace_base(self, target: NewFile, file: h5py.File) -> None:
        """Completes a new file that has its findings already, and puts it in place of file and journal."""
        self._journal.close()  # takes nothing more until it is known which file it extends
        try:
            with self._open() as now:
                header = replace(
                    now.header,
                    generation=now.header.generation + 1,
                    info=now.info,
                    next_image_id=now.next_image_id,
                    next_face_id=now.next_face_id,
                )
                with target.filling(self._path):
                    write_base(
                        file,
                        header,
                        images=now.images,
                        faces=now.faces,
                        embeddings=_checking(target, now.embedding_blocks()),
                        decisions=now.decisions(),
                    )
                    file.close()
            with writing(self._path):
                target.publish()
            self._key = self._next_key
        finally:
            self._next_key = self._key
            self._journal = self._open_journal()

    def _open_journal(self) -> Journal:
        """The journal that extends the file which is there now; one that is in it already is removed."""
        base, reader = open_pair(self._path, self._key)
        base.close()
        self._store_key = base.store_key
        if reader is not None:
            reader.close()
        else:
            with writing(self._path):
                if os.path.lexists(self._journal_path):
                    remove(self._journal_path)
                    flush_folder(self._path)
        end = None if reader is None else reader.end
        header = base.header
        return Journal(
            self._path,
            self._journal_path,
            header.uuid,
            header.generation,
            end=end,
            store_key=base.store_key,
        )

    @property
    def _journal_path(self) -> str:
        return self._path + ".journal"

    def _abandon_findings(self) -> None:
        if self._findings is not None:
            self._findings.abandon()
            self._findings = None

    def _close_search_log(self) -> None:
        if self._search_log is not None:
            self._search_log.close()
            self._search_log = None

    def _is_fold_due(self) -> bool:
        if self._journal.broken or not self._journal.size:
            return False
        base_size = os.path.getsize(self._path)
        return base_size < _LARGE_STORE or self._journal.size >= min(base_size // 10, _LARGE_JOURNAL)


def _checking(target: NewFile, blocks: Iterator[Floats]) -> Iterator[Floats]:
    """The blocks, until a write fails."""
    for block in blocks:
        target.check()
        yield block
