"""The pipelines that look after a store: verify, repair, forget, pack, and following a root that moved."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from facededup.errors import PathNotFoundError, UsageError, WrongKeyError
from facededup.identity import KnownImages
from facededup.images.read import file_stat
from facededup.images.walk import find_mount
from facededup.results import ForgetResult, MoveResult, PackResult, VerifyResult
from facededup.settings import Settings
from facededup.store.base import Batch, ImageRecord, ImageTable, Snapshot, Store, pair_blocks
from facededup.store.crypto import load_key
from facededup.store.opener import open_store
from facededup.types import FileStat

_SECONDS_A_DAY = 86_400
_BATCH_IMAGES = 1 << 16


def verify_store(settings: Settings, *, repair: bool) -> VerifyResult:
    """Reads every byte of a store that means something, and repairs it if that is wanted and needed.

    Args:
        settings: Which store, and its key.
        repair: Put what is intact in the place of a damaged store, which is kept under another name.

    Raises:
        StoreNotFoundError: There is none.
        NewerFormatError: It was made by a later version.
        DamagedStoreError: It is to be repaired, and nothing of it can be kept.
        StoreLockedError: It is to be repaired, and another process is writing to it.
        StoreWriteError: It is to be repaired, and cannot be written.
    """
    started = time.perf_counter()
    store = open_store(settings.store, settings.key_file)
    checked = store.disk_bytes()
    problems = store.check()
    seconds = time.perf_counter() - started
    return VerifyResult(
        store=store.location,
        problems=tuple(problems),
        checked_bytes=checked,
        seconds=seconds,
        repair=store.repair() if repair and problems else None,
    )


def forget_images(
    settings: Settings,
    paths: Sequence[str],
    *,
    missing: bool = False,
    older_than: float | None = None,
    dry_run: bool = False,
) -> ForgetResult:
    """Removes images and everything derived from them, so that their bytes are in no file of the store.

    What is given adds up: with `missing` and `older_than`, those of the images under the paths that are
    both. The store remembers when and how many, not which.

    Args:
        settings: Which store, and its key.
        paths: Images, and folders for everything below them, whether or not they still exist; none for all.
        missing: Only images whose file is gone while the folder it was found under can be reached.
        older_than: Only images that were first indexed more than this many days ago.
        dry_run: Count, and remove nothing.

    Raises:
        UsageError: Nothing says which images.
        PathNotFoundError: The store has no image at or below one of the paths; nothing was removed.
        StoreNotFoundError: There is no store.
        StoreLockedError: Another process is writing to it.
        StoreWriteError: It cannot be written; run it again to finish.
    """
    if not (paths or missing or older_than is not None):
        raise UsageError("forget needs to know which images: give paths, --missing or --older-than")
    if older_than is not None and older_than < 0:
        raise UsageError(f"--older-than must be 0 days or more, not {older_than:g}")
    store = open_store(settings.store, settings.key_file)
    if dry_run:
        with store.snapshot() as snapshot:
            chosen = _choose(snapshot.images, paths, missing=missing, older_than=older_than)
            return _count(snapshot, chosen, store, dry_run=True)
    with store.writer() as writer:
        images = writer.snapshot.images
        chosen = _choose(images, paths, missing=missing, older_than=older_than)
        result = _count(writer.snapshot, chosen, store, dry_run=False)
        if len(chosen):
            paths_gone = [images.path[row] for row in chosen.tolist()]
            writer.forget_decisions(_contents_gone(writer.snapshot, chosen), paths_gone)
            writer.commit(Batch(removed=tuple(paths_gone)))
            audit = {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "images": result.images,
                "faces": result.faces,
            }
            writer.record({"forgotten": [*writer.snapshot.info.get("forgotten", []), audit]})
        # Even if there is nothing to remove: a run that was killed may have left it in the journal.
        writer.pack()
        unfinished = writer.search_log(bytes(16))
        if unfinished is not None:
            unfinished.remove()
    return result


def pack_store(
    settings: Settings, *, encrypt: bool | None = None, new_key_file: str | None = None
) -> PackResult:
    """Writes a store anew as one file without gaps, encrypted or decrypted if that is wanted.

    Args:
        settings: Which store, and its key.
        encrypt: None leaves it as it is.
        new_key_file: Holds the key it is encrypted with from now on; None keeps the one it has.

    Raises:
        UsageError: A new key for a store that is to be decrypted, or a store that is no HDF5 file.
        WrongKeyError: The store is encrypted or shall be, and the key is missing or another.
        StoreNotFoundError: There is none.
        DamagedStoreError: It is damaged, and stays as it is.
        StoreLockedError: Another process is writing to it.
        StoreWriteError: It cannot be written, and is as it was.
    """
    from facededup.store.hdf5_writer import Hdf5Writer

    if new_key_file is not None and encrypt is False:
        raise UsageError("a store that is decrypted takes no new key: leave --new-key-file or --decrypt out")
    encrypt = True if new_key_file is not None else encrypt
    key = load_key(new_key_file or settings.key_file) if encrypt else None
    if encrypt and key is None:
        raise WrongKeyError("--encrypt needs a key: give one with --key-file FILE or in FACEDEDUP_KEY")
    store = open_store(settings.store, settings.key_file)
    with store.writer() as writer:
        before = store.disk_bytes()
        if encrypt is None:
            writer.pack()
        elif isinstance(writer, Hdf5Writer):
            writer.encrypt(key)
        else:
            raise UsageError(f"the store {store.location!r} is no file: only files are encrypted here")
    return PackResult(store=store.location, bytes_before=before, bytes_after=store.disk_bytes())


def follow_root(settings: Settings, old: str, new: str) -> MoveResult:
    """Gives the images under a folder that was moved or mounted elsewhere their new paths.

    No file is read: one with the recorded size and modification time is taken for the same, any other is
    left to the next `index`.

    Args:
        settings: Which store, and its key.
        old: The folder as the store knows it.
        new: The same folder now.

    Raises:
        PathNotFoundError: `new` is no folder, or the store has no image below `old`.
        StoreNotFoundError: There is no store.
        StoreLockedError: Another process is writing to it.
        StoreWriteError: It cannot be written; run it again to finish.
    """
    old, new = os.path.abspath(old), os.path.abspath(new)
    if not os.path.isdir(new):
        raise PathNotFoundError(f"there is no folder {new!r} that {old!r} could have become")
    store = open_store(settings.store, settings.key_file)
    with store.writer() as writer:
        images = writer.snapshot.images
        rows = list(_below(images.path, os.fsencode(old)))
        if _is_inside(new, old):  # what is below both was moved before
            arrived = set(_below(images.path, os.fsencode(new)))
            rows = [row for row in rows if row not in arrived]
        if not rows:
            roots = ", ".join(sorted({repr(os.fsdecode(root)) for root, _ in images.roots})) or "none"
            raise PathNotFoundError(
                f"the store {store.location!r} has no image below {old!r}; the folders it knows are: {roots}"
            )
        unchanged = 0
        for start in range(0, len(rows), _BATCH_IMAGES):
            moved, records, same = _rename(images, rows[start : start + _BATCH_IMAGES], old, new)
            writer.commit(Batch(moved=moved, images=records))
            unchanged += same
    return MoveResult(store=store.location, old=old, new=new, images=len(rows), unchanged=unchanged)


def _rename(
    images: ImageTable, rows: Sequence[int], old: str, new: str
) -> tuple[tuple[tuple[bytes, bytes], ...], tuple[ImageRecord, ...], int]:
    """What moves some images from one folder to another, and how many of their files look the same."""
    moved, records, unchanged = [], [], 0
    mounts: dict[str, bytes] = {}
    for row in rows:
        path = _moved(os.fsdecode(images.path[row]), old, new)
        root = _moved(os.fsdecode(images.roots[images.root[row]][0]), old, new)
        if root not in mounts:
            mounts[root] = os.fsencode(find_mount(root))
        record = images.record(row)
        known, found = record.stat, _stat(path)
        is_same = found is not None and (found.size, found.mtime_ns) == (known.size, known.mtime_ns)
        unchanged += is_same
        moved.append((images.path[row], os.fsencode(path)))
        records.append(
            replace(
                record,
                path=os.fsencode(path),
                root=os.fsencode(root),
                mount=mounts[root],
                stat=found if found is not None and is_same else known,
            )
        )
    return tuple(moved), tuple(records), unchanged


def _moved(path: str, old: str, new: str) -> str:
    """A path at or below `old` as one below `new`; `new` itself for a root above `old`."""
    return os.path.join(new, os.path.relpath(path, old)) if _is_inside(path, old) and path != old else new


def _is_inside(path: str, folder: str) -> bool:
    """Whether a path is a folder or below it."""
    return os.path.commonpath([path, folder]) == folder


def _stat(path: str) -> FileStat | None:
    try:
        return file_stat(os.stat(path))
    except OSError:
        return None


def _below(paths: Sequence[bytes], folder: bytes) -> Iterator[int]:
    """Rows of the paths at or below a folder."""
    inside = folder.rstrip(b"/") + b"/"
    return (row for row, path in enumerate(paths) if path == folder or path.startswith(inside))


def _choose(
    images: ImageTable, paths: Iterable[str], *, missing: bool, older_than: float | None
) -> NDArray[np.int64]:
    """Rows of the images to forget, ascending."""
    rows = set(range(len(images)))
    given = [os.path.abspath(path) for path in paths]
    if given:
        rows = set()
        for path in given:
            found = set(_below(images.path, os.fsencode(path)))
            if not found:
                raise PathNotFoundError(f"the store has no image at or below {path!r}; nothing was removed")
            rows |= found
    if older_than is not None:
        limit = time.time() - older_than * _SECONDS_A_DAY
        rows = {row for row in rows if images.indexed_at[row] < limit}
    if missing:
        known = KnownImages(images)
        rows = {row for row in rows if known.is_gone(row)}
    return np.array(sorted(rows), np.int64)


def _contents_gone(snapshot: Snapshot, removed: NDArray[np.int64]) -> set[bytes]:
    """Contents that no image has any more once these rows are removed, also those they had long ago."""
    images = snapshot.images
    left = set(range(len(images))).difference(removed.tolist())
    alive = {images.digest[row].tobytes() for row in left}
    paths = {images.path[row] for row in removed.tolist()}
    had = {images.digest[row].tobytes() for row in removed.tolist() if images.digest[row].any()}
    for decision in snapshot.decisions():
        had |= {decision.a.digest} if decision.a_path in paths else set()
        had |= {decision.b.digest} if decision.b_path in paths else set()
    return had - alive


def _count(snapshot: Snapshot, chosen: NDArray[np.int64], store: Store, *, dry_run: bool) -> ForgetResult:
    images, faces = snapshot.images, snapshot.faces
    kept = np.ones(len(images), np.bool_)
    kept[chosen] = False
    holders = np.bincount(images.first[kept], minlength=len(images))
    gone = faces.id[holders[faces.image] == 0]
    pairs = clusters = 0
    findings = snapshot.findings()
    if findings is not None and len(gone):
        for block in pair_blocks(findings):
            pairs += int((np.isin(block.a, gone) | np.isin(block.b, gone)).sum())
        table = findings.clusters
        named = table.numbers[np.isin(table.members, gone)]
        clusters = len(np.unique(named))
    return ForgetResult(
        store=store.location,
        dry_run=dry_run,
        images=len(chosen),
        faces=len(gone),
        pairs=pairs,
        clusters=clusters,
        copies_left=int((holders[images.first[chosen]] > 0).sum()),
        other_files=tuple(store.kept_copies()),
    )
