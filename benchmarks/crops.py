"""Which views of a face are worth averaging? Accuracy by cuts and mirrors, on people not used to choose them.

    python benchmarks/crops.py LFW

Each face (one an image, the one nearest the centre) is embedded from its aligned chip, from the chip moved
up, down, left and right by steps of 2% of its size, from one a little wider and one a little closer, and from
the mirrors of all. A set of views is scored by the normalised mean of its embeddings. What lies beyond the
chip repeats its edge.

People are split in two halves. Each half is measured, and the last row is the set that did best on the
other half (highest true match rate at FMR 1e-4, of those with no more than `--most` embeddings). Rates are
over all pairs of images of a half; all figures are means over the halves of several splits.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import cv2
import numpy as np
from common import images_of, parser, report, table
from landmarks import accuracy, central_chips, labelled

from facededup.evaluation.sample import Sample
from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.models.views import OFFSETS, STEP

Place = tuple[int, int, int]
"""Steps down, steps to the right, steps wider."""
CUTS: dict[str, tuple[Place, ...]] = {
    "one": ((0, 0, 0),),
    "2 up and down (`--crops 2`)": tuple((down, 0, 0) for down in OFFSETS[2]),
    "2 left and right": ((0, -1, 0), (0, 1, 0)),
    "2 wider and closer": ((0, 0, 1), (0, 0, -1)),
    "5 up and down (`--crops 5`)": tuple((down, 0, 0) for down in OFFSETS[5]),
    "5 in a cross": ((0, 0, 0), (-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0)),
}
CHOSEN_BY = "true match rate at FMR 0.0001"


def cut(chips: np.ndarray, place: Place) -> np.ndarray:
    """The faces as seen from another place."""
    down, right, wider = (step * STEP for step in place)
    height, width = chips.shape[1:3]
    # Where a pixel of the cut comes from; whole pixels unless the scale changes.
    scale = 1 + 2 * wider
    x = (1 - scale) * (width - 1) / 2 + round(right * width)
    y = (1 - scale) * (height - 1) / 2 + round(down * height)
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.stack(
        [
            cv2.warpAffine(chip, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
            for chip in chips
        ]
    )


def embedded_views(
    images: list[str], places: Iterable[Place], folder: Path
) -> tuple[dict[tuple[Place, bool], np.ndarray], np.ndarray]:
    """Embeddings, not normalised, by (place, mirrored), and each image's row in them (-1 without a face)."""
    folder.mkdir(exist_ok=True)
    faces = folder / "faces.npz"
    if not faces.exists():
        chips, rows, _ = central_chips(images)
        np.savez(faces, chips=chips, rows=rows)
    with np.load(faces) as kept:
        chips, rows = kept["chips"], kept["rows"]
    encoder = Encoder(open_engine(describe_model("Dlib")))
    views = {}
    for place in dict.fromkeys(places):
        path = folder / f"view{'_'.join(map(str, place))}.npz"
        if not path.exists():
            moved = cut(chips, place)
            np.savez(path, plain=encoder.embed(moved), mirror=encoder.embed(moved[:, :, ::-1]))
        with np.load(path) as kept:
            views[place, False], views[place, True] = kept["plain"], kept["mirror"]
    return views, rows


def view_sets() -> dict[tuple[str, bool], list[tuple[Place, bool]]]:
    """The views, (place, mirrored), of each set, (name, with mirrors)."""
    return {
        (name, flip): [
            (place, mirrored) for place in places for mirrored in ((False, True) if flip else (False,))
        ]
        for name, places in CUTS.items()
        for flip in (False, True)
    }


def halves(sample: Sample, splits: int) -> list[tuple[Sample, Sample]]:
    """(chosen on, measured on) for each half of each split of the people."""
    pairs = []
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(len(sample.people))
        one, other = (
            sample.restricted(np.flatnonzero(np.isin(sample.person, part)))
            for part in np.array_split(order, 2)
        )
        pairs += [(one, other), (other, one)]
    return pairs


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--splits", type=int, default=2)
    arguments.add_argument("--most", type=int, default=math.inf, help="embeddings a face the choice may cost")
    arguments.add_argument("--keep", help="a folder for the embeddings of each view; those there are taken")
    given = arguments.parse_args()
    images, sets = images_of(given.faces), view_sets()
    with tempfile.TemporaryDirectory() as folder:
        views, rows = embedded_views(images, chain.from_iterable(CUTS.values()), Path(given.keep or folder))
    measured: dict[tuple[str, bool], list[dict[str, float]]] = {}
    for name, members in sets.items():
        mean = sum(views[view].astype(np.float64) for view in members)
        vectors = (mean / np.linalg.norm(mean, axis=1, keepdims=True)).astype(np.float32)
        sample = labelled(images, rows, vectors)
        measured[name] = [accuracy(half) for _, half in halves(sample, given.splits)]
    allowed = [name for name, members in sets.items() if len(members) <= given.most]
    chosen = []
    for place in range(2 * given.splits):
        other = place ^ 1  # the halves of a split are neighbours
        best = max(allowed, key=lambda name: measured[name][other][CHOSEN_BY])
        chosen.append((best, measured[best][place]))
    lines = [
        [name, "yes" if flip else "no", len(sets[name, flip]), *means(runs)]
        for (name, flip), runs in measured.items()
    ]
    lines.append(["best on the other half", "", "", *means([figures for _, figures in chosen])])
    heading = ["cuts", "mirrors", "embeddings a face", *chosen[0][1]]
    table(heading, lines)
    report(
        {
            "images": len(images),
            "splits": given.splits,
            "chosen": [f"{name}, mirrors {flip}" for (name, flip), _ in chosen],
            "rows": [dict(zip(heading, line, strict=True)) for line in lines],
        },
        given.json,
    )


def means(runs: list[dict[str, float]]) -> list[float]:
    """The mean of each figure."""
    return [round(float(np.mean([run[name] for run in runs])), 4) for name in runs[0]]


if __name__ == "__main__":
    main()
