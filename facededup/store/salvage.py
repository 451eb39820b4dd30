"""What can be kept of a damaged store: every block of rows whose checksum is right, and what fits together.

An image whose path is intact but whose faces are not stays in the store as FILE_ERROR, to be tried again by
the next `index`. Where the path itself is lost, the next `index` finds the file as a new one.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Mapping
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.errors import DamagedStoreError
from facededup.store.base import DIGEST_BYTES, FaceTable, ImageTable, Repair, pair_blocks
from facededup.store.basefile import (
    BLOCK,
    Header,
    new_file,
    opened,
    read_block,
    read_column,
    read_decision_log,
    read_header,
    read_text,
    reading,
    refuse_unreadable,
    write_base,
)
from facededup.store.crypto import Key
from facededup.store.files import disk, flush_folder, remove, writing
from facededup.store.findings import Hdf5Findings
from facededup.store.journal import BATCH, DECISIONS, DROP_FINDINGS, FORGET_DECISIONS, INFO, RescuedJournal
from facededup.store.lock import StoreLock
from facededup.store.replay import Replay, replay_decisions
from facededup.store.sealed import new_target
from facededup.store.tables import (
    ADDED_COLUMNS,
    FACE_COLUMNS,
    IMAGE_COLUMNS,
    TEXT_COLUMNS,
    decode_text,
    face_table,
    first_rows,
)
from facededup.types import Array, Decision, Floats, Outcome

LOST = "its faces were lost in a damaged store; index it again"
_REPLACEABLE = frozenset(IMAGE_COLUMNS) - {"id", "digest", "outcome", "retry"}
"""Columns that may be lost: the next run looks at the file again, and its embedding stays."""
_ADDED = frozenset(name.partition("/")[2] for name in ADDED_COLUMNS)
"""Columns that may be missing, and whose loss asks for nothing."""


def repair(path: str, key: Key | None = None) -> Repair:
    """Puts a sound store with all that is intact in the place of a damaged one, in one atomic step.

    The damaged file and its journal stay beside it, with `.damaged` behind their names. `key` is that of an
    encrypted store, which stays encrypted.

    Raises:
        WrongKeyError: It is encrypted, and the key is missing or another.
        DamagedStoreError: Nothing can be kept; the file is left as it is.
        StoreNotFoundError: There is none.
        StoreLockedError: Another process is writing to it.
        StoreWriteError: The new file cannot be written; the old one is untouched.
    """
    refuse_unreadable(path)
    lock = StoreLock(path)
    try:
        with ExitStack() as stack:
            base = stack.enter_context(closing(SalvagedFile(path, key)))
            journal = _open_journal(path, base)
            if journal is not None:
                stack.enter_context(closing(journal))
            return _rewrite(path, base, journal)
    finally:
        lock.release()


class SalvagedFile:
    """The intact rows of a store's file, in the form of `basefile.BaseFile`.

    Raises:
        DamagedStoreError: Its structure is so damaged that nothing can be read.
        NewerFormatError: A later version made it.

    Attributes:
        header: Of the file.
        store_key: Of an encrypted store.
        images: The images whose path is intact.
        faces: The faces of intact contents.
        face_count: Number of these.
        rows_lost: Images without a path.
        faces_lost: Faces that are not kept.
    """

    def __init__(self, path: str, key: Key | None) -> None:
        self.path = path
        self._open = ExitStack()
        try:
            self.file, self.store_key = self._open.enter_context(opened(path, key, rescue=True))
            with reading(path):
                self.header: Header = read_header(path, self.file, with_info=False)
        except DamagedStoreError as exc:
            self._open.close()
            raise DamagedStoreError(
                f"nothing of {path!r} can be read any more: restore it from a backup, or index anew"
            ) from exc
        except BaseException:
            self._open.close()
            raise
        columns, sound = self._read("images", [*IMAGE_COLUMNS, *TEXT_COLUMNS])
        self._count = len(sound["path"])
        named = np.flatnonzero(sound["path"] & sound["id"])
        self.rows_lost = self._count - len(named)
        self.images = self._image_table(columns, sound, named)
        self._rows = self._keep_faces(named)
        self.face_count = len(self._rows)

    def embeddings(self, start: int, stop: int) -> Floats:
        """Rows start to stop of those kept."""
        rows = self._rows[start:stop]
        found = np.empty((len(rows), self.header.fingerprint.dimension), np.float32)
        for block in np.unique(rows // BLOCK).tolist():
            inside = rows // BLOCK == block
            found[inside] = self.file["embeddings"][block * BLOCK : (block + 1) * BLOCK][
                rows[inside] - block * BLOCK
            ]
        return found

    def info(self) -> dict[str, Any]:
        """What was recorded, if it can be read."""
        try:
            return dict(json.loads(read_text(self.file, "info")))
        except Exception:  # h5py raises nearly anything on a damaged file
            return {}

    def had(self, name: str) -> bool:
        """Whether the file had such a group, as far as can be told."""
        try:
            return name in list(self.file)
        except Exception:  # h5py raises nearly anything on a damaged file
            return True

    def close(self) -> None:
        """Lets the file go."""
        self._open.close()

    def _read(self, group: str, names: list[str]) -> tuple[dict[str, Array], dict[str, NDArray[np.bool_]]]:
        """Columns with zeros where they are damaged, and for each where it is sound."""
        count = max((self._length(f"{group}/{name}") for name in names), default=0)
        columns, sound = {}, {}
        for name in names:
            columns[name], sound[name] = self._read_column(f"{group}/{name}", count)
        return columns, sound

    def _length(self, name: str) -> int:
        try:
            return int(self.file[name].shape[0])
        except Exception:  # h5py raises nearly anything on a damaged file
            return 0

    def _read_column(self, name: str, count: int) -> tuple[Array, NDArray[np.bool_]]:
        group, _, column = name.rpartition("/")
        kinds: Mapping[str, Any] = {**IMAGE_COLUMNS, **FACE_COLUMNS, **dict.fromkeys(TEXT_COLUMNS, object)}
        kind = np.dtype("<i8" if (group, column) == ("faces", "image") else kinds[column])
        values = np.full(count, ADDED_COLUMNS.get(name, 0), kind)
        sound = np.zeros(count, np.bool_)
        if self._length(name) == count:
            for block in range(-(-count // BLOCK)):
                found = read_block(self.file[name], block)
                if found is not None:
                    rows = slice(block * BLOCK, block * BLOCK + len(found))
                    values[rows], sound[rows] = found, True
        return values, sound

    def _image_table(
        self, columns: dict[str, Array], sound: dict[str, NDArray[np.bool_]], rows: NDArray[np.intp]
    ) -> ImageTable:
        try:
            paths = read_column(self.file, "roots/path").tolist()
            roots = list(zip(paths, read_column(self.file, "roots/mount").tolist(), strict=True))
        except Exception:  # h5py raises nearly anything on a damaged file
            roots = []
        values = {name: columns[name][rows] for name in IMAGE_COLUMNS}
        # No folder of that name can be reached: nothing below it is taken for deleted.
        unknown = (b"/", b"")
        values["root"] = np.where(
            sound["root"][rows] & (values["root"] < len(roots)), values["root"], len(roots)
        ).astype(np.int32)
        damaged = ~(sound["digest"] & sound["outcome"])[rows]
        # An image with faces needs no reason.
        damaged |= (values["outcome"] != Outcome.OK.value) & ~(sound["reason"] & sound["retry"])[rows]
        stat = np.all([sound[name][rows] for name in _REPLACEABLE - _ADDED], axis=0)
        values["size"][~stat] = -1  # no file has it
        digest = np.ascontiguousarray(values["digest"]).view(np.uint8).reshape(-1, DIGEST_BYTES)
        table = ImageTable(
            **{**values, "digest": digest},
            path=columns["path"][rows].tolist(),
            reason=[decode_text(text or b"") for text in columns["reason"][rows].tolist()],
            tags=[decode_text(text) for text in columns["tags"][rows].tolist()],
            roots=[*roots, unknown],
            first=first_rows(digest),
        )
        return _mark_lost(table, damaged)

    def _keep_faces(self, named: NDArray[np.intp]) -> NDArray[np.intp]:
        """Makes `faces` of the contents that are whole; the rows of their embeddings."""
        columns, sound = self._read("faces", [*FACE_COLUMNS, "image"])
        needed = [sound[name] for name in sound if name not in _ADDED]
        intact = np.all(needed, axis=0) & self._sound_embeddings(len(columns["id"]))
        row_of = np.full(self._count + 1, -1)
        row_of[named] = np.arange(len(named))
        image = row_of[np.clip(columns["image"], -1, self._count)]
        digested = np.append(self.images.digest.any(axis=1), False)
        intact &= (image >= 0) & digested[image]
        whole = intact & _is_whole(columns["image"], columns["number"], intact)
        rows = np.flatnonzero(whole)
        self.faces: FaceTable = face_table(
            {**{name: columns[name][rows] for name in FACE_COLUMNS}, "image": self.images.first[image[rows]]}
        )
        self.faces_lost = len(intact) - len(rows)
        return rows

    def _sound_embeddings(self, count: int) -> NDArray[np.bool_]:
        sound = np.zeros(count, np.bool_)
        try:
            checksums = self.file["checksums/embeddings"][:]
        except Exception:  # h5py raises nearly anything on a damaged file
            return sound
        for block, checksum in enumerate(checksums.tolist()):
            rows = slice(block * BLOCK, (block + 1) * BLOCK)
            try:
                found = self.file["embeddings"][rows]
            except Exception:  # noqa: S112 - likewise; what was not read is not sound
                continue
            sound[rows] = zlib.crc32(found.tobytes()) == checksum
        return sound


def _is_whole(
    image: NDArray[np.int64], number: NDArray[np.int32], intact: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which faces belong to a content of which no face is damaged or missing.

    The rows of a content follow each other, numbered from 0; one that touches damage may go on in it.
    """
    begins = np.ones(len(image), np.bool_)
    begins[1:] = (image[1:] != image[:-1]) | ~intact[1:] | ~intact[:-1]
    group = np.cumsum(begins) - 1
    starts = np.flatnonzero(begins)
    stops = np.append(starts[1:], len(image))
    good = intact[starts] & (number[starts] == 0)
    followed = np.append(intact, True)[stops]
    return (good & followed)[group] if len(image) else np.empty(0, np.bool_)


