"""From what `--store` names to a store."""

from __future__ import annotations

from facededup.errors import UsageError
from facededup.store.base import Store


def open_store(location: str) -> Store:
    """The store at a path; nothing is opened or locked yet.

    Raises:
        UsageError: The location is a URL; this version keeps stores in HDF5 files only.
    """
    scheme, mark, _ = location.partition("://")
    if mark and scheme.replace("+", "").isalnum():
        raise UsageError(
            f"a store at {scheme}:// is not supported: this version keeps stores in HDF5 files; give a path"
        )
    if not location:
        raise UsageError("the store has an empty name; give the path of a file such as facededup.h5")
    from facededup.store.hdf5 import Hdf5Store

    return Hdf5Store(location)
