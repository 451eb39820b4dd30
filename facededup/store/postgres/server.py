"""Where a PostgreSQL store is: its URL taken apart, connections to it, and its errors as sentences."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

import psycopg
from psycopg import conninfo, sql

from facededup.errors import (
    DamagedStoreError,
    FacededupError,
    JobError,
    StoreWriteError,
    UsageError,
    first_line,
)

DEFAULT_SCHEMA = "facededup"
_SECRETS = ("password", "sslpassword")
_MOST_NAME = 63
_CONNECT_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where a store is.

    Attributes:
        location: Its URL without passwords.
        conninfo: What libpq connects by, passwords included.
        schema: The schema of the database that holds it.
    """

    location: str
    conninfo: str
    schema: str

    @property
    def lock(self) -> int:
        """The key of the advisory lock that every writer shares."""
        digest = hashlib.sha256(b"facededup:" + self.schema.encode()).digest()
        return int.from_bytes(digest[:8], "big", signed=True)


def parse_address(url: str) -> Address:
    """Takes a URL `postgresql://[user[:password]@][host][:port]/database[?schema=NAME&...]` apart.

    Everything but `schema` is libpq's: several hosts, `host=/run/postgresql`, `sslmode=verify-full`, ...

    Raises:
        UsageError: It is malformed.
    """
    scheme, _, rest = url.partition("://")
    place, _, query = rest.partition("?")
    host, slash, database = place.partition("/")
    given = parse_qsl(query, keep_blank_values=True)
    schema = dict(given).get("schema", DEFAULT_SCHEMA)
    others = [(name, value) for name, value in given if name != "schema"]
    user, at, hosts = host.rpartition("@")
    shown = f"{scheme}://{user.partition(':')[0]}{at}{hosts}{slash}{database}"
    plain = [(name, value) for name, value in given if name not in _SECRETS]
    location = shown + ("?" + urlencode(plain, safe="/:", quote_via=quote) if plain else "")
    if not schema or len(schema.encode()) > _MOST_NAME or "\0" in schema or schema.startswith("pg_"):
        raise UsageError(f"the URL {location!r} names a schema that PostgreSQL does not allow: {schema!r}")
    full = f"{scheme}://{place}" + ("?" + urlencode(others, quote_via=quote) if others else "")
    try:
        known = conninfo.conninfo_to_dict(full)
    except psycopg.ProgrammingError:
        known = {}
    ports = str(known.get("port", "")).replace(",", "")
    if (not known.get("dbname") and "service" not in known) or (ports and not ports.isdigit()):
        raise UsageError(
            f"the store {location!r} is not a URL that PostgreSQL understands: write "
            "postgresql://USER@HOST:PORT/DATABASE, with ?schema=NAME for more than one store in a database"
        ) from None
    return Address(location, full, schema)


def connect(address: Address) -> psycopg.Connection:
    """A connection in autocommit mode, on which names mean the store's tables.

    Raises:
        JobError: The server cannot be reached, or lets us not in.
    """
    try:
        connection = psycopg.connect(
            address.conninfo,
            autocommit=True,
            prepare_threshold=None,  # poolers between us and the server do not carry prepared statements
            application_name=f"facededup {os.getpid()}@{socket.gethostname()}"[:_MOST_NAME],
            **({} if "connect_timeout" in address.conninfo else {"connect_timeout": _CONNECT_SECONDS}),
        )
    except psycopg.OperationalError as exc:
        raise JobError(
            f"the server of the store {address.location!r} cannot be reached: {first_line(exc)}; "
            "start it, or correct --store"
        ) from exc
    try:
        with speaking(address):
            _set_up(connection, address)
    except BaseException:
        connection.close()
        raise
    return connection


def _set_up(connection: psycopg.Connection, address: Address) -> None:
    vector = vector_schema(connection)
    names = sql.SQL(", ").join(map(sql.Identifier, [address.schema, *([vector] if vector else [])]))
    connection.execute(sql.SQL("SET search_path TO {}").format(names))
    # Snapshots and findings stay open for as long as a search takes.
    for name in ("idle_in_transaction_session_timeout", "statement_timeout"):
        connection.execute(sql.SQL("SET {} TO 0").format(sql.Identifier(name)))
    # A commit that returned survives a power loss, and whatever else the server is set to promise.
    connection.execute(
        "SELECT set_config('synchronous_commit', 'on', false) "
        "WHERE current_setting('synchronous_commit') = 'off'"
    )


def vector_schema(connection: psycopg.Connection) -> str | None:
    """The schema in which the database has pgvector, None where it has not."""
    row = connection.execute(
        "SELECT nspname FROM pg_extension JOIN pg_namespace n ON n.oid = extnamespace "
        "WHERE extname = 'vector'"
    ).fetchone()
    return None if row is None else str(row[0])


@contextmanager
def speaking(address: Address, *, writing: bool = False) -> Iterator[None]:
    """Turns what psycopg raises into one sentence.

    Raises:
        StoreWriteError: The store cannot be written (when `writing`).
        JobError: It cannot be read.
        DamagedStoreError: Tables or columns are missing, or hold what is no store's.
    """
    kind, verb, comfort = (
        (StoreWriteError, "written", "; what was committed before is safe")
        if writing
        else (JobError, "read", "")
    )
    try:
        yield
    except FacededupError:
        raise
    except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, ValueError) as exc:
        raise damaged(address) from exc
    except psycopg.errors.InsufficientPrivilege as exc:
        raise kind(
            f"the store {address.location!r} cannot be {verb}: {first_line(exc)}; ask its owner for it"
        ) from exc
    except psycopg.Error as exc:
        raise kind(f"the store {address.location!r} cannot be {verb}: {first_line(exc)}{comfort}") from exc


def damaged(address: Address) -> DamagedStoreError:
    """What is said of a schema that holds something else than a sound store."""
    return DamagedStoreError(
        f"the schema {address.schema!r} of {address.location!r} is damaged, or is no store of facededup; "
        "restore it from the server's backup, or choose another by ?schema=NAME"
    )