def _mark_lost(table: ImageTable, lost: NDArray[np.bool_]) -> ImageTable:
    """The table with some images turned into ones the next run reads again."""
    if not lost.any():
        return table
    digest = np.where(lost[:, None], np.uint8(0), table.digest)
    return replace(
        table,
        digest=digest,
        outcome=np.where(lost, np.uint8(Outcome.FILE_ERROR.value), table.outcome),
        retry=table.retry | lost,
        reason=[LOST if bad else text for bad, text in zip(lost.tolist(), table.reason, strict=True)],
        first=first_rows(digest),
    )


def _open_journal(path: str, base: SalvagedFile) -> RescuedJournal | None:
    try:
        journal = RescuedJournal(path + ".journal", base.header.uuid, base.header.generation)
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise DamagedStoreError(
            f"the journal of {path!r} cannot be read ({exc.strerror}): restore it, or move it away"
        ) from exc
    if base.store_key is not None:
        journal.unseal(base.store_key)
    return journal


def _rewrite(path: str, base: SalvagedFile, journal: RescuedJournal | None) -> Repair:
    records = journal.records if journal is not None else []
    now = Replay(base, journal, [record for record in records if record.kind == BATCH])
    with_faces = np.zeros(len(now.images), np.bool_)
    with_faces[now.faces.image] = True
    images = _mark_lost(now.images, (now.images.outcome == Outcome.OK.value) & ~with_faces[now.images.first])
    dropped = any(record.kind == DROP_FINDINGS for record in records)
    unharmed = not (dropped or base.faces_lost or base.rows_lost)
    findings = base.file["findings"] if unharmed and _are_findings_sound(base) else None
    kept = _sound_decisions(base)
    decisions = kept or ()
    if journal is not None:
        log = (record for record in records if record.kind in (DECISIONS, FORGET_DECISIONS))
        decisions = replay_decisions(decisions, journal, log)
    info = base.info()
    for record in records:
        if journal is not None and record.kind == INFO:
            info.update(json.loads(journal.payload(record)))
    header = replace(
        base.header,
        generation=base.header.generation + 1,
        info=info,
        next_image_id=now.next_image_id,
        next_face_id=now.next_face_id,
    )
    with writing(path):
        target = new_target(path + ".new", path, base.store_key)
    try:
        with target.filling(path), new_file(target) as file:
            blocks = (
                now.embeddings(k, min(k + BLOCK, len(now.faces))) for k in range(0, len(now.faces), BLOCK)
            )
            write_base(file, header, images=images, faces=now.faces, embeddings=blocks, decisions=decisions)
            if findings is not None:
                findings.file.copy(findings, file, "findings")
        with writing(path):
            kept_as = _keep(path)
            target.publish()
            remove(path + ".journal")
            flush_folder(path)
    finally:
        target.abandon()
    return Repair(
        images=len(images),
        faces=len(now.faces),
        lost=tuple(name for name, reason in zip(images.path, images.reason, strict=True) if reason == LOST),
        nameless=base.rows_lost,
        gaps=0 if journal is None else journal.gaps,
        findings_kept=findings is not None or dropped or not base.had("findings"),
        decisions_kept=kept is not None,
        kept_as=kept_as,
    )


def _are_findings_sound(base: SalvagedFile) -> bool:
    try:
        findings = Hdf5Findings(base.path, base.file["findings"])
        for _ in pair_blocks(findings):
            pass
        return len(findings.clusters) >= 0
    except Exception:  # h5py raises nearly anything on a damaged file
        return False


def _sound_decisions(base: SalvagedFile) -> tuple[Decision, ...] | None:
    try:
        return read_decision_log(base.file["decisions"] if base.had("decisions") else None)
    except Exception:  # h5py raises nearly anything on a damaged file
        return None


def _keep(path: str) -> str:
    """Gives the damaged file and its journal second names; the first of them."""
    kept = path + ".damaged"
    number = 1
    while os.path.lexists(kept) or os.path.lexists(kept + ".journal"):
        number += 1
        kept = f"{path}.damaged-{number}"
    for ending in ("", ".journal"):
        if os.path.lexists(path + ending):
            try:
                disk.link(path + ending, kept + ending)
            except OSError:  # a file system without second names
                shutil.copy(path + ending, kept + ending)
    return kept
