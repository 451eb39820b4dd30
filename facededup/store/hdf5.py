"""The default store: one immutable HDF5 file and the journal of what was committed since it was written.

Everything is committed to the journal. `pack` (also at the end of a writer) writes file and journal into a
new file, one generation later, renames it over the old one and then removes the journal. A kill between any
two of these steps leaves either the old file with its journal, or the new file with a journal of an older
generation, which is known to be in it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from glob import escape, glob
from typing import Any

import h5py
import numpy as np

from facededup.errors import (
    DamagedStoreError,
    JobError,
    NewerFormatError,
    SettingMismatchError,
    UsageError,
    WrongKeyError,
)
from facededup.store.base import Batch, FaceTable, Fingerprint, ImageTable, Repair, refuse_unfinished
from facededup.store.basefile import BLOCK, BaseFile, Header, new_file, refuse_unreadable, write_base
from facededup.store.closing import Closing, ClosingWriter
from facededup.store.crypto import Key, StoreKey
from facededup.store.decisions import decision_columns, pack_forgotten
from facededup.store.files import NewFile, flush_folder, remove, writing
from facededup.store.findings import Hdf5Findings, Hdf5FindingsWriter, copy_living
from facededup.store.integrity import look_through
from facededup.store.journal import (
    BATCH,
    CLOSED,
    DECISIONS,
    DROP_FINDINGS,
    FORGET_DECISIONS,
    INFO,
    Journal,
    JournalReader,
    Record,
    pack_arrays,
)
from facededup.store.lock import StoreLock
from facededup.store.migrate import upgrade
from facededup.store.replay import Replay, replay_decisions
from facededup.store.sealed import new_target
from facededup.store.searchlog import ENDING, FileSearchLog
from facededup.store.tables import batch_arrays, empty_tables
from facededup.types import Decision, Floats

_ATTEMPTS = 3
_LARGE_STORE = 64 << 20
"""Bytes from which a store's journal may wait beside it."""
_LARGE_JOURNAL = 256 << 20
"""Bytes at which a journal does not wait any longer, whatever the size of the store."""
_HUGE_JOURNAL = 1 << 30
"""Bytes at which a journal is folded in the midst of a run."""


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
        self._base, self.journal = _open_pair(path, key)
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
        base, reader = _open_pair(self._path, self._key)
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


class Hdf5Store:
    """A store in an HDF5 file; see `base.Store`.

    Args:
        location: Path of the file; it need not exist.
        key: Of an encrypted store; plain ones do not need it.
        encrypt: Whether a new store is encrypted; an existing one that differs is refused by `writer`, unless
            it is reset. None takes an existing one as it is.
    """

    def __init__(self, location: str, key: Key | None = None, *, encrypt: bool | None = None) -> None:
        self._location = location
        self._key = key
        self._encrypt = encrypt
        # Through a link, so that its target is replaced and every name of a store means one lock.
        self._path = os.path.realpath(location)

    @property
    def location(self) -> str:
        """See `base.Store`."""
        return self._location

    @property
    def path(self) -> str:
        """Absolute, links resolved."""
        return self._path

    def exists(self) -> bool:
        """See `base.Store`."""
        return os.path.lexists(self._path)

    def snapshot(self, *, unfinished: bool = False) -> Hdf5Snapshot:
        """See `base.Store`."""
        snapshot = Hdf5Snapshot(self._path, self._key)
        if not unfinished:
            refuse_unfinished(snapshot, snapshot, self.location)
        return snapshot

    def writer(self, fingerprint: Fingerprint | None = None, *, reset: bool = False) -> Hdf5Writer:
        """See `base.Store`."""
        if fingerprint is None or self.exists():
            refuse_unreadable(self._path)
        writer = Hdf5Writer(self._path, fingerprint, reset=reset, key=self._key, encrypt=self._encrypt)
        refuse_unfinished(writer.snapshot, writer, self.location)
        return writer

    def disk_bytes(self) -> int:
        """See `base.Store`."""
        total = 0
        for name in (self._path, self._path + ".journal", self._path + ENDING):
            with suppress(OSError):
                total += os.path.getsize(name)
        return total

    def kept_copies(self) -> list[str]:
        """See `base.Store`."""
        return sorted(glob(escape(self._path) + ".damaged*"))

    def describe(self) -> dict[str, str]:
        """See `base.Store`."""
        return {}

    def check(self) -> list[str]:
        """See `base.Store`."""
        return look_through(self.snapshot)

    def repair(self) -> Repair:
        """See `base.Store`."""
        from facededup.store.salvage import repair

        return repair(self._path, self._key)


def _open_pair(path: str, key: Key | None) -> tuple[BaseFile, JournalReader | None]:
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
                if base.store_key is not None:
                    journal.unseal(base.store_key)
                opened.pop_all()
                return base, journal
        opened.pop_all()
    if journal is not None:
        journal.close()
    return base, None


def _checking(target: NewFile, blocks: Iterator[Floats]) -> Iterator[Floats]:
    """The blocks, until a write fails."""
    for block in blocks:
        target.check()
        yield block
