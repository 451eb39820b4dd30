"""Where a Redis store is: its URL taken apart, connections to it, the names of its keys, errors as sentences.

Every key begins with the prefix in braces, which keeps a store in one slot of a cluster. By name behind it:

    store            hash: format, uuid, fingerprint, epoch, generation, batches, run, log
    info             hash: plain values as JSON
    base:G           hash: everything up to a moment, in chunks; G is the generation
    batches:G        hash: each batch committed since, by number, without embeddings
    vectors:G        hash: embeddings of both, float32, by chunk or number
    findings:R       hash: meta, clusters and pairs in chunks; R is the run
    decisions:L      list: a decision an entry
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from facededup.errors import (
    DamagedStoreError,
    FacededupError,
    JobError,
    StoreWriteError,
    UsageError,
    first_line,
)

DEFAULT_PREFIX = "facededup"
GRACE_SECONDS = 600
"""How long what was replaced can still be read, from the last time that somebody did."""
_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 300
_SECRETS = ("password",)
_CHECK_BYTES = 4


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is.

    Attributes:
        location: Its URL without passwords.
        url: What redis-py connects by, passwords included.
        prefix: Of its keys.
    """

    location: str
    url: str
    prefix: str

    def key(self, *name: object) -> str:
        """The key of a name."""
        return ":".join([f"{{{self.prefix}}}", *map(str, name)])


def parse_address(url: str) -> Address:
    """Takes a URL `redis[s]://[[user]:password@]host[:port][/db][?prefix=NAME&...]` apart.

    Everything but `prefix` is redis-py's: `rediss://` for TLS, `ssl_ca_certs=...`, ...

    Raises:
        UsageError: It is malformed.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    given = parse_qsl(query, keep_blank_values=True)
    prefix = dict(given).get("prefix", DEFAULT_PREFIX)
    others = [(name, value) for name, value in given if name != "prefix"]
    plain = [(name, value) for name, value in given if name not in _SECRETS]
    user, at, host = place.rpartition("@")
    location = f"{scheme}://{user.partition(':')[0]}{at}{host}"
    location += "?" + urlencode(plain, safe="/:", quote_via=quote) if plain else ""
    if not re.fullmatch(r"[\w.:/-]+", prefix):
        raise UsageError(
            f"the URL {location!r} has a prefix that cannot be one of keys: use letters, digits and _ . : / -"
        )
    full = f"{scheme}://{place}" + ("?" + urlencode(others, quote_via=quote) if others else "")
    try:
        redis.ConnectionPool.from_url(full)
        known = bool(re.fullmatch(r"(\[[^\]]+\]|[^:/]+)(:\d+)?(/\d*)?", host))
    except (ValueError, TypeError):
        known = False
    if not known:
        raise UsageError(
            f"the store {location!r} is not a URL that Redis understands: write redis://HOST:PORT/0, "
            "with ?prefix=NAME for more than one store in a database"
        )
    return Address(location, full, prefix)


def writer_name(address: Address, uuid: str) -> str:
    """What the connections of all writers of a store are called at the server, but for the end."""
    return f"facededup:{zlib.crc32(address.prefix.encode()):08x}{uuid[:8]}:"


def own_name(common: str) -> str:
    """What the connections of this writer are called."""
    return f"{common}{os.getpid()}@{socket.gethostname()}:{secrets.token_hex(4)}"


def connect(address: Address, name: str | None = None) -> Any:
    """A client of the server; a writer's connections have a name, by which others see it.

    Raises:
        JobError: The server cannot be reached, or lets us not in.
    """
    client = redis.Redis.from_url(
        address.url,
        socket_connect_timeout=_CONNECT_SECONDS,
        socket_timeout=_ANSWER_SECONDS,
        # A commit whose answer was lost may be there: to send it again could undo it.
        retry=Retry(NoBackoff(), 0),
        client_name=name,
    )
    try:
        client.ping()
    except redis.RedisError as exc:
        client.close()
        raise JobError(
            f"the server of the store {address.location!r} cannot be reached: {first_line(exc)}; "
            "start it, or correct --store"
        ) from exc
    return client


@contextmanager
def speaking(address: Address, *, writing: bool = False) -> Iterator[None]:
    """Turns what redis-py raises into one sentence.

    Raises:
        StoreWriteError: The store cannot be written (when `writing`).
        JobError: It cannot be read.
        DamagedStoreError: Keys hold what is no store's.
    """
    kind, verb, comfort = (
        (StoreWriteError, "written", "; what was committed before is as safe as the server keeps it")
        if writing
        else (JobError, "read", "")
    )
    try:
        yield
    except FacededupError:
        raise
    except (KeyError, ValueError, TypeError) as exc:
        raise damaged(address) from exc
    except redis.RedisError as exc:
        if "WRONGTYPE" in str(exc):
            raise damaged(address) from exc
        raise kind(f"the store {address.location!r} cannot be {verb}: {first_line(exc)}{comfort}") from exc


def damaged(address: Address) -> DamagedStoreError:
    """What is said of keys that hold something else than a sound store."""
    return DamagedStoreError(
        f"the keys {address.prefix!r} of {address.location!r} are damaged, or no store of facededup's; "
        "restore them from the server's backup, or choose another by ?prefix=NAME"
    )


def seal(data: bytes) -> bytes:
    """Data with its CRC-32 behind it."""
    return data + zlib.crc32(data).to_bytes(_CHECK_BYTES, "little")


def unseal(data: bytes | None, address: Address) -> memoryview:
    """What was sealed.

    Raises:
        JobError: It is not there any more.
        DamagedStoreError: It is not what was sealed.
    """
    if data is None:
        raise JobError(
            f"what was being read of the store {address.location!r} is gone: it was packed or emptied more "
            f"than {GRACE_SECONDS // 60} minutes ago, or the server dropped it (see its maxmemory-policy); "
            "run the command again"
        )
    if zlib.crc32(memoryview(data)[:-_CHECK_BYTES]).to_bytes(_CHECK_BYTES, "little") != data[-_CHECK_BYTES:]:
        raise damaged(address)
    return memoryview(data)[:-_CHECK_BYTES]
