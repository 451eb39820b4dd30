"""Jobs and their results in Redis: raw bytes under keys of their own, seen by every machine.

A job is cut into units. Messages of the broker only name a unit; what is to be done in it, who is at it and
what came out lie here. All that a job leaves is deleted with it, or by the server after a week.

    facededup:JOB              what all units share (bytes of `blob.pack`)
    facededup:JOB:units        hash: unit -> its payload
    facededup:JOB:tries        hash: unit -> how often it was begun
    facededup:JOB:lease:UNIT   the worker that is at it; expires unless renewed
    facededup:JOB:ended:UNIT   a word on how it ended, and where the result is
    facededup:JOB:part:UNIT:…  hash: the result in numbered parts
    facededup:JOB:news         list: units that have ended
    facededup:JOB:data:NAME    hash: bytes that many units read, in numbered parts

A command whose answer was lost is sent again, so each is one that may be done twice.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

from facededup.distributed.addresses import without_password
from facededup.errors import JobError, PackageMissingError

PART_BYTES = 8 << 20
"""A Redis server takes values of 512 MB at most, and other clients wait while it does."""

KEPT_SECONDS = 7 * 24 * 3600
LEASE_SECONDS = 10
_PATIENCE = 60
"""Tries, two seconds apart at most, before a server that is gone is given up."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a unit ended.

    Attributes:
        parts: The key of its result, "" where it has none.
        error: What went wrong, "" for nothing.
        fatal: No other try would help: the machine or the request is wrong, not the unit.
    """

    parts: str = ""
    error: str = ""
    fatal: bool = False


class Depot:
    """The Redis server at a URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._redis = _connect(url)

    def check(self) -> None:
        """Whether the server answers, asked once.

        Raises:
            JobError: It does not.
        """
        with self.talking(), _connect(self._url, patience=0) as redis:
            redis.ping()

    def job(self, name: str) -> Job:
        """The job of a name, which need not exist."""
        return Job(self, name)

    @contextmanager
    def talking(self) -> Iterator[Any]:
        """The client, its failures translated."""
        from redis.exceptions import RedisError

        try:
            yield self._redis
        except RedisError as exc:
            place, why = without_password(self._url), str(exc).rstrip(".")
            raise JobError(
                f"the results at {place} cannot be reached: {why}; start that server, or correct "
                f"FACEDEDUP_RESULT_BACKEND (by default it is FACEDEDUP_BROKER_URL)"
            ) from exc


