"""The exact and the approximate self-join against plain FAISS, as ratios of one run, up to a million vectors.

The vectors are perturbed copies of face embeddings: mixtures of two random ones, so that there are as many
different people as the experiment needs, a few copies of each with Gaussian noise, normalised again. The
embeddings are real ones (`--embeddings`, a facededup store or a .npy) or strangers with the spectrum of real
ones (see selfjoin.py). `--gaussian` takes directions without any structure instead. The cut is the one that
leaves `--neighbours` a vector, estimated on a sample.

Plain FAISS is one `IndexFlatIP.range_search` of all vectors in themselves; from `--extrapolate` vectors on,
that of 2,000 of them, times n / 2,000. The exact search is extrapolated there from a part of its columns.
Each count runs in a process of its own, so that its peak memory is its own.

`--added N` compares the last N vectors with all others, as `find` does after N new faces came, and gives the
share of the exact search of everything. `--hnsw` runs the join by a graph, too. `--find` imports the vectors
into a store, one face an image, runs the whole of `facededup find` on it in a process of its own, and fails
if that took more memory than twice the embeddings and 500 MB.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from typing import Any

import faiss
import h5py
import numpy as np
from common import report
from selfjoin import Rows, normalised, seconds, strangers

from facededup.matching.approximate import RecallMeter, approximate_join, tune_lists
from facededup.matching.hnsw import hnsw_join
from facededup.matching.planning import plan_search
from facededup.matching.screen import Screen
from facededup.matching.selfjoin import comparisons, estimate_pairs, self_join
from facededup.models.catalog import DEFAULT_MODEL, describe_model
from facededup.models.scores import similarity
from facededup.store.base import Fingerprint
from facededup.types import Floats

PLAIN_QUERIES = 2_000


def load(path: str | None, count: int) -> Floats:
    if path is None:
        return strangers(min(count, 20_000))
    if path.endswith(".npy"):
        return np.load(path)
    with h5py.File(path) as file:
        return file["embeddings"][:]


def mixed(embeddings: Floats, count: int, copies: int, noise: float, seed: int = 0) -> Floats:
    """People between two real ones, `copies` noisy pictures of each, shuffled."""
    random = np.random.default_rng(seed)
    people = -(-count // copies)
    made = np.empty((count, embeddings.shape[1]), np.float32)
    order = random.permutation(count)
    for start in range(0, people, 65_536):
        some = min(65_536, people - start)
        share = random.uniform(0, 1, (some, 1)).astype(np.float32)
        first, second = random.integers(0, len(embeddings), (2, some))
        centres = share * embeddings[first] + (1 - share) * embeddings[second]
        # Mixing halves what tells people apart: it is put back around the mean face.
        centres += (1 / np.sqrt(share**2 + (1 - share) ** 2) - 1) * (centres - embeddings.mean(axis=0))
        pictures = np.repeat(normalised(centres), copies, axis=0)
        errors = random.standard_normal(pictures.shape, np.float32)
        pictures += noise / np.sqrt(pictures.shape[1]) * errors
        places = order[start * copies : start * copies + len(pictures)]
        made[places] = normalised(pictures[: len(places)])
    return made


def gaussian(count: int, dimension: int = 128) -> Floats:
    return normalised(np.random.default_rng(0).standard_normal((count, dimension), np.float32))


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def plain_seconds(queries: Floats, vectors: Floats, cut: float) -> float:
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return seconds(lambda: index.range_search(queries, cut))


def measure(given: argparse.Namespace, count: int) -> dict[str, Any]:
    made = gaussian(count) if given.gaussian else None
    vectors = mixed(load(given.embeddings, count), count, 3, given.noise) if made is None else made
    source, group = Rows(vectors), np.arange(count)
    cut = estimate_pairs(source, 0.0 if given.gaussian else 0.9, group=group).cut_for(
        int(count * given.neighbours / 2)
    )
    few = count >= given.extrapolate
    queries = vectors[:: max(1, count // PLAIN_QUERIES)][:PLAIN_QUERIES] if few else vectors
    plain = plain_seconds(queries, vectors, cut) * count / len(queries)

    plans = []
    planning = seconds(lambda: plans.append(plan_search(source, cut)))
    screen = plans[0].screen
    since = int(count * 0.99) if few else 0
    found = 0

    def join() -> None:
        nonlocal found
        found = sum(map(len, self_join(source, cut, group=group, since=since, screen=screen)))

    exact = seconds(join) * comparisons(count) / comparisons(count, since) + planning
    figures = {
        "vectors": count,
        "cut": cut,
        "axes": None if screen is None else screen.axes.shape[1],
        "plain FAISS, seconds": plain,
        "exact, seconds": exact,
        "exact / plain": exact / plain,
        "extrapolated": few,
    }
    if given.added:
        since = count - given.added
        new = seconds(join)
        figures["added vectors, seconds"] = new
        figures["added / exact"] = new / exact
    if given.hnsw:
        figures |= by_graph(vectors, cut, screen)
    if given.find:
        figures |= whole_find(vectors, cut)
    if not given.gaussian:
        before = peak_bytes()
        figures |= approximate(vectors, cut, screen, given.recall)
        figures["approximate / plain"] = figures["approximate, seconds"] / plain
        figures["approximate / exact"] = figures["approximate, seconds"] / exact
        figures["peak MB before the approximate search"] = before / 1e6
        figures["peak MB"] = peak_bytes() / 1e6
        figures["embeddings MB"] = vectors.nbytes / 1e6
    return figures


def approximate(vectors: Floats, cut: float, screen: Screen | None, target: float) -> dict[str, Any]:
    source, group = Rows(vectors), np.arange(len(vectors))
    meter, made, recalls = RecallMeter(len(vectors)), [], []
    tuning = seconds(lambda: made.append(tune_lists(vectors, cut, target, group=group, screen=screen)))

    def join() -> None:
        for _ in meter.counted(approximate_join(vectors, made[0], cut, group=group)):
            pass

    joining = seconds(join)
    measuring = seconds(lambda: recalls.append(meter.measure(source, cut, group=group, screen=screen)))
    recall = recalls[0]
    return {
        "lists": made[0].count,
        "visits": made[0].visits.shape[1],
        "approximate, seconds": tuning + joining + measuring,
        "of these tuning, joining, measuring": [round(x, 2) for x in (tuning, joining, measuring)],
        "recall": recall.value,
        "recall interval": [recall.low, recall.high],
    }


def by_graph(vectors: Floats, cut: float, screen: Screen | None) -> dict[str, Any]:
    source, group = Rows(vectors), np.arange(len(vectors))
    meter = RecallMeter(len(vectors))

    def join() -> None:
        for _ in meter.counted(hnsw_join(vectors, cut, group=group)):
            pass

    spent = seconds(join)
    recall = meter.measure(source, cut, group=group, screen=screen)
    return {"hnsw, seconds": spent, "hnsw recall": recall.value, "hnsw interval": [recall.low, recall.high]}


def whole_find(vectors: Floats, cut: float) -> dict[str, Any]:
    """Time and peak memory of `facededup find` over a store of these vectors, one face an image."""
    model = describe_model(DEFAULT_MODEL)
    threshold = float(similarity(cut, model.operating_cosine))
    made_by = Fingerprint(model.name, model.weights, vectors.shape[1], "dlib", "chip", False, "all")
    with tempfile.TemporaryDirectory() as folder:
        table, store, metrics = (f"{folder}/{name}" for name in ("faces.npz", "faces.h5", "metrics.json"))
        paths = np.char.mod("/made/up/%08d.jpg", np.arange(len(vectors))).astype(np.bytes_)
        np.savez(table, path=paths, embedding=vectors, fingerprint=np.array(json.dumps(made_by.to_dict())))
        run = [sys.executable, "-m", "facededup"]
        subprocess.run([*run, "import", table, "--store", store, "--quiet"], check=True)
        command = [*run, "find", "--cpu", "--store", store, f"--threshold={threshold}", "--quiet"]
        subprocess.run([*command, "--metrics", metrics], check=True)
        with open(metrics) as file:
            measured = json.load(file)
    allowed = 2 * vectors.nbytes + 500e6
    return {
        "find, seconds": measured["seconds"],
        "of these": {name: round(stage["seconds"], 1) for name, stage in measured["stages"].items()},
        "find, peak MB": measured["peak_rss_bytes"] / 1e6,
        "find, allowed MB": allowed / 1e6,
        "find, within": measured["peak_rss_bytes"] <= allowed,
    }


def plot(measured: list[dict[str, Any]], path: str) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    counts = [figures["vectors"] for figures in measured]
    figure, axes = plt.subplots(figsize=(7, 4.5), layout="constrained")
    for name in ("plain FAISS", "exact", "approximate"):
        seconds = [figures[f"{name}, seconds"] for figures in measured]
        (line,) = axes.plot(counts, seconds, "-", label=name)
        for figures, count, spent in zip(measured, counts, seconds, strict=True):
            hollow = figures["extrapolated"] and name != "approximate"
            axes.plot(count, spent, "o", color=line.get_color(), fillstyle="none" if hollow else "full")
    axes.set(xscale="log", yscale="log", xlabel="vectors (hollow: extrapolated)", ylabel="seconds")
    axes.legend()
    axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120)


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--embeddings", help="a store or a .npy of real embeddings")
    arguments.add_argument("--counts", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    arguments.add_argument("--neighbours", type=float, default=4.0)
    arguments.add_argument("--noise", type=float, default=0.2, help="length of the noise on each picture")
    arguments.add_argument("--recall", type=float, default=0.999)
    arguments.add_argument("--extrapolate", type=int, default=300_000)
    arguments.add_argument("--gaussian", action="store_true", help="directions without structure")
    arguments.add_argument("--added", type=int, default=0, metavar="N", help="search so many new ones, too")
    arguments.add_argument("--hnsw", action="store_true", help="search by a graph, too")
    arguments.add_argument("--find", action="store_true", help="run the whole of `find`, with a memory bound")
    arguments.add_argument("--plot", metavar="FILE.png", help="cost against the number of vectors")
    arguments.add_argument("--json", help="write the figures here, too")
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(measure(given, given.one)))
        return
    measured = []
    for count in given.counts:
        command = [sys.executable, *sys.argv, "--one", str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        measured.append(json.loads(done.stdout))
        print(json.dumps(measured[-1], indent=1), flush=True)
    if given.plot:
        plot(measured, given.plot)
    report({"measured": measured}, given.json)
    if not all(figures.get("find, within", True) for figures in measured):
        raise SystemExit("find took more memory than twice the embeddings and 500 MB")


if __name__ == "__main__":
    main()
