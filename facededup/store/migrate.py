"""Older formats of the store's file, brought to today's in one atomic step."""

from __future__ import annotations

from collections.abc import Callable

import h5py

from facededup.store.base import FORMAT
from facededup.store.basefile import new_file, opened, reading
from facededup.store.crypto import Key
from facededup.store.files import writing
from facededup.store.sealed import new_target

MIGRATIONS: dict[int, Callable[[h5py.File], None]] = {}
"""By format: what turns a file of it, open for writing, into one of the next. So far there is one format."""


def upgrade(path: str, key: Key | None) -> None:
    """Replaces a file of an older format by one of today's; any other is left alone.

    The journal stays: it extends the new file as it did the old one.

    Args:
        path: Of the file.
        key: Of an encrypted one.

    Raises:
        WrongKeyError: The store is encrypted, and the key is missing or another.
        DamagedStoreError: The file is damaged, or no store.
        StoreWriteError: The new file cannot be written; the old one is untouched.
    """
    with opened(path, key) as (old, store_key), reading(path):
        version = int(old.attrs["format"])
    if version >= FORMAT:
        return
    with writing(path):
        target = new_target(path + ".new", path, store_key)
    try:
        with opened(path, key) as (old, _), reading(path):
            with target.filling(path), new_file(target) as new:
                for name, value in old.attrs.items():
                    new.attrs[name] = value
                for name in old:
                    old.copy(name, new)
                for step in range(version, FORMAT):
                    MIGRATIONS[step](new)
                new.attrs["format"] = FORMAT
        with writing(path):
            target.publish()
    finally:
        target.abandon()
