"""`facededup find --queue` with 1, 2 and 4 workers against `facededup find`, on synthetic faces.

Like real embeddings the vectors are close to one direction and have most of their energy in few dimensions.
The workers read the store; the pairs are compared with those of the local search.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np
from common import report
from queue_speed import redis_server, workers

import facededup
from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.hdf5 import Hdf5Store
from facededup.types import Box, Face, FileStat, Outcome

DIMENSION = 128
MEAN = 0.85
"""Mean cosine of two strangers, as the default model gives it."""


def write_store(path: str, faces: int) -> None:
    """A store of so many faces of strangers, in batches."""
    draw = np.random.default_rng(0)
    scale = 1 / np.sqrt(1 + np.arange(DIMENSION))
    common = draw.standard_normal(DIMENSION)
    common /= np.linalg.norm(common)
    made = Fingerprint("Dlib", "synthetic", DIMENSION, "dlib", "chip", flip=False, faces="all")
    with Hdf5Store(path).writer(made) as writer:
        for start in range(0, faces, 20_000):
            count = min(20_000, faces - start)
            own = draw.standard_normal((count, DIMENSION)) * scale
            own /= np.linalg.norm(own, axis=1, keepdims=True)
            rows = np.sqrt(MEAN) * common + np.sqrt(1 - MEAN) * own
            rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
            images, contents = [], []
            for k in range(count):
                digest = (start + k + 1).to_bytes(32, "big")
                images.append(
                    ImageRecord(
                        path=b"/f/%d" % (start + k),
                        root=b"/f",
                        mount=b"/",
                        stat=FileStat(1, 1, 1, start + k),
                        digest=digest,
                        outcome=Outcome.OK,
                    )
                )
                contents.append(Content(digest, (Face(Box(0, 0, 1, 1), 1.0),), rows[k : k + 1]))
            writer.commit(Batch(images=tuple(images), contents=tuple(contents)))


def find_seconds(store: str, scratch: str, threshold: float, url: str, *extra: str) -> tuple[float, set[Any]]:
    """Wall seconds of one `facededup find` on a copy of a store, and its pairs."""
    copy = os.path.join(scratch, "copy.h5")
    shutil.copy(store, copy)
    command = [sys.executable, "-m", "facededup", "find", "--store", copy, "--threshold", str(threshold)]
    started = time.perf_counter()
    subprocess.run(
        [*command, "--exact", "--cpu", "--quiet", *extra],
        check=True,
        env={**os.environ, "FACEDEDUP_BROKER_URL": url},
    )
    seconds = time.perf_counter() - started
    with Hdf5Store(copy).snapshot() as snapshot:
        findings = snapshot.findings()
        assert findings is not None
        block = findings.pairs(0, findings.pair_count)
    os.remove(copy)
    return seconds, set(zip(block.a.tolist(), block.b.tolist(), block.cosine.tolist(), strict=True))


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--faces", type=int, default=200_000)
    arguments.add_argument("--threshold", type=float, default=0.75)
    arguments.add_argument("--workers", default="1,2,4")
    arguments.add_argument("--json", help="write the figures here, too")
    given = arguments.parse_args()
    figures: dict[str, Any] = {"faces": given.faces, "facededup": facededup.__version__}
    with tempfile.TemporaryDirectory() as scratch, redis_server(scratch) as url:
        store = os.path.join(scratch, "faces.h5")
        write_store(store, given.faces)
        local, expected = find_seconds(store, scratch, given.threshold, url)
        figures |= {"pairs": len(expected), "find, seconds": local}
        for count in map(int, given.workers.split(",")):
            with workers(url, count, count, scratch):
                seconds, pairs = find_seconds(store, scratch, given.threshold, url, "--queue")
            assert pairs == expected, "the queue found other pairs"
            figures |= {f"{count} worker(s), seconds": seconds}
    report(figures, given.json)


if __name__ == "__main__":
    main()
