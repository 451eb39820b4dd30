"""Older formats of the store's file, brought to today's in one atomic step."""

from __future__ import annotations

from collections.abc import Callable

import h5py

from facededup.store.base import FORMAT
from facededup.store.basefile import new_file, reading
from facededup.store.files import NewFile, writing

MIGRATIONS: dict[int, Callable[[h5py.File], None]] = {}
"""By format: what turns a file of it, open for writing, into one of the next. So far there is one format."""


def upgrade(path: str) -> None:
    """Replaces a file of an older format by one of today's; any other is left alone.

    The journal stays: it extends the new file as it did the old one.

    Raises:
        DamagedStoreError: The file is damaged, or no store.
        StoreWriteError: The new file cannot be written; the old one is untouched.
    """
    with reading(path), h5py.File(path, "r", locking=False) as old:
        version = int(old.attrs["format"])
    if version >= FORMAT:
        return
    with writing(path):
        target = NewFile(path + ".new", path)
    try:
        with reading(path), h5py.File(path, "r", locking=False) as old:
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
