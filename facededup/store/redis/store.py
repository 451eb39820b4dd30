"""The store in a Redis or Valkey server; see `base.Store`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from facededup.errors import JobError
from facededup.store.base import Fingerprint, Repair, refuse_unfinished
from facededup.store.integrity import look_through
from facededup.store.redis.server import Address, connect, parse_address, speaking
from facededup.store.redis.snapshot import RedisSnapshot
from facededup.store.redis.writer import RedisWriter


class RedisStore:
    """A store under a prefix of keys of a Redis or Valkey server; see `base.Store`.

    Args:
        url: As `server.parse_address` takes it.

    Raises:
        UsageError: The URL is malformed.
    """

    def __init__(self, url: str) -> None:
        self._address: Address = parse_address(url)

    @property
    def location(self) -> str:
        """See `base.Store`."""
        return self._address.location

    def exists(self) -> bool:
        """See `base.Store`.

        Raises:
            JobError: The server cannot be reached.
        """
        with connect(self._address) as client, speaking(self._address):
            return bool(client.exists(self._address.key("store")))

    def snapshot(self, *, unfinished: bool = False) -> RedisSnapshot:
        """See `base.Store`."""
        snapshot = RedisSnapshot(self._address)
        if not unfinished:
            refuse_unfinished(snapshot, snapshot, self.location)
        return snapshot

    def writer(self, fingerprint: Fingerprint | None = None, *, reset: bool = False) -> RedisWriter:
        """See `base.Store`; several may write at once, but nobody else during a reset."""
        writer = RedisWriter(self._address, fingerprint, reset=reset)
        refuse_unfinished(writer.snapshot, writer, self.location)
        return writer

    def disk_bytes(self) -> int:
        """See `base.Store`; for Redis, bytes of memory."""
        with connect(self._address) as client, speaking(self._address):
            keys = list(client.scan_iter(match=self._address.key("*"), count=1000))
            return sum(client.memory_usage(key, samples=0) or 0 for key in keys)

    def kept_copies(self) -> list[str]:
        """See `base.Store`; a server's store has none."""
        return []

    def describe(self) -> dict[str, str]:
        """See `base.Store`."""
        with connect(self._address) as client, speaking(self._address):
            info = client.info()
            settings = _settings(client)
        name = "Valkey" if "valkey_version" in info else "Redis"
        version = info.get("valkey_version") or info["redis_version"]
        return {"server": f"{name} {version}", "durability": _durability(info, settings)}

    def check(self) -> list[str]:
        """See `base.Store`."""
        return look_through(self.snapshot)

    def repair(self) -> Repair:
        """See `base.Store`.

        Raises:
            JobError: Always: it is the server that keeps copies of what it stores.
        """
        raise JobError(
            f"the store {self.location!r} is kept by Redis: restore the server's dump or append-only file "
            "from a backup, or copy what is intact with `facededup store copy` and index the rest again"
        )


def _settings(client: Any) -> dict[str, str]:
    """What the server says of its persistence; nothing where it refuses to."""
    import redis

    try:
        return dict(client.config_get("append*", "save", "maxmemory-policy"))
    except redis.ResponseError:
        return {}


def _durability(info: dict[str, Any], settings: dict[str, str]) -> str:
    """How much a power loss can cost, in a sentence."""
    saved = datetime.fromtimestamp(info["rdb_last_save_time"], UTC).isoformat(timespec="seconds")
    if info["aof_enabled"]:
        costs = {
            "always": "nothing",
            "everysec": "the last second or two",
            "no": "what the system has not flushed",
        }
        cost = costs.get(settings.get("appendfsync", ""), "as much as its appendfsync allows")
        text = f"append-only file: a power loss costs {cost}"
    elif settings.get("save") or (not settings and info.get("rdb_changes_since_last_save") == 0):
        text = f"snapshots: a power loss costs all since the last one ({saved})"
    elif settings:
        text = "none: what is stored is gone when the server ends"
    else:
        text = f"no append-only file; the last snapshot is of {saved}"
    if not settings:
        text += " (CONFIG is refused, so there may be more to it)"
    policy = settings.get("maxmemory-policy", "noeviction")
    if policy.startswith(("allkeys", "volatile")):
        text += f"; its maxmemory-policy {policy} may drop parts of the store: use noeviction"
    return text
