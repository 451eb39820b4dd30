"""A store in PostgreSQL as it was at one moment: a transaction that only reads."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from facededup.store.base import DIGEST_BYTES, FaceTable, Fingerprint, ImageTable, Neighbours
from facededup.store.closing import Closing
from facededup.store.decisions import read_decisions
from facededup.store.postgres import schema
from facededup.store.postgres.copyformat import Layout
from facededup.store.postgres.findings import PostgresFindings
from facededup.store.postgres.server import Address, connect, damaged, speaking
from facededup.store.tables import IMAGE_COLUMNS, decode_text, face_table, first_rows, fixed_length
from facededup.types import Array, Decision, Floats

_CANDIDATES = 100
"""Neighbours that the index is asked for at least: what it takes for a recall near 1."""


class PostgresSnapshot(Closing):
    """See `base.Snapshot`.

    Raises:
        StoreNotFoundError: There is no store.
        JobError: The server cannot be reached.
        DamagedStoreError: The schema holds no store, or a damaged one.
        NewerFormatError: It was made by a later version.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        # Searches read from several threads.
        self._turn = threading.Lock()
        self._connection = connect(address)
        try:
            with speaking(address):
                self._connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                schema.refuse_missing(self._connection, address)
                self._head = schema.read_head(self._connection, address)
                vector = schema.has_vectors(self._connection)
        except BaseException:
            self._connection.close()
            raise
        self._embeddings = schema.stored_embeddings(self._head.fingerprint.dimension, vector=vector)
        self._has_vectors = vector

    @property
    def fingerprint(self) -> Fingerprint:
        """See `base.Snapshot`."""
        return self._head.fingerprint

    @property
    def info(self) -> Mapping[str, Any]:
        """See `base.Snapshot`."""
        return self._head.info

    @property
    def next_image_id(self) -> int:
        """See `base.Snapshot`."""
        return self._head.next_image_id

    @property
    def next_face_id(self) -> int:
        """See `base.Snapshot`."""
        return self._head.next_face_id

    @cached_property
    def images(self) -> ImageTable:
        """See `base.Snapshot`."""
        columns, texts = self._read(schema.IMAGES, "SELECT {} FROM images ORDER BY id")
        roots, places = self._read(schema.ROOTS, "SELECT {} FROM roots ORDER BY id")
        with speaking(self._address):
            used, row = np.unique(columns["root"], return_inverse=True)
            place = np.searchsorted(roots["id"], used)
            if len(used) and (place[-1] >= len(roots["id"]) or (roots["id"][place] != used).any()):
                raise ValueError("an image has no root")
            columns["root"] = row.astype(np.int32)
            digest = _digests(columns.pop("digest"))
            return ImageTable(
                **{name: _as(values, IMAGE_COLUMNS[name]) for name, values in columns.items()},
                digest=digest,
                path=texts["path"],
                reason=list(map(decode_text, texts["reason"])),
                tags=list(map(decode_text, texts["tags"])),
                roots=[(places["path"][k], places["mount"][k]) for k in place.tolist()],
                first=first_rows(digest),
            )

    @cached_property
    def faces(self) -> FaceTable:
        """See `base.Snapshot`."""
        columns, _ = self._read(schema.FACES, "SELECT {} FROM faces ORDER BY id")
        images = self.images.digest
        image = first_rows(np.concatenate((images, _digests(columns.pop("digest")))))[len(images) :]
        named = image < len(images)  # by an image, and not only by a face before
        if not named.all():
            columns = {name: values[named] for name, values in columns.items()}
        columns["landmarks"] = columns["landmarks"].reshape(-1, 5, 2)
        columns["image"] = image[named]
        return face_table(columns)

    def embeddings(self, start: int, stop: int) -> Floats:
        """See `base.Snapshot`."""
        wanted = self.faces.id[start:stop]
        if not len(wanted):
            return np.empty((0, self.fingerprint.dimension), np.float32)
        columns, _ = self._read(
            self._embeddings,
            f"SELECT {{}} FROM faces WHERE id BETWEEN {wanted[0]} AND {wanted[-1]} ORDER BY id",
        )
        return self._rows_of(columns, wanted)

    def nearest(self, probes: Floats, k: int) -> Neighbours | None:
        """See `base.Snapshot`; pgvector looks, by its index where there is one."""
        dimension = self.fingerprint.dimension
        if not self._has_vectors or not len(self.faces) or dimension > schema.MOST_INDEXED:
            return None
        k = min(k, len(self.faces))
        with speaking(self._address), self._turn:
            indexed, stored = self._connection.execute(
                "SELECT to_regclass('faces_embedding') IS NOT NULL, count(*) FROM faces"
            ).fetchone() or (False, 0)
            if indexed:
                self._connection.execute(f"SET LOCAL hnsw.ef_search = {min(1000, max(_CANDIDATES, 2 * k))}")
                self._connection.execute("SET LOCAL hnsw.iterative_scan = strict_order")
        hidden = stored - len(self.faces)  # faces of contents that no image has any more
        rows, vectors = [], []
        for probe in probes.tolist():
            columns, _ = self._read(
                self._embeddings,
                f"SELECT {{}} FROM faces ORDER BY embedding::vector({dimension}) "
                f"<#> '{probe}'::vector({dimension}) LIMIT {k + hidden}",
            )
            there = np.isin(columns["id"], self.faces.id)
            rows.append(np.searchsorted(self.faces.id, columns["id"][there])[:k])
            vectors.append(columns["embedding"][there][:k])
        fewest = min(map(len, rows))
        return Neighbours(
            rows=np.stack([found[:fewest] for found in rows]),
            embeddings=np.stack([found[:fewest] for found in vectors]),
            engine="pgvector",
            exact=not indexed,
        )

    def findings(self) -> PostgresFindings | None:
        """See `base.Snapshot`."""
        with speaking(self._address), self._turn:
            row = self._connection.execute("SELECT run, meta, pairs, shaped FROM findings").fetchone()
        return None if row is None else PostgresFindings(self._read, self._address, row)

    def decisions(self) -> tuple[Decision, ...]:
        """See `base.Snapshot`."""
        names = sql.SQL(", ").join(map(sql.Identifier, schema.DECISIONS))
        with speaking(self._address):
            with self._turn:
                rows = self._connection.execute(
                    sql.SQL("SELECT {} FROM decisions ORDER BY id").format(names)
                ).fetchall()
            return read_decisions(_decision_columns(rows)) if rows else ()

    def close(self) -> None:
        """Ends the transaction and the connection; tables that were read stay."""
        self._connection.close()

    def _read(self, layout: Layout, statement: str) -> tuple[dict[str, Array], dict[str, list[bytes]]]:
        """The columns of a layout, put into the place of {} in a statement."""
        chosen = sql.SQL(statement).format(sql.SQL(", ").join(map(sql.Identifier, layout.names)))
        with speaking(self._address):
            with self._turn, self._connection.cursor() as cursor:
                with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(chosen)) as copy:
                    return layout.unpack(copy)

    def _rows_of(self, columns: dict[str, Array], wanted: NDArray[np.int64]) -> Floats:
        """The embeddings of some faces among those read."""
        if len(columns["id"]) == len(wanted):
            return columns["embedding"]
        there = columns["embedding"][np.isin(columns["id"], wanted)]
        if len(there) != len(wanted):
            raise damaged(self._address)
        return there


def _digests(values: Array) -> NDArray[np.uint8]:
    """Opaque bytes as an array of them, a row a digest."""
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, DIGEST_BYTES)


def _as(values: Array, kind: str) -> Array:
    """Bits of a signed number as the unsigned one that they are."""
    return values.view(kind) if kind == "<u8" else values.astype(kind, copy=False)


def _decision_columns(rows: Sequence[tuple[Any, ...]]) -> dict[str, Array]:
    """What `read_decisions` takes."""
    columns: dict[str, Array] = {}
    for name, values in zip(schema.DECISIONS, zip(*rows, strict=True), strict=True):
        kind = schema.DECISIONS[name]
        if name.endswith("_digest"):
            columns[name] = np.frombuffer(b"".join(values), "|u1").reshape(len(rows), DIGEST_BYTES)
        else:
            columns[name] = fixed_length(values) if kind == "bytea" else np.array(values)
    return columns
