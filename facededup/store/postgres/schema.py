"""The tables of a store in PostgreSQL: made on first use, recognised afterwards.

    facededup   one row: format, uuid, fingerprint, info (JSON), next_image_id, next_face_id
    roots       path and mount under which images were found
    images      a row an image; `digest` leads to the faces of its content
    faces       a row a face of a content, embedding included
    findings    the last findings: meta (JSON); pairs, clusters and members carry its number
    decisions   the analyst's, in order

File names and texts of unknown origin are bytea, for they need not be UTF-8. `inode` and `phash` are unsigned
numbers of 64 bits in the bigint of the same bits. Texts that may be long are unique by their SHA-256.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import sql

from facededup.errors import NewerFormatError, StoreNotFoundError
from facededup.store.base import DIGEST_BYTES, Fingerprint
from facededup.store.postgres.copyformat import Kind, Layout
from facededup.store.postgres.server import Address, damaged, vector_schema
from facededup.store.tables import FACE_COLUMNS, IMAGE_COLUMNS, TEXT_COLUMNS

FORMAT = 1
TABLES = ("facededup", "roots", "images", "faces", "findings", "pairs", "clusters", "members", "decisions")
INLINE_DIMENSION = 1800
"""Longest embedding that fits into a page of 8 KiB beside the rest of its row."""
MOST_INDEXED = 2000
"""Longest vector that pgvector's indexes take."""

_TYPES: Mapping[Any, tuple[Kind, str]] = {
    "<i8": ("i8", "bigint"),
    "<u8": ("i8", "bigint"),
    "<i4": ("i4", "integer"),
    "<f4": ("f4", "real"),
    "|u1": ("i2", "smallint"),
    "|b1": ("?", "boolean"),
    f"V{DIGEST_BYTES}": (("bytes", DIGEST_BYTES), "bytea"),
    ("<f4", (5, 2)): (("real", 10), "real[]"),
    ("<f4", (5,)): (("real", 5), "real[]"),
}

IMAGES = Layout({name: _TYPES[kind][0] for name, kind in IMAGE_COLUMNS.items()}, TEXT_COLUMNS)
_FACE_KINDS = {
    **{name: _TYPES[kind][0] for name, kind in FACE_COLUMNS.items()},
    "digest": ("bytes", DIGEST_BYTES),
}
FACES = Layout(_FACE_KINDS)
"""As a snapshot reads them: without their embeddings."""
ROOTS = Layout({"id": "i4"}, ("path", "mount"))
PAIRS = Layout({"run": "i8", "position": "i8", "a": "i8", "b": "i8", "cosine": "f8", "new": "?"})
CLUSTERS = Layout(
    {
        "run": "i8",
        "number": "i8",
        "key": ("bytes", 12),
        "min_cosine": "f8",
        "new": "?",
        "mean_cosine": "f8",
        "medoid": "i8",
    }
)
MEMBERS = Layout({"run": "i8", "position": "i8", "cluster": "i8", "face": "i8", "bridge": "?"})

DECISIONS = {
    "a_digest": "bytea",
    "a_box": "integer[]",
    "a_path": "bytea",
    "b_digest": "bytea",
    "b_box": "integer[]",
    "b_path": "bytea",
    "verdict": "bytea",
    "who": "bytea",
    "model": "bytea",
    "at": "bigint",
    "similarity": "double precision",
    "cosine": "double precision",
}


def embedding_kind(dimension: int, *, vector: bool) -> Kind:
    """How an embedding travels."""
    return ("vector" if vector else "real", dimension)


def stored_faces(dimension: int, *, vector: bool) -> Layout:
    """Faces as they are written."""
    return Layout({**_FACE_KINDS, "embedding": embedding_kind(dimension, vector=vector)})


def stored_embeddings(dimension: int, *, vector: bool) -> Layout:
    """Faces as their embeddings are read."""
    return Layout({"id": "i8", "embedding": embedding_kind(dimension, vector=vector)})


@dataclass(frozen=True, slots=True)
class Head:
    """The one row of the table `facededup`."""

    uuid: str
    fingerprint: Fingerprint
    info: Mapping[str, Any]
    next_image_id: int
    next_face_id: int


def is_there(connection: psycopg.Connection, address: Address) -> bool:
    """Whether the schema holds a store; not if it is missing or empty.

    Raises:
        DamagedStoreError: It holds something else.
    """
    found = connection.execute(
        "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace "
        "WHERE nspname = %s AND relkind IN ('r', 'p', 'v', 'm', 'f')",
        [address.schema],
    ).fetchall()
    names = {name for (name,) in found}
    if names and not names.issuperset(TABLES):
        raise damaged(address)
    return bool(names)


def refuse_missing(connection: psycopg.Connection, address: Address) -> None:
    """Does nothing where there is a store.

    Raises:
        StoreNotFoundError: There is none.
        DamagedStoreError: The schema holds something else.
    """
    if not is_there(connection, address):
        raise StoreNotFoundError(
            f"there is no store at {address.location!r}: make one with `facededup index`"
        )


