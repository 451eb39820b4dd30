"""What is in a store, and what keeps it sound, small and where it should be."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from facededup.progress import Progress, SilentProgress
from facededup.results import (
    CopyResult,
    ForgetResult,
    MoveResult,
    PackResult,
    StoreStatus,
    VerifyResult,
)
from facededup.settings import Settings, chosen_settings


def store_status(*, settings: Settings | None = None, **options: Any) -> StoreStatus:
    """What is in a store: counts by outcome, what made it, its size, the last run.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: The store is damaged, or is no store.
    """
    from facededup.counting import describe_store

    return describe_store(chosen_settings(settings, options))


def verify(*, repair: bool = False, settings: Settings | None = None, **options: Any) -> VerifyResult:
    """Checks a store end to end: every record, checksum, count, shape, norm and cross-reference.

    Args:
        repair: Put what is intact in the place of a damaged store, which is kept under another name.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`, e.g. `store="people.h5"`; they go before `settings`.

    Returns:
        The problems; damage does not raise.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: A repair is wanted, and nothing can be kept.
    """
    from facededup.maintenance import verify_store

    return verify_store(chosen_settings(settings, options), repair=repair)


def forget(
    paths: Sequence[str | os.PathLike[str]] = (),
    *,
    missing: bool = False,
    older_than: float | None = None,
    dry_run: bool = False,
    settings: Settings | None = None,
    **options: Any,
) -> ForgetResult:
    """Removes images and all that was derived from them; their bytes are in no file of the store afterwards.

    Args:
        paths: Images, and folders for everything below them; none for the whole store.
        missing: Only images whose file was deleted.
        older_than: Only images that were first indexed more than this many days ago.
        dry_run: Count, and remove nothing.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: Nothing says which images.
        PathNotFoundError: The store has no image at or below a path; nothing was removed.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import forget_images

    return forget_images(
        chosen_settings(settings, options),
        [os.fsdecode(path) for path in paths],
        missing=missing,
        older_than=older_than,
        dry_run=dry_run,
    )


def pack(
    *,
    encrypt: bool | None = None,
    new_key_file: str | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> PackResult:
    """Writes a store anew as one file, without what was removed.

    Args:
        encrypt: True encrypts the store, or encrypts it anew; False decrypts it; None leaves it as it is.
            Whether a new store is encrypted, which `index` asks of the settings, has no say here.
        new_key_file: Holds the key it is encrypted with from now on; by default the one that opens it.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: A new key for a store that is to be decrypted, or a store that is no HDF5 file.
        WrongKeyError: The store is encrypted or shall be, and the key is missing or another.
        StoreNotFoundError: There is no store.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import pack_store

    return pack_store(chosen_settings(settings, options), encrypt=encrypt, new_key_file=new_key_file)


def copy_store(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    reset: bool = False,
    key_file: str | None = None,
    progress: Progress | None = None,
) -> CopyResult:
    """Copies a store into another of any kind: file, PostgreSQL or Redis; and compares what arrived.

    Args:
        source: Path or URL of the store to be read.
        target: Path or URL of the store to be made.
        reset: Replace a store that is there.
        key_file: Holds the key of an encrypted source; a file made of it is encrypted with the same. In a
            server its contents are not encrypted.
        progress: Receives the advance.

    Raises:
        UsageError: There is a store at the target and no `reset`, or it has decisions of its own.
        StoreNotFoundError: There is no store at the source.
        JobError: What arrived differs.

    Example:
        >>> facededup.copy_store("people.h5", "postgresql://db.example/registry")  # doctest: +SKIP
    """
    from facededup.copying import copy_stores

    return copy_stores(
        os.fsdecode(source),
        os.fsdecode(target),
        reset=reset,
        key_file=key_file,
        progress=progress or SilentProgress(),
    )


def move_root(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    **options: Any,
) -> MoveResult:
    """Gives the images under a folder that was moved or mounted elsewhere their new paths; reads no file.

    Args:
        old: The folder as the store knows it.
        new: The same folder now.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        PathNotFoundError: `new` is no folder, or the store has no image below `old`.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.maintenance import follow_root

    return follow_root(chosen_settings(settings, options), os.fsdecode(old), os.fsdecode(new))
