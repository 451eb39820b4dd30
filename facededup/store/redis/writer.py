"""Writes to a store in Redis. Each commit is one script; any number of writers may be at work.

A batch becomes the next entry of a log that all agree on, and what it does to the tables follows from the
log: so ids ascend in the order of commits, and what two writers did twice counts once.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from facededup.errors import JobError, StoreLockedError, StoreWriteError
from facededup.store.base import Batch, Fingerprint
from facededup.store.closing import ClosingWriter
from facededup.store.decisions import decision_columns, forget, pack_forgotten
from facededup.store.journal import pack_arrays
from facededup.store.living import living_clusters, living_pairs
from facededup.store.redis import chunks, scripts
from facededup.store.redis.create import create, header, now
from facededup.store.redis.findings import RedisFindingsWriter, emptied, show
from facededup.store.redis.server import (
    GRACE_SECONDS,
    Address,
    connect,
    own_name,
    seal,
    speaking,
    writer_name,
)
from facededup.store.redis.snapshot import RedisSnapshot, State, read_state
from facededup.store.tables import batch_arrays
from facededup.types import Decision

_ATTEMPTS = 5
_UNFINISHED_SECONDS = 86_400
"""After which the tables of a `pack` that died are dropped by the server."""
_MANY_BATCHES = 256
"""Batches from which a writer folds them into the tables when it closes."""


class RedisWriter(ClosingWriter):
    """See `base.Writer`. Made by `RedisStore.writer`, which documents the arguments and errors."""

    def __init__(self, address: Address, fingerprint: Fingerprint | None, *, reset: bool) -> None:
        self._address = address
        self._findings: RedisFindingsWriter | None = None
        self._closed = False
        probe = connect(address)
        try:
            if fingerprint is not None:
                create(probe, address, fingerprint)
            self._name = writer_name(address, read_state(probe, address).uuid)
        finally:
            probe.close()
        self._own_name = own_name(self._name)
        self._client = connect(address, self._own_name)
        try:
            if reset:
                self._empty(fingerprint)
            self._snapshot = RedisSnapshot(address)
        except BaseException:
            self._client.close()
            raise
        self._epoch = self._snapshot.state.epoch

    @property
    def snapshot(self) -> RedisSnapshot:
        """See `base.Writer`."""
        return self._snapshot

    def commit(self, batch: Batch) -> None:
        """See `base.Writer`.

        Raises:
            StoreWriteError: The batch could not be written; all batches before are as safe as the server
                keeps them.
            ValueError: The batch breaks a rule of `Batch`.
        """
        if batch.is_empty:
            return
        arrays = batch_arrays(batch, self._snapshot.fingerprint.dimension)
        vectors = arrays.pop("embeddings").tobytes()
        with speaking(self._address, writing=True):
            done = self._client.eval(
                scripts.COMMIT,
                1,
                self._address.key("store"),
                self._address.key(),
                self._epoch,
                seal(pack_arrays(arrays)),
                seal(vectors) if vectors else b"",
            )
        if done < 0:
            raise emptied(self._address)

    def record(self, info: Mapping[str, Any]) -> None:
        """See `base.Writer`."""
        with speaking(self._address, writing=True):
            fields = {name: json.dumps(value) for name, value in info.items()}
            self._client.hset(self._address.key("info"), mapping=fields)

    def append_decisions(self, decisions: Sequence[Decision]) -> None:
        """See `base.Writer`."""
        if not decisions:
            return
        entry = seal(pack_arrays(decision_columns(decisions)))
        with speaking(self._address, writing=True):
            self._client.eval(scripts.APPEND, 1, self._address.key("store"), self._address.key(), entry)

    def forget_decisions(self, contents: Collection[bytes], paths: Collection[bytes]) -> None:
        """See `base.Writer`."""
        payload = pack_forgotten(contents, paths)
        for _ in range(_ATTEMPTS):
            with RedisSnapshot(self._address) as now_there:
                found = now_there.decisions()
                state = now_there.state
            left = forget(found, payload)
            if tuple(left) == found:
                return
            entry = seal(pack_arrays(decision_columns(left))) if left else b""
            with speaking(self._address, writing=True):
                new = self._client.incr(self._address.key("logs"))
                if self._client.eval(
                    scripts.REPLACE,
                    1,
                    self._address.key("store"),
                    self._address.key(),
                    GRACE_SECONDS,
                    state.log,
                    state.decisions,
                    f"{new}",
                    entry,
                ):
                    return
        raise self._outrun()

    def write_findings(self) -> RedisFindingsWriter:
        """See `base.Writer`."""
        self._abandon_findings()
        self._findings = RedisFindingsWriter(self._address, self._epoch)
        return self._findings

    def drop_findings(self) -> None:
        """See `base.Writer`."""
        with speaking(self._address, writing=True):
            show(self._client, self._address, self._epoch, "")

    def search_log(self, key: bytes) -> None:
        """See `base.Writer`; a search that was killed starts over."""

    def pack(self) -> None:
        """Folds all batches into the tables; see `base.Writer`.

        Raises:
            StoreLockedError: Another process is writing.
        """
        self._abandon_findings()
        self._refuse_others()
        for _ in range(_ATTEMPTS):
            if self._fold():
                break
        else:
            raise self._outrun()
        with RedisSnapshot(self._address) as now_there:
            findings = now_there.findings()
            if findings is None:
                return
            ids = now_there.faces.id
            clusters = living_clusters(findings.clusters, ids)
            pairs = sum(map(len, living_pairs(findings, ids)))
            if (pairs, len(clusters)) == (findings.pair_count, len(findings.clusters)):
                return
            writer = self.write_findings()
            for block in living_pairs(findings, ids):
                writer.append(block)
            writer.finish(findings.meta, clusters)

    def close(self) -> None:
        """Ends the writer; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._abandon_findings()
            state = read_state(self._client, self._address)
            if state.batches >= _MANY_BATCHES and self._others() == []:
                self._fold()
        finally:
            self._snapshot.close()
            self._client.close()

    def _fold(self) -> bool:
        """Writes the tables as they are now, and no batches; False if somebody committed meanwhile."""
        with RedisSnapshot(self._address) as now_there:
            images, faces = now_there.images, now_there.faces
            fields = {
                "header": seal(header(now_there.next_image_id, now_there.next_face_id, images, faces)),
                "roots": seal(chunks.pack_roots(images)),
            }
            new = self._new_generation(fields)
            for name, parts in (
                ("images", chunks.image_chunks(images)),
                ("faces", chunks.face_chunks(faces)),
            ):
                for k, part in enumerate(parts):
                    self._put("base", new, f"{name}:{k}", part)
            for k, rows in enumerate(chunks.slices(len(faces))):
                self._put("vectors", new, f"b{k}", now_there.embeddings(rows.start, rows.stop).tobytes())
            return self._switch(now_there.state, new, scripts.SWITCH)

    def _empty(self, fingerprint: Fingerprint | None) -> None:
        """Drops all but decisions; ids go on."""
        self._refuse_others()
        for _ in range(_ATTEMPTS):
            with RedisSnapshot(self._address) as old:
                made_by = fingerprint or old.fingerprint
                new = self._new_generation({"header": seal(header(old.next_image_id, old.next_face_id))})
                if self._switch(
                    old.state, new, scripts.EMPTY, json.dumps(made_by.to_dict()), json.dumps(now())
                ):
                    return
        raise self._outrun()

    def _new_generation(self, fields: Mapping[str, bytes]) -> int:
        with speaking(self._address, writing=True):
            new = int(self._client.incr(self._address.key("generations")))
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hset(self._address.key("base", new), mapping=dict(fields))
                pipeline.expire(self._address.key("base", new), _UNFINISHED_SECONDS)
                pipeline.execute()
        return new

    def _put(self, name: str, generation: int, field: str, data: bytes) -> None:
        key = self._address.key(name, generation)
        with speaking(self._address, writing=True):
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hset(key, field, seal(data))
                pipeline.expire(key, _UNFINISHED_SECONDS)
                pipeline.execute()

    def _switch(self, old: State, new: int, script: str, *changes: str) -> bool:
        """Makes a generation the store's; False if somebody committed since the old one was read."""
        with speaking(self._address, writing=True):
            done = self._client.eval(
                script,
                1,
                self._address.key("store"),
                self._address.key(),
                old.epoch,
                GRACE_SECONDS,
                old.generation,
                old.batches,
                new,
                *changes,
            )
            if done != 1:
                for name in ("base", "vectors"):
                    self._client.unlink(self._address.key(name, new))
        if done < 0:
            raise emptied(self._address)
        return bool(done)

    def _refuse_others(self) -> None:
        others = self._others()
        if others:
            raise StoreLockedError(
                f"the store {self._address.location!r} is being written by process {others[0]}, and this "
                "step takes it alone: wait until that is done"
            )

    def _others(self) -> list[str] | None:
        """The other writers as pid@host; None where the server does not tell."""
        try:
            with speaking(self._address):
                clients = self._client.client_list()
        except JobError:
            return None
        return [
            client["name"].removeprefix(self._name).rpartition(":")[0]
            for client in clients
            if client["name"].startswith(self._name) and client["name"] != self._own_name
        ]

    def _outrun(self) -> StoreWriteError:
        return StoreWriteError(
            f"the store {self._address.location!r} is written by others faster than it can be packed: "
            "try again when they are done"
        )

    def _abandon_findings(self) -> None:
        if self._findings is not None:
            self._findings.abandon()
            self._findings = None