def read_head(connection: psycopg.Connection, address: Address, *, lock: bool = False) -> Head:
    """What the store says of itself.

    Args:
        connection: To the store.
        address: For messages.
        lock: Hold the row to the end of the transaction, so that commits follow each other.

    Raises:
        DamagedStoreError: It is no store, or damaged.
        NewerFormatError: A later version made it.
    """
    row = connection.execute(
        "SELECT format, uuid, fingerprint, info, next_image_id, next_face_id FROM facededup"
        + (" FOR UPDATE" if lock else "")
    ).fetchone()
    if row is None:
        raise damaged(address)
    number, name, fingerprint, info, next_image_id, next_face_id = row
    if number > FORMAT:
        raise NewerFormatError(
            f"the store {address.location!r} has format {number}, this version knows up to {FORMAT}; "
            "update facededup"
        )
    try:
        made_by = Fingerprint(**json.loads(fingerprint))
    except (TypeError, ValueError) as exc:
        raise damaged(address) from exc
    return Head(name, made_by, json.loads(info), next_image_id, next_face_id)


def has_vectors(connection: psycopg.Connection) -> bool:
    """Whether embeddings are pgvector's vectors in this store."""
    row = connection.execute(
        "SELECT format_type(atttypid, NULL) FROM pg_attribute "
        "WHERE attrelid = 'faces'::regclass AND attname = 'embedding'"
    ).fetchone()
    return row is not None and str(row[0]).endswith("vector")


def create(connection: psycopg.Connection, address: Address, fingerprint: Fingerprint) -> None:
    """Makes the tables of an empty store in the open transaction."""
    vector = vector_schema(connection) is not None
    # IF NOT EXISTS would ask for the right to make schemas even where there is nothing to make.
    if not connection.execute("SELECT FROM pg_namespace WHERE nspname = %s", [address.schema]).rowcount:
        connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(address.schema)))
    connection.execute(
        _DDL.format(
            images=_columns({name: _TYPES[kind][1] for name, kind in IMAGE_COLUMNS.items()}),
            faces=_columns({name: _TYPES[kind][1] for name, kind in FACE_COLUMNS.items()}),
            decisions=_columns(DECISIONS),
        )
    )
    connection.execute(f"ALTER TABLE faces ADD COLUMN embedding {'vector' if vector else 'real[]'} NOT NULL")
    keep_rows_together(connection, fingerprint.dimension)
    connection.execute(
        "INSERT INTO facededup VALUES (%s, %s, %s, %s, 0, 0)",
        [FORMAT, str(uuid.uuid4()), json.dumps(fingerprint.to_dict()), json.dumps({"created": now()})],
    )


def keep_rows_together(connection: psycopg.Connection, dimension: int) -> None:
    """Keeps embeddings inside their rows where they fit: to read them elsewhere costs three times as much."""
    storage = "PLAIN" if dimension <= INLINE_DIMENSION else "EXTERNAL"
    known = connection.execute(
        "SELECT FROM pg_attribute WHERE attrelid = 'faces'::regclass AND attname = 'embedding' "
        "AND attstorage = %s",
        [storage[0].lower()],
    )
    if not known.rowcount:  # to say it again would wait for readers
        connection.execute(f"ALTER TABLE faces ALTER COLUMN embedding SET STORAGE {storage}")


def now() -> str:
    """The time as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _columns(types: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {kind} NOT NULL" for name, kind in types.items())


_DDL = """
CREATE TABLE facededup (
    format integer NOT NULL, uuid text NOT NULL, fingerprint text NOT NULL, info text NOT NULL,
    next_image_id bigint NOT NULL, next_face_id bigint NOT NULL
);
CREATE UNIQUE INDEX facededup_one_row ON facededup ((true));
CREATE TABLE roots (id integer PRIMARY KEY, path bytea NOT NULL, mount bytea NOT NULL);
CREATE TABLE images ({images}, path bytea NOT NULL, reason bytea NOT NULL, tags bytea NOT NULL,
    PRIMARY KEY (id));
CREATE UNIQUE INDEX images_path ON images (sha256(path));
CREATE TABLE faces ({faces}, digest bytea NOT NULL, PRIMARY KEY (id));
CREATE UNIQUE INDEX faces_digest ON faces (digest, number);
CREATE TABLE findings (
    run bigint PRIMARY KEY, meta text NOT NULL, pairs bigint NOT NULL, shaped boolean NOT NULL
);
CREATE SEQUENCE runs;
CREATE TABLE pairs (
    run bigint, position bigint, a bigint NOT NULL, b bigint NOT NULL, cosine double precision NOT NULL,
    new boolean NOT NULL, PRIMARY KEY (run, position)
);
CREATE TABLE clusters (
    run bigint, number bigint, key text NOT NULL, min_cosine double precision NOT NULL, new boolean NOT NULL,
    mean_cosine double precision NOT NULL, medoid bigint NOT NULL, PRIMARY KEY (run, number)
);
CREATE TABLE members (
    run bigint, position bigint, cluster bigint NOT NULL, face bigint NOT NULL, bridge boolean NOT NULL,
    PRIMARY KEY (run, position)
);
CREATE TABLE decisions (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, {decisions});
"""
