"""Findings in Redis: a hash of their own, which one step makes those of the store."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from facededup.errors import StoreWriteError
from facededup.store.base import ClusterTable, PairBlock
from facededup.store.journal import pack_arrays, unpack_arrays
from facededup.store.pairbuffer import PairBuffer
from facededup.store.redis import scripts
from facededup.store.redis.server import GRACE_SECONDS, Address, connect, seal, speaking, unseal

CHUNK_PAIRS = 1 << 16
_UNFINISHED_SECONDS = 7 * 86_400
"""After which pairs of a search that died are dropped by the server."""
_PAIR_COLUMNS = ("a", "b", "cosine", "new")
_CLUSTER_COLUMNS = ("offsets", "members", "min_cosine", "new", "mean_cosine", "medoid", "bridge")

Read = Callable[[str, Sequence[object]], list[bytes | None]]
"""`RedisSnapshot._read`."""


class RedisFindings:
    """The findings of a snapshot; see `base.Findings`.

    Args:
        address: Of the store.
        run: Whose they are.
        read: Of the snapshot.
    """

    def __init__(self, address: Address, run: str, read: Read) -> None:
        self._address = address
        self._name = f"findings:{run}"
        self._read = read
        (head,) = read(self._name, ["head"])
        with speaking(address):
            self._head: dict[str, Any] = json.loads(bytes(unseal(head, address)))

    @property
    def meta(self) -> Mapping[str, Any]:
        """See `base.Findings`."""
        meta: Mapping[str, Any] = self._head["meta"]
        return meta

    @property
    def pair_count(self) -> int:
        """See `base.Findings`."""
        return int(self._head["pairs"])

    def pairs(self, start: int, stop: int) -> PairBlock:
        """See `base.Findings`."""
        stop = min(stop, self.pair_count)
        first = start // CHUNK_PAIRS
        numbers = range(first, -(-stop // CHUNK_PAIRS))
        chunks = self._read(self._name, list(numbers)) if start < stop else []
        with speaking(self._address):
            block = join(unpack_arrays(unseal(chunk, self._address)) for chunk in chunks)
        begin, end = start - first * CHUNK_PAIRS, stop - first * CHUNK_PAIRS
        return PairBlock(*(getattr(block, name)[begin:end] for name in _PAIR_COLUMNS))

    @cached_property
    def clusters(self) -> ClusterTable:
        """See `base.Findings`."""
        (data,) = self._read(self._name, ["clusters"])
        with speaking(self._address):
            arrays = unpack_arrays(unseal(data, self._address))
            keys = [key.decode("ascii") for key in arrays.pop("key").tolist()]
            return ClusterTable(key=keys, **arrays)


class RedisFindingsWriter:
    """Streams pairs into a hash that `finish` makes the store's; see `base.FindingsWriter`.

    Args:
        address: Of the store.
        epoch: Of the writer.

    Raises:
        StoreWriteError: The server cannot be written to.
    """

    def __init__(self, address: Address, epoch: str) -> None:
        self._address = address
        self._epoch = epoch
        self._client = connect(address)
        try:
            with speaking(address, writing=True):
                self._run = str(self._client.incr(address.key("runs")))
        except BaseException:
            self._client.close()
            raise
        self._key = address.key("findings", self._run)
        self._buffer = PairBuffer()
        self._chunks = 0
        self._finished = False

    def append(self, block: PairBlock) -> None:
        """See `base.FindingsWriter`."""
        self._buffer.add(block)
        while len(self._buffer) >= CHUNK_PAIRS:
            self._spill()

    def chunks(self) -> Iterator[PairBlock]:
        """See `base.FindingsWriter`."""
        for number in range(self._chunks):
            with speaking(self._address):
                data = self._client.hget(self._key, number)
                block = join([unpack_arrays(unseal(data, self._address))])
            yield block
        if len(self._buffer):
            yield self._buffer.peek()

    def finish(self, meta: Mapping[str, Any], clusters: ClusterTable) -> None:
        """See `base.FindingsWriter`."""
        pairs = self._chunks * CHUNK_PAIRS + len(self._buffer)
        if len(self._buffer):
            self._spill()
        arrays = {"key": np.array(clusters.key, "S12")}
        for name in _CLUSTER_COLUMNS:
            column = getattr(clusters, name)
            if column is not None:
                arrays[name] = column
        head = json.dumps({"meta": dict(meta), "pairs": pairs}).encode()
        self._write({"head": seal(head), "clusters": seal(pack_arrays(arrays))})
        with speaking(self._address, writing=True):
            show(self._client, self._address, self._epoch, self._run)
        self._finished = True
        self.abandon()

    def abandon(self) -> None:
        """Leaves no trace, unless it was finished."""
        try:
            with speaking(self._address, writing=True):
                if not self._finished:
                    self._client.unlink(self._key)
        finally:
            self._client.close()

    def _spill(self) -> None:
        """Writes one chunk."""
        block = self._buffer.take(CHUNK_PAIRS)
        self._write({str(self._chunks): seal(pack_arrays({n: getattr(block, n) for n in _PAIR_COLUMNS}))})
        self._chunks += 1

    def _write(self, fields: Mapping[str, bytes]) -> None:
        with speaking(self._address, writing=True):
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hset(self._key, mapping=dict(fields))
                pipeline.expire(self._key, _UNFINISHED_SECONDS)
                pipeline.execute()


def show(client: Any, address: Address, epoch: str, run: str) -> None:
    """Makes the findings of a run the store's; "" for none.

    Raises:
        StoreWriteError: The store was emptied since the writer opened it.
    """
    done = client.eval(scripts.FINISH, 1, address.key("store"), address.key(), epoch, GRACE_SECONDS, run)
    if done < 0:
        raise emptied(address)


def emptied(address: Address) -> StoreWriteError:
    """What a writer is told whose store was reset under it."""
    return StoreWriteError(
        f"the store {address.location!r} was emptied by another process meanwhile; run the command again"
    )


def join(chunks: Any) -> PairBlock:
    """Chunks as one block."""
    parts = [{name: chunk[name] for name in _PAIR_COLUMNS} for chunk in chunks]
    if not parts:
        none = np.empty(0, np.int64)
        return PairBlock(none, none, np.empty(0), np.empty(0, np.bool_))
    return PairBlock(*(np.concatenate([part[name] for part in parts]) for name in _PAIR_COLUMNS))
