"""Findings in PostgreSQL: every table's rows carry the number of their run.

The rows of new findings are written in one transaction that stays open from the first pair to the end of
the search: nobody sees them before, and a writer that dies leaves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from psycopg import sql

from facededup.store.base import ClusterTable, PairBlock
from facededup.store.pairbuffer import PairBuffer
from facededup.store.postgres import schema
from facededup.store.postgres.copyformat import Layout
from facededup.store.postgres.server import Address, connect, speaking
from facededup.types import Array

_BUFFER_PAIRS = 1 << 18
_TABLES = ("pairs", "clusters", "members")

Read = Callable[[Layout, str], tuple[dict[str, Array], dict[str, list[bytes]]]]
"""`PostgresSnapshot._read`."""


class PostgresFindings:
    """The findings of a snapshot; see `base.Findings`. Readable while the snapshot is open.

    Args:
        read: Of the snapshot.
        address: For messages.
        row: Of the table `findings`: run, meta, number of pairs, whether clusters were described.
    """

    def __init__(self, read: Read, address: Address, row: tuple[int, str, int, bool]) -> None:
        self._read = read
        self._address = address
        self._run, meta, self._pairs, self._shaped = row
        with speaking(address):
            self._meta: dict[str, Any] = json.loads(meta)

    @property
    def meta(self) -> Mapping[str, Any]:
        """See `base.Findings`."""
        return self._meta

    @property
    def pair_count(self) -> int:
        """See `base.Findings`."""
        return self._pairs

    def pairs(self, start: int, stop: int) -> PairBlock:
        """See `base.Findings`."""
        return _block(self._read(schema.PAIRS, _pairs_statement(self._run, start, stop))[0])

    @cached_property
    def clusters(self) -> ClusterTable:
        """See `base.Findings`."""
        clusters, members = (
            self._read(layout, f"SELECT {{}} FROM {table} WHERE run = {self._run} ORDER BY {place}")[0]
            for layout, table, place in (
                (schema.CLUSTERS, "clusters", "number"),
                (schema.MEMBERS, "members", "position"),
            )
        )
        count = len(clusters["key"])
        with speaking(self._address):
            sizes = np.bincount(members["cluster"], minlength=count)
            if len(sizes) != count or (np.diff(members["cluster"]) < 0).any():
                raise ValueError("members of a cluster that is not there")
            keys = [bytes(key).decode("ascii") for key in clusters["key"]]
        return ClusterTable(
            key=keys,
            offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
            members=members["face"],
            min_cosine=clusters["min_cosine"],
            new=clusters["new"],
            mean_cosine=clusters["mean_cosine"] if self._shaped else None,
            medoid=clusters["medoid"] if self._shaped else None,
            bridge=members["bridge"] if self._shaped else None,
        )


class PostgresFindingsWriter:
    """Streams pairs into a transaction that `finish` ends; see `base.FindingsWriter`.

    Raises:
        StoreWriteError: The server cannot be written to.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._connection = connect(address)
        try:
            with self._writing():
                self._connection.execute("BEGIN ISOLATION LEVEL READ COMMITTED")
                self._run = int(self._connection.execute("SELECT nextval('runs')").fetchone()[0])
        except BaseException:
            self._connection.close()
            raise
        self._buffer = PairBuffer()
        self._stored = 0

    def append(self, block: PairBlock) -> None:
        """See `base.FindingsWriter`."""
        self._buffer.add(block)
        if len(self._buffer) >= _BUFFER_PAIRS:
            self._spill()

    def chunks(self) -> Iterator[PairBlock]:
        """See `base.FindingsWriter`."""
        self._spill()
        for start in range(0, self._stored, _BUFFER_PAIRS):
            statement = sql.SQL(_pairs_statement(self._run, start, start + _BUFFER_PAIRS)).format(
                sql.SQL(", ").join(map(sql.Identifier, schema.PAIRS.names))
            )
            with self._writing(), self._connection.cursor() as cursor:
                with cursor.copy(sql.SQL("COPY ({}) TO STDOUT (FORMAT binary)").format(statement)) as copy:
                    columns, _ = schema.PAIRS.unpack(copy)
            yield _block(columns)

    def finish(self, meta: Mapping[str, Any], clusters: ClusterTable) -> None:
        """See `base.FindingsWriter`."""
        self._spill()
        count, sizes = len(clusters), np.diff(clusters.offsets)
        shaped = clusters.mean_cosine is not None
        self._write(
            "clusters",
            schema.CLUSTERS,
            count,
            number=np.arange(count),
            key=np.array([key.encode("ascii") for key in clusters.key], "S12").view("V12"),
            min_cosine=clusters.min_cosine,
            new=clusters.new,
            mean_cosine=clusters.mean_cosine if shaped else np.nan,
            medoid=clusters.medoid if shaped else -1,
        )
        self._write(
            "members",
            schema.MEMBERS,
            len(clusters.members),
            position=np.arange(len(clusters.members)),
            cluster=np.repeat(np.arange(count), sizes),
            face=clusters.members,
            bridge=clusters.bridge if shaped else False,
        )
        with self._writing():
            # Waits for another writer's commit, so that the last to finish replaces what all others found.
            self._connection.execute("SELECT 1 FROM facededup FOR UPDATE")
            drop(self._connection, but=self._run)
            self._connection.execute(
                "INSERT INTO findings VALUES (%s, %s, %s, %s)",
                [self._run, json.dumps(dict(meta)), self._stored, shaped],
            )
            self._connection.execute("COMMIT")
        self._connection.close()

    def abandon(self) -> None:
        """Leaves no trace, unless it was finished."""
        self._connection.close()

    def _spill(self) -> None:
        if not len(self._buffer):
            return
        block = self._buffer.take()
        columns = {"a": block.a, "b": block.b, "cosine": block.cosine, "new": block.new}
        position = self._stored + np.arange(len(block))
        self._write("pairs", schema.PAIRS, len(block), position=position, **columns)
        self._stored += len(block)

    def _write(self, table: str, layout: Layout, count: int, **columns: Any) -> None:
        data = layout.pack({"run": np.array(self._run), **columns}, {}, count)
        with self._writing(), self._connection.cursor() as cursor:
            copy_in(cursor, table, layout, data)

    def _writing(self) -> Any:
        return speaking(self._address, writing=True)


def copy_in(cursor: Any, table: str, layout: Layout, data: bytes) -> None:
    """Puts packed rows into a table."""
    names = sql.SQL(", ").join(map(sql.Identifier, layout.names))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(sql.Identifier(table), names)
    with cursor.copy(statement) as copy:
        copy.write(data)


def drop(connection: Any, but: int = -1) -> None:
    """Deletes all findings but those of one run, in the open transaction."""
    for table in ("findings", *_TABLES):
        connection.execute(f"DELETE FROM {table} WHERE run <> {but}")


def _pairs_statement(run: int, start: int, stop: int) -> str:
    return (
        f"SELECT {{}} FROM pairs WHERE run = {run} AND position >= {start} AND position < {stop} "
        "ORDER BY position"
    )


def _block(columns: Mapping[str, Array]) -> PairBlock:
    return PairBlock(columns["a"], columns["b"], columns["cosine"], columns["new"])
