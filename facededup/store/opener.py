"""From what `--store` names to a store."""

from __future__ import annotations

import importlib.util
import os

from facededup.errors import UsageError
from facededup.store.base import Store
from facededup.store.crypto import load_key

_DRIVERS = {
    "postgresql": ("psycopg", "postgres"),
    "postgres": ("psycopg", "postgres"),
    "redis": ("redis", "redis"),
    "rediss": ("redis", "redis"),
}
"""The package that talks to a server, and the extra it comes with, by scheme."""


def open_store(location: str, key_file: str | None = None, *, encrypt: bool | None = None) -> Store:
    """The store at a path or URL; nothing is opened or locked yet.

    Args:
        location: The path.
        key_file: Holds the key of an encrypted store; without one, FACEDEDUP_KEY in the environment does.
        encrypt: Whether a new store is encrypted; see `hdf5.Hdf5Store`.

    Raises:
        PathNotFoundError: There is no such key file.
        UsageError: The URL is malformed, no store is kept under its scheme, its driver is not installed, or
            it shall be encrypted.
    """
    if not location:
        raise UsageError("the store has an empty name; give the path of a file such as facededup.h5")
    if not is_url(location):
        from facededup.store.hdf5 import Hdf5Store

        return Hdf5Store(location, load_key(key_file), encrypt=encrypt)
    scheme = location.partition("://")[0].lower()
    if scheme not in _DRIVERS:
        raise UsageError(
            f"a store at {scheme}:// is not supported: give the path of a file, or a postgresql://, redis:// "
            "or rediss:// URL"
        )
    if encrypt:
        raise UsageError(
            f"--encrypt is for files: a store at {scheme}:// is encrypted by its server, if at all"
        )
    package, extra = _DRIVERS[scheme]
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            f"a store at {scheme}:// needs the package {package}: pip install 'facededup[{extra}]'"
        )
    if package == "psycopg":
        from facededup.store.postgres.store import PostgresStore

        return PostgresStore(location)
    from facededup.store.redis.store import RedisStore

    return RedisStore(location)


def is_url(location: str) -> bool:
    """Whether a location is a server's, not a path."""
    scheme, mark, _ = location.partition("://")
    return bool(mark) and scheme.replace("+", "").isalnum()


def same_place(a: str, b: str) -> bool:
    """Whether two locations are those of one store, as far as their names tell."""
    if is_url(a) or is_url(b):
        return a == b
    return os.path.realpath(a) == os.path.realpath(b)
