"""How near the false pairs that `find` expects come to the true ones, on people not used for the curve.

For each size: so many images of people drawn at random are searched, the curve comes from all other people.
The whole is repeated with other draws, as a few people who look alike and have many images can double the
count of a draw. Fails when the median over the draws is off by more than `--within`.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from common import images_of, median, parser, report

import facededup
from facededup.calibration import Calibration, choose_cut
from facededup.evaluation.curves import score_all
from facededup.evaluation.making import impostor_points
from facededup.evaluation.sample import Sample, load_sample
from facededup.progress import SilentProgress
from facededup.settings import Settings
from facededup.store.opener import open_store


def embedded(folder: str, store: str) -> Sample:
    """All labelled faces of a folder."""
    facededup.index([folder], store=store, faces="center")
    people = {str(Path(path).absolute()): Path(path).parent.name for path in images_of(folder)}
    with open_store(store).snapshot() as snapshot:
        return load_sample(snapshot, people)


def held_out(sample: Sample, size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of randomly drawn people, `size` of them, and the images of all other people."""
    order = np.random.default_rng(seed).permutation(len(sample.people))
    images = [np.flatnonzero(sample.person == person) for person in order]
    place = int(np.searchsorted(np.cumsum([len(some) for some in images]), size)) + 1
    return np.concatenate(images[:place])[:size], np.concatenate([np.empty(0, np.int64), *images[place:]])


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="a store of the faces (--faces center)")
    arguments.add_argument("--sizes", type=int, nargs="+", default=[2000, 4000, 6000])
    arguments.add_argument("--thresholds", type=float, nargs="+", default=[0.4, 0.5, 0.6])
    arguments.add_argument("--draws", type=int, default=5)
    arguments.add_argument("--within", type=float, default=2.0)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sample = embedded(given.faces, given.store or str(Path(folder) / "faces.h5"))
    rows = []
    print(f"{'faces':>6} {'others':>6} {'threshold':>9} {'expected':>9} {'came':>7} {'ratio':>6}")
    for size in given.sizes:
        for seed in range(given.draws):
            rows += compare(sample, *held_out(sample, size, seed), given.thresholds)
    table, worst = [], 0.0
    for size, threshold in itertools.product(given.sizes, given.thresholds):
        chosen = [row for row in rows if (row["size"], row["threshold"]) == (size, threshold)]
        ratios = [row["ratio"] for row in chosen]
        if not any(row["extrapolated"] for row in chosen):
            worst = max(worst, median(ratios), 1 / median(ratios))
        within = sum(1 / given.within <= ratio <= given.within for ratio in ratios)
        table.append([size, threshold, round(median(ratios), 2), f"{within} of {len(ratios)}"])
    report(
        {"size, threshold, median ratio, draws within": table, "largest median factor": worst, "rows": rows},
        given.json,
    )
    if worst > given.within:
        sys.exit(f"the median expectation is off by more than a factor of {given.within}")


def compare(
    sample: Sample, searched: np.ndarray, measured: np.ndarray, thresholds: list[float]
) -> list[dict[str, float]]:
    """Expected and true false pairs at each threshold."""
    theirs, ours = sample.restricted(measured), sample.restricted(searched)
    curve, _ = score_all(theirs.embeddings(), theirs.labels(), SilentProgress())
    scale = Calibration(operating_cosine=0.93, source="calibration", impostors=impostor_points(curve))
    own, _ = score_all(ours.embeddings(), ours.labels(), SilentProgress())
    faces = len(ours.seen)
    rows = []
    for threshold in thresholds:
        cut = choose_cut(Settings(threshold=threshold), scale, faces * (faces - 1) // 2)
        came = own.fmr(cut.cosine) * own.impostor_pairs
        row = {
            "size": len(searched),
            "faces": faces,
            "faces of others": len(theirs.seen),
            "threshold": threshold,
            "expected": cut.expected_false_pairs,
            "came": round(came),
            "ratio": cut.expected_false_pairs / max(came, 1),
            "extrapolated": cut.extrapolated,
        }
        rows.append(row)
        print(
            f"{faces:6} {row['faces of others']:6} {threshold:9} {row['expected']:9.1f} {row['came']:7} "
            f"{row['ratio']:6.2f}{'  (extrapolated)' if cut.extrapolated else ''}"
        )
    return rows


if __name__ == "__main__":
    main()
