"""CPU against GPU in one command: `index` on the same images, the search on the same embeddings, and parity.

    python benchmarks/cpu_vs_gpu.py ../shared/lfw --images 6398 --out results

`index` runs as a command in either mode; its own metrics give images/s of each stage, and the two stores the
cosines between the embeddings of one face (with a detector other than dlib's, which runs on the GPU, too, a
rounding may move a box by a pixel: then only the speed is compared). The search runs in this process on
made-up people (three pictures of each, see search.py) of 128 and 512 dimensions at the cut that leaves four
neighbours a vector, by the CPU's exact search and by every library that sees a GPU. Where pair sets differ
the script exits with 1.

Without a GPU the GPU's columns say so, and the rest is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from common import document, images_of, parser, spread
from search import mixed
from selfjoin import Rows, strangers

from facededup.devices import list_gpus
from facededup.errors import NoGpuError
from facededup.matching.gpu import open_searches
from facededup.matching.selfjoin import estimate_pairs
from facededup.matching.strategy import PairSearch
from facededup.models.catalog import DEFAULT_DETECTOR
from facededup.progress import SilentProgress
from facededup.settings import SEARCH_ENGINE_CHOICES
from facededup.types import Floats

LEAST_COSINE = 0.9999
NEIGHBOURS = 4
NO_GPU = "no GPU"
STAGES = ("decode", "detect", "align", "embed", "store")


def main() -> None:
    given = _arguments()
    cards = [gpu.name for gpu in list_gpus()]
    figures: dict[str, Any] = {"gpus": cards or NO_GPU}
    with tempfile.TemporaryDirectory() as folder:
        figures["index"] = compare_index(given, Path(folder)) if given.images else None
    figures["search"] = [
        compare_search(count, dimension, given)
        for count in given.counts
        for dimension in given.dimensions
        if cards or count <= given.cpu_most
    ]
    made = document(figures)
    out = Path(given.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "cpu_vs_gpu.json").write_text(json.dumps(made, indent=1) + "\n")
    (out / "cpu_vs_gpu.md").write_text(markdown(made))
    plot(made, out / "cpu_vs_gpu.png")
    print(markdown(made))
    if figures["index"] and figures["index"].get("parity", 1.0) < LEAST_COSINE:
        sys.exit(f"embeddings differ: least cosine {figures['index']['parity']:.6f}")
    if any(row.get("same_pairs") is False for row in figures["search"]):
        sys.exit("the pair sets differ")


def _arguments() -> argparse.Namespace:
    made = parser(__doc__.partition("\n")[0])
    made.add_argument("--images", type=int, default=6398, help="for index; 0 leaves it out")
    made.add_argument("--model", default="Dlib")
    made.add_argument("--engine", default="auto")
    made.add_argument("--detector", default=DEFAULT_DETECTOR)
    made.add_argument("--processes", type=int)
    made.add_argument("--precision", default="float32")
    made.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000, 10_000_000])
    made.add_argument("--dimensions", type=int, nargs="+", default=[128, 512])
    made.add_argument("--cpu-most", type=int, default=100_000, help="largest count searched on the CPU")
    made.add_argument("--out", default="results", help="folder for JSON, Markdown and PNG")
    return made.parse_args()


def compare_index(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    chosen = spread(images_of(given.faces), given.images)
    listed = folder / "images"
    for path in chosen:
        target = listed / Path(path).parent.name / Path(path).name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(os.path.abspath(path))
    figures: dict[str, Any] = {"images": len(chosen), "model": given.model}
    for mode in ("cpu", "gpu"):
        figures[mode] = run_index(given, listed, folder / f"{mode}.h5", mode)
    if isinstance(figures["gpu"], dict):
        if given.detector == DEFAULT_DETECTOR:
            figures["parity"] = parity(folder / "cpu.h5", folder / "gpu.h5")
        figures["ratio"] = figures["gpu"]["images_per_second"] / figures["cpu"]["images_per_second"]
    return figures


def run_index(given: argparse.Namespace, listed: Path, store: Path, mode: str) -> dict[str, Any] | str:
    metrics = store.with_suffix(".json")
    command = [sys.executable, "-m", "facededup", "index", str(listed), "--follow-symlinks", f"--{mode}"]
    command += ["--store", str(store), "--metrics", str(metrics), "--model", given.model, "--quiet"]
    command += ["--engine", given.engine, "--detector", given.detector]
    if given.processes:
        command += ["-p", str(given.processes)]
    if mode == "gpu":
        command += ["--precision", given.precision]
        command += ["--detect-gpu"] * (given.detector != DEFAULT_DETECTOR)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == NoGpuError.exit_code and mode == "gpu":
        return NO_GPU
    if done.returncode:
        sys.exit(done.stderr)
    measured: dict[str, Any] = json.loads(metrics.read_text())
    return measured


def parity(one: Path, other: Path) -> float:
    """The least cosine between the two embeddings of one face; both stores must hold the same faces."""
    tables = []
    for path in (one, other):
        with h5py.File(path) as file:
            # Stores hold images in the order in which they came back from the workers.
            order = np.argsort(file["images/path"][:][file["faces/image"][:]], kind="stable")
            tables.append(file["embeddings"][:][order])
    if tables[0].shape != tables[1].shape:
        sys.exit(f"the stores hold {len(tables[0])} and {len(tables[1])} faces")
    return float(np.einsum("ij,ij->i", *tables).min())


def compare_search(count: int, dimension: int, given: argparse.Namespace) -> dict[str, Any]:
    vectors = mixed(strangers(min(count, 20_000), dimension=dimension), count, 3, 0.2)
    group = np.arange(count)
    cut = estimate_pairs(Rows(vectors), 0.9, group=group).cut_for(count * NEIGHBOURS // 2)
    row: dict[str, Any] = {"vectors": count, "dimension": dimension, "cut": cut}
    found = {}
    if count <= given.cpu_most:
        row["cpu"], found["cpu"] = timed_search(vectors, cut, ())
    for engine in SEARCH_ENGINE_CHOICES:
        try:
            searches = open_searches(gpu=True, engine=engine, half=given.precision == "float16")
        except NoGpuError:
            row[engine] = NO_GPU
            continue
        timed_search(vectors[:20_000], cut, searches)  # the first search tunes and allocates
        row[engine], found[engine] = timed_search(vectors, cut, searches)
    keys = list(found.values())
    row["pairs"] = len(keys[0]) if keys else None
    if len(keys) > 1:
        row["same_pairs"] = all(np.array_equal(keys[0], other) for other in keys[1:])
    return row


def timed_search(vectors: Floats, cut: float, searches: Any) -> tuple[float, np.ndarray]:
    """Seconds, and the pairs as sorted keys."""
    started = time.perf_counter()
    search = PairSearch(
        Rows(vectors),
        cut,
        group=np.arange(len(vectors)),
        since=0,
        index="flat",
        recall=0.999,
        progress=SilentProgress(),
        searches=searches,
    )
    keys = [block.a * len(vectors) + block.b for block in search.blocks()]
    taken = time.perf_counter() - started
    return taken, np.sort(np.concatenate([np.empty(0, np.int64), *keys]))


def markdown(made: dict[str, Any]) -> str:
    gpus = made["gpus"] if isinstance(made["gpus"], str) else ", ".join(made["gpus"])
    lines = [f"{made['machine']}; GPU: {gpus}; {made['date']}; `{made['command']}`", ""]
    if made["index"]:
        lines += [f"`index`, {made['index']['images']:,} images, model {made['index']['model']}:", ""]
        lines += ["| | CPU | GPU |", "|---|---|---|"]
        modes = [made["index"][mode] for mode in ("cpu", "gpu")]
        for name, pick in [
            ("images/s", lambda mode: mode["images_per_second"]),
            *(
                (f"{stage}/s", lambda mode, stage=stage: mode["stages"][stage]["per_second"])
                for stage in STAGES
            ),
        ]:
            cells = [_number(pick(mode)) if isinstance(mode, dict) else mode for mode in modes]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        if "parity" in made["index"]:
            lines += ["", f"least cosine between the two embeddings of a face: {made['index']['parity']:.6f}"]
        lines.append("")
    names = ("cpu", *SEARCH_ENGINE_CHOICES)
    head = ("vectors", "pairs", "CPU", *(f"GPU, {name}" for name in SEARCH_ENGINE_CHOICES), "same pairs")
    lines += ["Search, seconds:", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    for row in made["search"]:
        seconds = [_number(row.get(name, "not run")) for name in names]
        cells = [f"{row['vectors']:,} x {row['dimension']}", _number(row["pairs"]), *seconds]
        lines.append(f"| {' | '.join([*cells, str(row.get('same_pairs', 'nothing to compare'))])} |")
    return "\n".join(lines) + "\n"


def _number(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def plot(made: dict[str, Any], path: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    for mode, shift in (("cpu", -0.2), ("gpu", 0.2)):
        measured = (made["index"] or {}).get(mode)
        if isinstance(measured, dict):
            rates = [measured["stages"][stage]["per_second"] or 0 for stage in STAGES]
            left.bar(np.arange(len(STAGES)) + shift, rates, 0.4, label=mode.upper())
    left.set(xticks=range(len(STAGES)), xticklabels=STAGES, ylabel="a second of one worker", yscale="log")
    for dimension, style in zip(sorted({row["dimension"] for row in made["search"]}), "-:", strict=False):
        for name in ("cpu", *SEARCH_ENGINE_CHOICES):
            points = [
                (row["vectors"], row[name])
                for row in made["search"]
                if row["dimension"] == dimension and isinstance(row.get(name), float)
            ]
            if points:
                right.plot(*zip(*points, strict=True), f"o{style}", label=f"{name} x {dimension}")
    right.set(xscale="log", yscale="log", xlabel="vectors", ylabel="seconds of search")
    for axes in (left, right):
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
        axes.grid(visible=True, alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
