"""The store in a PostgreSQL database; see `base.Store`."""

from __future__ import annotations

from facededup.errors import JobError
from facededup.store.base import Fingerprint, Repair, refuse_unfinished
from facededup.store.integrity import look_through
from facededup.store.postgres import schema
from facededup.store.postgres.server import Address, connect, parse_address, speaking, vector_schema
from facededup.store.postgres.snapshot import PostgresSnapshot
from facededup.store.postgres.writer import PostgresWriter


class PostgresStore:
    """A store in a schema of a PostgreSQL database; see `base.Store`.

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
            DamagedStoreError: The schema holds something else.
        """
        with connect(self._address) as connection, speaking(self._address):
            return schema.is_there(connection, self._address)

    def snapshot(self, *, unfinished: bool = False) -> PostgresSnapshot:
        """See `base.Store`."""
        snapshot = PostgresSnapshot(self._address)
        if not unfinished:
            refuse_unfinished(snapshot, snapshot, self.location)
        return snapshot

    def writer(self, fingerprint: Fingerprint | None = None, *, reset: bool = False) -> PostgresWriter:
        """See `base.Store`; several may write at once, but nobody else during a reset."""
        writer = PostgresWriter(self._address, fingerprint, reset=reset)
        refuse_unfinished(writer.snapshot, writer, self.location)
        return writer

    def disk_bytes(self) -> int:
        """See `base.Store`."""
        with connect(self._address) as connection, speaking(self._address):
            row = connection.execute(
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint "
                "FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
                "WHERE nspname = %s AND relkind = 'r'",
                [self._address.schema],
            ).fetchone()
        return 0 if row is None else int(row[0])

    def kept_copies(self) -> list[str]:
        """See `base.Store`; a server's store has none."""
        return []

    def describe(self) -> dict[str, str]:
        """See `base.Store`."""
        with connect(self._address) as connection, speaking(self._address):
            version, fsync, checksums = connection.execute(
                "SELECT current_setting('server_version'), current_setting('fsync'), "
                "current_setting('data_checksums')"
            ).fetchone() or ("", "", "")
            vector = vector_schema(connection) and schema.is_there(connection, self._address)
            kind = "pgvector" if vector and schema.has_vectors(connection) else "arrays"
            indexed = connection.execute("SELECT to_regclass('faces_embedding') IS NOT NULL").fetchone()
        return {
            "server": f"PostgreSQL {version.partition(' ')[0]}",
            "durability": (
                "every commit is on disk when it returns"
                if fsync == "on"
                else "none: the server runs with fsync = off, a power loss may destroy the database"
            ),
            "checksums": "of every page"
            if checksums == "on"
            else "none (the server's data_checksums is off)",
            "embeddings": f"{kind}, {'with' if indexed and indexed[0] else 'without'} a vector index",
        }

    def check(self) -> list[str]:
        """See `base.Store`."""
        return look_through(self.snapshot)

    def repair(self) -> Repair:
        """See `base.Store`.

        Raises:
            JobError: Always: it is the server that keeps copies of what it stores.
        """
        raise JobError(
            f"the store {self.location!r} is kept by PostgreSQL: restore it from the server's backup "
            "(pg_restore), or copy what is intact with `facededup store copy` and index the rest again"
        )
