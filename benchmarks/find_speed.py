"""`facededup find` as a whole command against one plain FAISS range search of the same data.

The data: perturbed copies of the embeddings of real faces (each an embedding plus Gaussian noise of a tenth
of its length, normalised again), in a store of their own. The plain search is a script that imports h5py and
faiss, reads the embeddings and calls `IndexFlatIP.range_search` once at the same cosine; it keeps nothing.
Both are timed as whole processes, in turn; the ratio is taken round by round.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

import numpy as np
from common import images_of, median, parser, report

import facededup
from facededup.models.scores import cosine_cut
from facededup.store.base import Batch, Content, ImageRecord
from facededup.store.opener import open_store
from facededup.types import Box, Face, FileStat, Outcome

PLAIN = """
import sys, h5py, faiss
with h5py.File(sys.argv[1]) as file:
    x = file["embeddings"][:]
index = faiss.IndexFlatIP(x.shape[1])
index.add(x)
limits, cosines, rows = index.range_search(x, float(sys.argv[2]))
print(len(rows))
"""


def run_measured(command: list[str]) -> tuple[float, int]:
    """Wall seconds and peak bytes of one process."""
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[:4]} failed with {process.returncode}")
    return seconds, usage.ru_maxrss * 1024


def perturbed(embeddings: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    copies = embeddings[np.arange(count) % len(embeddings)]
    noise = random.standard_normal(copies.shape, np.float32)
    copies = copies + 0.1 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return copies / np.linalg.norm(copies, axis=1, keepdims=True)


def write_store(location: str, vectors: np.ndarray, fingerprint: object) -> None:
    """Puts each vector into a store as the one face of an image of its own."""
    with open_store(location).writer(fingerprint) as writer:
        for start in range(0, len(vectors), 1000):
            images, contents = [], []
            for row in range(start, min(start + 1000, len(vectors))):
                digest = row.to_bytes(32, "big", signed=False)[::-1] if row else b"\xff" * 32
                face = Face(Box(0, 0, 100, 100), 1.0)
                contents.append(Content(digest, (face,), vectors[row : row + 1]))
                images.append(
                    ImageRecord(
                        path=b"/faces/%08d.jpg" % row,
                        root=b"/faces",
                        mount=b"/",
                        stat=FileStat(1, 1, 1, row),
                        digest=digest,
                        outcome=Outcome.OK,
                        width=250,
                        height=250,
                    )
                )
            writer.commit(Batch(images=tuple(images), contents=tuple(contents)))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--count", type=int, default=20_000)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--threshold", type=float, default=0.4)
    arguments.add_argument("--store", help="a store of the faces that is there already")
    arguments.add_argument("--at-most", type=float, help="fail when the median ratio is higher")
    given = arguments.parse_args()
    images_of(given.faces)
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or os.path.join(folder, "faces.h5")
        if not given.store:
            facededup.index([given.faces], store=store, faces="center")
        with open_store(store).snapshot() as snapshot:
            vectors = perturbed(snapshot.embeddings(0, len(snapshot.faces)), given.count)
            fingerprint = snapshot.fingerprint
        copies = os.path.join(folder, "copies.h5")
        write_store(copies, vectors, fingerprint)
        found = facededup.find(store=copies, threshold=given.threshold)
        cut = cosine_cut(given.threshold, found.operating_cosine)
        plain = [sys.executable, "-c", PLAIN, copies, str(cut)]
        ours = [sys.executable, "-m", "facededup", "find", "--store", copies, "--threshold"]
        ours += [str(given.threshold), "--quiet"]
        run_measured(plain)
        rounds = [(run_measured(plain), run_measured(ours)) for _ in range(given.rounds)]
    ratios = [mine[0] / theirs[0] for theirs, mine in rounds]
    peak = max(mine[1] for _, mine in rounds)
    allowed = 3 * vectors.nbytes + 300e6
    report(
        {
            "faces": given.count,
            "threshold": given.threshold,
            "pairs": found.pairs_total,
            "clusters": found.clusters_total,
            "plain FAISS, seconds": median([theirs[0] for theirs, _ in rounds]),
            "facededup find, seconds": median([mine[0] for _, mine in rounds]),
            "ratio, median": median(ratios),
            "ratios": [round(ratio, 2) for ratio in ratios],
            "find, peak MB": peak / 1e6,
            "allowed MB (3 x data + 300)": allowed / 1e6,
        },
        given.json,
    )
    if peak > allowed or (given.at_most and median(ratios) > given.at_most):
        sys.exit("find fell behind its limits")


if __name__ == "__main__":
    main()
