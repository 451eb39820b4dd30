"""Writes to a store in PostgreSQL. Each commit is one transaction; any number of writers may be at work.

Commits follow each other, for they hold the row of the table `facededup` from the moment they give ids:
so ids ascend in the order in which commits show, which is what lets `find` go on from where it stopped.
Every writer shares an advisory lock; a step that no other may be in the midst of (reset, pack, dropping
contents) takes it alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import psycopg

from facededup.errors import StoreLockedError
from facededup.store.base import DIGEST_BYTES, Batch, Fingerprint
from facededup.store.closing import ClosingWriter
from facededup.store.decisions import decision_columns
from facededup.store.living import living_clusters, living_pairs
from facededup.store.postgres import schema
from facededup.store.postgres.findings import PostgresFindingsWriter, copy_in, drop
from facededup.store.postgres.plan import Known, Plan, named_paths, plan_images
from facededup.store.postgres.server import Address, connect, speaking
from facededup.store.postgres.snapshot import PostgresSnapshot
from facededup.store.tables import FACE_COLUMNS, IMAGE_COLUMNS, batch_arrays, encode_text
from facededup.types import Array, Decision

INDEX_FROM = 100_000
"""Faces from which `pack` makes a vector index: below, reading them all takes a tenth of a second."""
_PATIENCE = "2s"
"""How long `pack` waits for readers before it leaves the files as large as they are, and a reset gives up. A
server calls a vacuum of its own off after the first second (`deadlock_timeout`)."""


class PostgresWriter(ClosingWriter):
    """See `base.Writer`. Made by `PostgresStore.writer`, which documents the arguments and errors."""

    def __init__(self, address: Address, fingerprint: Fingerprint | None, *, reset: bool) -> None:
        self._address = address
        self._findings: PostgresFindingsWriter | None = None
        self._dropped: set[bytes] = set()
        self._closed = False
        self._connection = connect(address)
        # Whatever the server's default: a step sees all that was committed before it got its turn.
        self._connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        try:
            with speaking(address, writing=True):
                self._open(fingerprint, reset=reset)
                self._has_vectors = schema.has_vectors(self._connection)
            self._snapshot = PostgresSnapshot(address)
        except BaseException:
            self._connection.close()
            raise
        dimension = self._snapshot.fingerprint.dimension
        self._faces = schema.stored_faces(dimension, vector=self._has_vectors)

    @property
    def snapshot(self) -> PostgresSnapshot:
        """See `base.Writer`."""
        return self._snapshot

    def commit(self, batch: Batch) -> None:
        """See `base.Writer`.

        Raises:
            StoreWriteError: The batch could not be written; all batches before are safe.
            ValueError: The batch breaks a rule of `Batch`.
        """
        if batch.is_empty:
            return
        arrays = batch_arrays(batch, self._snapshot.fingerprint.dimension)
        with self._step() as cursor:
            # By the indexes always: what the server believes of a table that just grew says otherwise.
            cursor.execute("SET LOCAL enable_seqscan TO off")
            head = schema.read_head(self._connection, self._address, lock=True)
            plan = self._put_images(cursor, batch, arrays, head.next_image_id)
            next_face_id = self._put_contents(cursor, arrays, head.next_face_id)
            cursor.execute(
                "UPDATE facededup SET next_image_id = %s, next_face_id = %s",
                [plan.next_image_id, next_face_id],
            )
        self._dropped |= plan.dropped

    def record(self, info: Mapping[str, Any]) -> None:
        """See `base.Writer`."""
        with self._step() as cursor:
            head = schema.read_head(self._connection, self._address, lock=True)
            cursor.execute("UPDATE facededup SET info = %s", [json.dumps({**head.info, **info})])

    def append_decisions(self, decisions: Sequence[Decision]) -> None:
        """See `base.Writer`."""
        if not decisions:
            return
        columns = decision_columns(decisions)
        values = [
            [row.tobytes() for row in columns[name]] if name.endswith("_digest") else columns[name].tolist()
            for name in schema.DECISIONS
        ]
        names, marks = ", ".join(schema.DECISIONS), ", ".join(["%s"] * len(values))
        with self._step() as cursor:
            # So that they are numbered in the order in which they show.
            schema.read_head(self._connection, self._address, lock=True)
            cursor.executemany(
                f"INSERT INTO decisions ({names}) VALUES ({marks})",
                list(zip(*values, strict=True)),
            )

    def forget_decisions(self, contents: Collection[bytes], paths: Collection[bytes]) -> None:
        """See `base.Writer`."""
        digests, names = list(contents), list(paths)
        with self._step() as cursor:
            cursor.execute(
                "DELETE FROM decisions WHERE a_digest = ANY(%s) OR b_digest = ANY(%s)", [digests, digests]
            )
            for side in ("a_path", "b_path"):
                cursor.execute(f"UPDATE decisions SET {side} = '' WHERE {side} = ANY(%s)", [names])

    def write_findings(self) -> PostgresFindingsWriter:
        """See `base.Writer`."""
        self._abandon_findings()
        self._findings = PostgresFindingsWriter(self._address)
        return self._findings

    def drop_findings(self) -> None:
        """See `base.Writer`."""
        with self._step():
            drop(self._connection)

    def search_log(self, key: bytes) -> None:
        """See `base.Writer`; a search that was killed starts over."""

    def pack(self) -> None:
        """See `base.Writer`; also makes the vector index of a large store.

        Raises:
            StoreLockedError: Another process is writing.
        """
        self._abandon_findings()
        with self._alone(), speaking(self._address, writing=True):
            with self._step() as cursor:
                schema.read_head(self._connection, self._address, lock=True)
                for statement in _REMOVE_WHAT_NOBODY_NAMES:
                    cursor.execute(statement)
            self._drop_dead_findings()
            # While a snapshot stays open, the server keeps what was removed since.
            self._snapshot.close()
            self._vacuum()
            self._index()

    def close(self) -> None:
        """Ends the writer; a second time does nothing."""
        if self._closed:
            return
        self._closed = True
        try:
            self._abandon_findings()
            if self._dropped and not self._connection.closed:  # as it is when the server is gone
                try:
                    with self._alone(), self._step() as cursor:
                        cursor.execute(_REMOVE_CONTENTS + " AND digest = ANY(%s)", [list(self._dropped)])
                except StoreLockedError:
                    pass  # left to the next `pack`, as another writer may count on them
        finally:
            self._snapshot.close()
            # A server under load notices late that a connection is gone, and the next step may take it alone.
            with suppress(psycopg.Error):
                self._connection.execute("SELECT pg_advisory_unlock_all()")
            self._connection.close()

    @contextmanager
    def _step(self) -> Iterator[psycopg.Cursor[Any]]:
        """One transaction, on one cursor."""
        with speaking(self._address, writing=True), self._connection.transaction():
            with self._connection.cursor() as cursor:
                yield cursor

    def _open(self, fingerprint: Fingerprint | None, *, reset: bool) -> None:
        with self._connection.transaction():
            # Two that make the store at once make it once.
            self._connection.execute("SELECT pg_advisory_xact_lock(%s)", [~self._address.lock])
            if fingerprint is None:
                schema.refuse_missing(self._connection, self._address)
            elif not schema.is_there(self._connection, self._address):
                schema.create(self._connection, self._address, fingerprint)
        self._connection.execute("SELECT pg_advisory_lock_shared(%s)", [self._address.lock])
        if reset:
            self._empty(fingerprint)

    def _empty(self, fingerprint: Fingerprint | None) -> None:
        """Drops all but decisions; ids go on."""
        with self._alone(), self._step() as cursor:
            head = schema.read_head(self._connection, self._address, lock=True)
            made_by = fingerprint or head.fingerprint
            for table in ("images", "faces", "roots", "findings", "pairs", "clusters", "members"):
                cursor.execute(f"DELETE FROM {table}")  # TRUNCATE would show in old snapshots
            cursor.execute(f"SET LOCAL lock_timeout TO '{_PATIENCE}'")
            try:
                cursor.execute("DROP INDEX IF EXISTS faces_embedding")
                schema.keep_rows_together(self._connection, made_by.dimension)
            except psycopg.errors.LockNotAvailable as exc:
                raise StoreLockedError(
                    f"the store {self._address.location!r} is being read, and a reset that drops its vector "
                    "index, or takes much longer embeddings, waits for that: try again when it is done"
                ) from exc
            cursor.execute(
                "UPDATE facededup SET fingerprint = %s, info = %s",
                [json.dumps(made_by.to_dict()), json.dumps({"created": schema.now()})],
            )

    def _put_images(
        self, cursor: psycopg.Cursor[Any], batch: Batch, arrays: Mapping[str, Array], next_image_id: int
    ) -> Plan:
        keys = [hashlib.sha256(path).digest() for path in named_paths(batch)]
        rows = cursor.execute(
            "SELECT path, id, digest, indexed_at FROM images WHERE sha256(path) = ANY(%b)",
            [keys],
            binary=True,
        ).fetchall()
        known = {path: Known(number, digest, at) for path, number, digest, at in rows}
        digests = _cut(arrays["image.digest"])
        plan = plan_images(batch, digests, known, next_image_id, int(time.time()))
        if plan.deleted:
            cursor.execute("DELETE FROM images WHERE id = ANY(%s)", [list(plan.deleted)])
        if plan.renamed:
            # Two steps, as the paths of a swap would be there twice in between; no path has a zero byte.
            cursor.execute(
                r"UPDATE images SET path = '\x00'::bytea || int8send(id) WHERE id = ANY(%s)",
                [list(plan.renamed)],
            )
            cursor.execute(
                "UPDATE images SET path = new.path "
                "FROM unnest(%s::bigint[], %s::bytea[]) AS new(id, path) WHERE images.id = new.id",
                [list(plan.renamed), list(plan.renamed.values())],
            )
        if plan.put:
            self._write_images(cursor, batch, arrays, plan)
        return plan

    def _write_images(
        self, cursor: psycopg.Cursor[Any], batch: Batch, arrays: Mapping[str, Array], plan: Plan
    ) -> None:
        ids = sorted(plan.put)
        chosen = np.array([plan.put[number][0] for number in ids])
        columns = {
            name: arrays[f"image.{name}"][chosen]
            for name in IMAGE_COLUMNS
            if name not in ("id", "digest", "indexed_at", "root")
        }
        columns = {name: _signed(values) for name, values in columns.items()}
        columns["id"] = np.array(ids)
        columns["digest"] = (
            arrays["image.digest"].reshape(-1, DIGEST_BYTES).view(f"V{DIGEST_BYTES}")[chosen, 0]
        )
        columns["indexed_at"] = np.array([plan.put[number][1] for number in ids])
        columns["root"] = self._number_roots(cursor, batch)[chosen]
        records = [batch.images[place] for place in chosen.tolist()]
        texts = {
            "path": [record.path for record in records],
            "reason": [encode_text(record.reason) for record in records],
            "tags": [encode_text(record.tags) for record in records],
        }
        copy_in(cursor, "images", schema.IMAGES, schema.IMAGES.pack(columns, texts, len(ids)))

    def _number_roots(self, cursor: psycopg.Cursor[Any], batch: Batch) -> Array:
        rows = cursor.execute("SELECT path, mount, id FROM roots", binary=True).fetchall()
        numbers = {(path, mount): number for path, mount, number in rows}
        following = max(numbers.values(), default=-1) + 1
        for image in batch.images:
            root = (image.root, image.mount)
            if root not in numbers:
                numbers[root] = following
                cursor.execute("INSERT INTO roots VALUES (%s, %s, %s)", [following, *root])
                following += 1
        return np.array([numbers[image.root, image.mount] for image in batch.images])

    def _put_contents(
        self, cursor: psycopg.Cursor[Any], arrays: Mapping[str, Array], next_face_id: int
    ) -> int:
        """Writes the faces of contents that are not known yet; the id of the next face."""
        counts, digests = arrays["content.faces"], _cut(arrays["content.digest"])
        if not counts.any():
            return next_face_id
        known = {
            digest
            for (digest,) in cursor.execute(
                "SELECT digest FROM faces WHERE number = 0 AND digest = ANY(%b)", [digests], binary=True
            )
        }
        taken = []
        for digest in digests:
            taken.append(digest not in known)
            known.add(digest)
        chosen = np.flatnonzero(np.repeat(np.array(taken, np.bool_), counts))
        columns = {name: arrays[f"face.{name}"][chosen] for name in FACE_COLUMNS if name != "id"}
        columns["landmarks"] = columns["landmarks"].reshape(-1, 10)
        columns["id"] = next_face_id + np.arange(len(chosen))
        names = arrays["content.digest"].reshape(-1, DIGEST_BYTES).view(f"V{DIGEST_BYTES}")[:, 0]
        columns["digest"] = np.repeat(names, counts)[chosen]
        columns["embedding"] = arrays["embeddings"][chosen]
        copy_in(cursor, "faces", self._faces, self._faces.pack(columns, {}, len(chosen)))
        return next_face_id + len(chosen)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other writers out for the time of a step.

        Raises:
            StoreLockedError: One is at work.
        """
        with speaking(self._address, writing=True):
            (alone,) = self._connection.execute(
                "SELECT pg_try_advisory_lock(%s)", [self._address.lock]
            ).fetchone() or (False,)
            if not alone:
                raise StoreLockedError(self._who_else_writes())
        try:
            yield
        finally:
            if not self._connection.closed:
                self._connection.execute("SELECT pg_advisory_unlock(%s)", [self._address.lock])

    def _who_else_writes(self) -> str:
        row = self._connection.execute(
            "SELECT application_name, to_char(backend_start, 'YYYY-MM-DD HH24:MI:SS TZ') "
            "FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE locktype = 'advisory' AND granted "
            "AND pid <> pg_backend_pid() AND (classid::bigint << 32 | objid::bigint) = %s "
            "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
            "ORDER BY backend_start LIMIT 1",
            [self._address.lock],
        ).fetchone()
        name, since = row or ("", None)
        name = (name or "another process") + (f" (since {since})" if since else "")
        return (
            f"the store {self._address.location!r} is being written by {name}, and this step takes it alone: "
            "wait until that is done"
        )

    def _drop_dead_findings(self) -> None:
        """Writes the findings anew if they name a face that is gone."""
        (dead,) = self._connection.execute(_ARE_FINDINGS_DEAD).fetchone() or (False,)
        if not dead:
            return
        with PostgresSnapshot(self._address) as now:
            findings = now.findings()
            if findings is not None:
                writer = self.write_findings()
                for block in living_pairs(findings, now.faces.id):
                    writer.append(block)
                writer.finish(findings.meta, living_clusters(findings.clusters, now.faces.id))

    def _abandon_findings(self) -> None:
        if self._findings is not None:
            self._findings.abandon()
            self._findings = None

    def _vacuum(self) -> None:
        """Writes the tables anew; where somebody reads them, only marks the room as free."""
        try:
            self._connection.execute(f"SET lock_timeout TO '{_PATIENCE}'")
            self._vacuum_tables("FULL, ANALYZE")
        except psycopg.errors.LockNotAvailable:
            self._connection.execute("SET lock_timeout TO 0")
            self._vacuum_tables("ANALYZE")
        finally:
            self._connection.execute("SET lock_timeout TO 0")

    def _vacuum_tables(self, options: str) -> None:
        for table in schema.TABLES:
            self._connection.execute(f"VACUUM ({options}) {table}")

    def _index(self) -> None:
        """Makes the vector index where it pays and is not there yet."""
        dimension = self._snapshot.fingerprint.dimension
        if not self._has_vectors or dimension > schema.MOST_INDEXED:
            return
        (count,) = self._connection.execute("SELECT count(*) FROM faces").fetchone() or (0,)
        if count >= INDEX_FROM:
            self._connection.execute(
                "CREATE INDEX IF NOT EXISTS faces_embedding ON faces "
                f"USING hnsw ((embedding::vector({dimension})) vector_ip_ops)"
            )


_REMOVE_CONTENTS = (
    "DELETE FROM faces WHERE NOT EXISTS (SELECT 1 FROM images WHERE images.digest = faces.digest)"
)
_REMOVE_WHAT_NOBODY_NAMES = (
    _REMOVE_CONTENTS,
    "DELETE FROM roots WHERE NOT EXISTS (SELECT 1 FROM images WHERE root = roots.id)",
)
_GONE = "NOT EXISTS (SELECT 1 FROM faces WHERE id = {})"
_ARE_FINDINGS_DEAD = (
    f"SELECT EXISTS (SELECT 1 FROM pairs WHERE {_GONE.format('a')}) "
    f"OR EXISTS (SELECT 1 FROM pairs WHERE {_GONE.format('b')}) "
    f"OR EXISTS (SELECT 1 FROM members WHERE {_GONE.format('face')})"
)


def _cut(digests: Array) -> list[bytes]:
    data = digests.tobytes()
    return [data[k : k + DIGEST_BYTES] for k in range(0, len(data), DIGEST_BYTES)]


def _signed(values: Array) -> Array:
    return values.view("<i8") if values.dtype == np.uint64 else values
