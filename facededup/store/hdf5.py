"""The default store: one immutable HDF5 file and the journal of what was committed since it was written."""

from __future__ import annotations

import os
from contextlib import suppress
from glob import escape, glob

from facededup.store.base import Fingerprint, Repair, refuse_unfinished
from facededup.store.basefile import refuse_unreadable
from facededup.store.crypto import Key
from facededup.store.hdf5_snapshot import Hdf5Snapshot
from facededup.store.hdf5_writer import Hdf5Writer
from facededup.store.integrity import look_through
from facededup.store.searchlog import ENDING


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
