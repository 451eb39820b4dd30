"""What safety costs: commits and flushes while indexing, `verify`, `find` on an encrypted store.

    python benchmarks/safety_cost.py ../shared/lfw --count 100000

Each figure is the median of the rounds. The stage `store` must stay at or below 3% of the time of indexing,
`verify` at or above half the speed of reading the file and hashing it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from common import images_of, median, parser, report, spread

import facededup
from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.crypto import Key, StoreKey
from facededup.store.hdf5 import Hdf5Store
from facededup.types import Box, Face, FileStat, Outcome

KEY = Key(b"a key for measuring, long enough")
DIMENSION = 128
_BATCH = 1 << 13


def vectors_of(count: int) -> np.ndarray:
    """float32 (count, 128), L2-normalised, most of it in few dimensions, as embeddings of faces are."""
    made = np.random.default_rng(0).standard_normal((count, DIMENSION), np.float32)
    made *= 0.9 ** np.arange(DIMENSION, dtype=np.float32)
    made /= np.linalg.norm(made, axis=1, keepdims=True)
    return made


def make_store(path: str, count: int, *, encrypted: bool) -> Hdf5Store:
    """A store of one face an image."""
    chance, vectors = np.random.default_rng(0), vectors_of(count)
    face = (Face(Box(1, 2, 3, 4), 1.0, ((1.0, 2.0),) * 5),)
    store = Hdf5Store(path, KEY if encrypted else None, encrypt=encrypted)
    made = Fingerprint("Dlib", "made-up", DIMENSION, "dlib", "chip", flip=False, faces="all")
    with store.writer(made) as writer:
        for start in range(0, count, _BATCH):
            rows = range(start, min(start + _BATCH, count))
            digests = [chance.bytes(32) for _ in rows]
            writer.commit(
                Batch(
                    images=tuple(
                        ImageRecord(
                            path=b"/registry/portraits/%03d/%08d.jpg" % (row % 1000, row),
                            root=b"/registry",
                            mount=b"/",
                            stat=FileStat(1000 + row, row, row, row),
                            digest=digest,
                            outcome=Outcome.OK,
                        )
                        for row, digest in zip(rows, digests, strict=True)
                    ),
                    contents=tuple(
                        Content(digest, face, vectors[row : row + 1])
                        for row, digest in zip(rows, digests, strict=True)
                    ),
                )
            )
    return store


def hash_file(path: str) -> None:
    """Reads a file and hashes it with BLAKE2."""
    hash_ = hashlib.blake2b()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            hash_.update(block)


def verify_speed(store: Hdf5Store, rounds: int = 5) -> float:
    """How fast `verify` is, where hashing the file is 1."""

    def verify() -> None:
        assert store.check() == []

    return median([timed(lambda: hash_file(store.path)) / timed(verify) for _ in range(rounds)])


def timed(call: Callable[[], Any]) -> float:
    """Seconds of wall time."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def read_all(store: Hdf5Store) -> None:
    """All embeddings, in blocks, as a search reads them."""
    with store.snapshot() as snapshot:
        for _ in snapshot.embedding_blocks():
            pass


def _store_share(images: list[str], folder: str, key_file: str | None) -> float:
    """The part of the time of indexing that goes into commits, flushes and the fold."""
    location = os.path.join(folder, "share.h5")
    result = facededup.index(images, store=location, key_file=key_file, encrypt=key_file is not None)
    os.unlink(location)
    metrics = result.metrics.to_dict()
    return float(metrics["stages"]["store"]["seconds"] / (metrics["seconds"] - metrics["startup_seconds"]))


def main() -> None:
    """Measures and prints."""
    made = parser(__doc__ or "")
    made.add_argument("--images", type=int, default=1000, help="indexed, evenly spread over the faces")
    made.add_argument("--count", type=int, default=100_000, help="faces of the made-up stores")
    made.add_argument("--threshold", type=float, default=0.9, help="of the search in them")
    made.add_argument("--rounds", type=int, default=3)
    given = made.parse_args()
    images = spread(images_of(given.faces), given.images)
    figures: dict[str, Any] = {"images indexed": len(images), "faces searched": given.count}
    with tempfile.TemporaryDirectory() as folder:
        key_file = Path(folder, "key")
        key_file.write_bytes(KEY.secret)
        for kind, key in (("plain", None), ("encrypted", str(key_file))):
            shares = [_store_share(images, folder, key) for _ in range(given.rounds)]
            figures[f"{kind}: stage store, % of indexing"] = round(100 * median(shares), 2)
        for kind in ("plain", "encrypted"):
            path = os.path.join(folder, f"{kind}.h5")
            key = str(key_file) if kind == "encrypted" else None
            store = make_store(path, given.count, encrypted=key is not None)
            figures[f"{kind}: bytes"] = os.path.getsize(path)
            figures[f"{kind}: verify, times the speed of BLAKE2"] = round(verify_speed(store), 2)
            figures[f"{kind}: all embeddings read, s"] = round(
                median([timed(lambda: read_all(store)) for _ in range(given.rounds)]),  # noqa: B023
                3,
            )

            def find(path: str = path, key: str | None = key) -> None:
                facededup.find(store=path, key_file=key, threshold=given.threshold, reset=True)

            seconds = [timed(find) for _ in range(given.rounds)]
            figures[f"{kind}: find, s"] = round(median(seconds), 2)
        figures["scrypt, once a command, s"] = round(timed(lambda: StoreKey.create(KEY)), 2)
    report(figures, given.json)


if __name__ == "__main__":
    main()