class Job:
    """One job of a depot."""

    def __init__(self, depot: Depot, name: str) -> None:
        self.name = name
        self._depot = depot

    def _key(self, *words: object) -> str:
        return ":".join(("facededup", self.name, *map(str, words)))

    # The coordinator's side.

    def describe(self, description: bytes) -> None:
        """Makes the job known, or known again."""
        with self._depot.talking() as redis:
            redis.set(self._key(), description, ex=KEPT_SECONDS)

    def publish(self, units: Mapping[int, bytes]) -> None:
        """Puts payloads where workers find them."""
        with self._depot.talking() as redis, redis.pipeline() as pipe:
            pipe.hset(self._key("units"), mapping=units)
            for name in ("units", "tries", "news"):
                pipe.expire(self._key(name), KEPT_SECONDS)
            pipe.execute()

    def units(self) -> dict[int, bytes]:
        """All payloads that are not yet forgotten."""
        with self._depot.talking() as redis:
            return {int(unit): payload for unit, payload in redis.hgetall(self._key("units")).items()}

    def wait(self, seconds: float) -> set[int]:
        """Units that have ended; waits for the first of them, at most so long."""
        with self._depot.talking() as redis:
            first = redis.blpop([self._key("news")], seconds)
            if first is None:
                return set()
            more = redis.lpop(self._key("news"), 1024) or []
            return {int(first[1]), *map(int, more)}

    def ended(self, units: Sequence[int]) -> dict[int, Ended]:
        """Those units that have ended, and how."""
        if not units:
            return {}
        with self._depot.talking() as redis:
            words = redis.mget([self._key("ended", unit) for unit in units])
        return {
            unit: Ended(**json.loads(word))
            for unit, word in zip(units, words, strict=True)
            if word is not None
        }

    def standing(self, units: Sequence[int]) -> tuple[dict[int, int], set[int]]:
        """How often each unit was begun, and which are being worked at."""
        if not units:
            return {}, set()
        with self._depot.talking() as redis:
            tries = redis.hmget(self._key("tries"), units)
            leases = redis.mget([self._key("lease", unit) for unit in units])
        begun = {unit: int(count or 0) for unit, count in zip(units, tries, strict=True)}
        return begun, {unit for unit, lease in zip(units, leases, strict=True) if lease is not None}

    def result(self, ended: Ended) -> bytes | None:
        """The bytes a worker put down; None where the server dropped them."""
        with self._depot.talking() as redis:
            parts = redis.hgetall(ended.parts)
        return _whole(parts) if parts else None

    def retract(self, unit: int) -> None:
        """Forgets how a unit ended, so that it can be done again."""
        with self._depot.talking() as redis:
            redis.delete(self._key("ended", unit))

    def settle(self, units: Iterable[int]) -> None:
        """Deletes units and their results."""
        with self._depot.talking() as redis:
            for unit in units:
                word = redis.get(self._key("ended", unit))
                parts = [Ended(**json.loads(word)).parts] if word is not None else []
                with redis.pipeline() as pipe:
                    pipe.hdel(self._key("units"), unit)
                    pipe.hdel(self._key("tries"), unit)
                    pipe.delete(self._key("ended", unit), *filter(None, parts))
                    pipe.execute()

    def delete(self) -> None:
        """Deletes the job and all that belongs to it."""
        self.settle(self.units())
        with self._depot.talking() as redis:
            data = redis.smembers(self._key("data"))
            names = [self._key(word) for word in ("units", "tries", "news", "data")]
            redis.delete(self._key(), *names, *data)

    # Both sides.

    def description(self) -> bytes | None:
        """What all units share; None where there is no such job (any more)."""
        with self._depot.talking() as redis:
            found: bytes | None = redis.get(self._key())
            return found

    def put(self, name: str, data: bytes) -> None:
        """Keeps bytes that many units read."""
        key = self._key("data", name)
        with self._depot.talking() as redis:
            with redis.pipeline() as pipe:
                pipe.sadd(self._key("data"), key)
                pipe.expire(self._key("data"), KEPT_SECONDS)
                pipe.execute()
            _put(redis, key, data)

    def get(self, name: str) -> bytes | None:
        """Bytes kept by `put`, None for none."""
        with self._depot.talking() as redis:
            parts = redis.hgetall(self._key("data", name))
        return _whole(parts) if parts else None

    # The workers' side.

    def begin(self, unit: int, worker: str) -> bytes | None:
        """Takes a unit on: its payload, None where it is done, being done, or not wanted any more."""
        with self._depot.talking() as redis:
            if redis.exists(self._key("ended", unit)):
                return None
            if not redis.set(self._key("lease", unit), worker, nx=True, ex=LEASE_SECONDS):
                return None
            payload: bytes | None = redis.hget(self._key("units"), unit)
            if payload is None:
                redis.delete(self._key("lease", unit))
                return None
            with redis.pipeline() as pipe:
                pipe.hincrby(self._key("tries"), unit, 1)
                pipe.expire(self._key("tries"), KEPT_SECONDS)
                pipe.execute()
            return payload

    def renew(self, units: Iterable[int]) -> None:
        """Says that units are still being worked at."""
        with self._depot.talking() as redis:
            for unit in units:
                redis.expire(self._key("lease", unit), LEASE_SECONDS)

    def finish(self, unit: int, data: bytes) -> None:
        """Puts a result down and tells the coordinator; of two results of one unit the first counts."""
        parts = self._key("part", unit, uuid.uuid4().hex[:12])
        with self._depot.talking() as redis:
            _put(redis, parts, data)
            if not self._end(redis, unit, {"parts": parts}):
                redis.delete(parts)

    def fail(self, unit: int, error: str, *, fatal: bool) -> None:
        """Tells the coordinator what went wrong."""
        with self._depot.talking() as redis:
            self._end(redis, unit, {"error": error, "fatal": fatal})

    def _end(self, redis: Any, unit: int, word: dict[str, Any]) -> bool:
        """Whether this is the word that counts."""
        key, text = self._key("ended", unit), json.dumps(word).encode()
        # Sent again, as its answer was lost, it finds itself there.
        counts = redis.set(key, text, nx=True, ex=KEPT_SECONDS) or redis.get(key) == text
        with redis.pipeline() as pipe:
            pipe.delete(self._key("lease", unit))
            pipe.rpush(self._key("news"), unit)
            pipe.expire(self._key("news"), KEPT_SECONDS)
            pipe.execute()
        return bool(counts)


def _put(redis: Any, key: str, data: bytes) -> None:
    for number, start in enumerate(range(0, len(data), PART_BYTES)):
        with redis.pipeline() as pipe:
            pipe.hset(key, number, data[start : start + PART_BYTES])
            pipe.expire(key, KEPT_SECONDS)
            pipe.execute()


def _whole(parts: Mapping[bytes, bytes]) -> bytes:
    return b"".join(parts[number] for number in sorted(parts, key=int))


@cache
def open_depot(url: str) -> Depot:
    """The depot at a URL, one client a process.

    Raises:
        PackageMissingError: The `redis` package is not installed.
        JobError: The URL is not one.
    """
    return Depot(url)


def _connect(url: str, patience: int = _PATIENCE) -> Any:
    try:
        import redis
        from redis.backoff import ExponentialBackoff
        from redis.exceptions import BusyLoadingError, ConnectionError, TimeoutError  # noqa: A004
        from redis.retry import Retry
    except ImportError as exc:
        raise PackageMissingError("a queue needs Redis: run pip install 'facededup[queue]'") from exc
    try:
        return redis.Redis.from_url(
            url,
            socket_keepalive=True,
            socket_connect_timeout=10,
            socket_timeout=60,
            health_check_interval=30,
            retry=Retry(ExponentialBackoff(cap=2, base=0.05), patience),
            retry_on_error=[BusyLoadingError, ConnectionError, TimeoutError],
        )
    except ValueError as exc:
        raise JobError(f"{without_password(url)} is no address of a Redis server: {exc}") from exc
