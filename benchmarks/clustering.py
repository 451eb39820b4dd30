"""Ways to make clusters of the same pairs, against the names of a labelled folder, alone and among strangers.

Average linkage, connected components and Chinese whispers, each at several cuts: pairwise precision, recall
and F over the labelled faces. `--strangers` adds made-up people: embeddings with the mean and covariance of
the labelled faces, drawn towards the mean until two of them reach the first cut as often as two different
labelled people do (Gaussian clouds have lighter tails than faces).
"""

from __future__ import annotations

import os
import tempfile
import time
from typing import Any

import numpy as np
from common import images_of, parser, report
from selfjoin import Rows, normalised

import facededup
from facededup.matching.clusters import average_linkage
from facededup.matching.graph_clusters import chinese_whispers, connected_components
from facededup.matching.screen import plan_search
from facededup.matching.selfjoin import self_join
from facededup.store.base import PairBlock
from facededup.store.opener import open_store
from facededup.types import Floats


def labelled(store: str) -> tuple[Floats, np.ndarray]:
    """The embeddings and a number for each person: the folder of the image."""
    with open_store(store).snapshot() as snapshot:
        faces = snapshot.faces
        names = [os.path.dirname(snapshot.images.path[row]) for row in faces.image.tolist()]
        return snapshot.embeddings(0, len(faces)), np.unique(names, return_inverse=True)[1]


def strangers_like(embeddings: Floats, count: int, cut: float, rate: float) -> Floats:
    """Strangers of whom two reach the cut at about this rate."""
    mean = embeddings.mean(axis=0, dtype=np.float64)
    covariance = np.cov(embeddings.astype(np.float64), rowvar=False)
    offsets = np.random.default_rng(0).multivariate_normal(np.zeros(len(mean)), covariance, count)
    closest, furthest = 0.5, 1.0
    for _ in range(12):
        spread = (closest + furthest) / 2
        some = normalised(mean + spread * offsets[:5000])
        closest, furthest = (
            (spread, furthest) if match_rate(some, np.arange(len(some)), cut) > rate else (closest, spread)
        )
    return normalised(mean + spread * offsets)


def match_rate(embeddings: Floats, people: np.ndarray, cut: float) -> float:
    """How often two different people are at or above the cut."""
    matching = embeddings @ embeddings.T >= cut
    return float(matching[people[:, None] != people].mean())


def scores(labels: np.ndarray, people: np.ndarray) -> dict[str, float]:
    """Pairwise precision, recall and F."""

    def pairs(groups: np.ndarray) -> int:
        sizes = np.unique(groups, return_counts=True)[1]
        return int((sizes * (sizes - 1) // 2).sum())

    both = pairs(labels * (people.max() + 1) + people)
    precision, recall = both / max(1, pairs(labels)), both / pairs(people)
    return {"precision": precision, "recall": recall, "F": 2 * precision * recall / (precision + recall or 1)}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="a store of the faces that is there already")
    arguments.add_argument("--cuts", type=float, nargs="+", default=[0.93, 0.94, 0.945, 0.95, 0.96])
    arguments.add_argument("--strangers", type=int, default=0)
    given = arguments.parse_args()
    images_of(given.faces)
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or os.path.join(folder, "faces.h5")
        if not given.store:
            facededup.index([given.faces], store=store, faces="center")
        faces, people = labelled(store)
    rate = match_rate(faces, people, given.cuts[0])
    added = strangers_like(faces, max(given.strangers, 5000), given.cuts[0], rate)
    vectors = np.concatenate((faces, added[: given.strangers]))
    rows = []
    for cut in given.cuts:
        source = Rows(vectors)
        screen = plan_search(source, cut).screen
        blocks = list(self_join(source, cut, group=np.arange(len(vectors)), screen=screen))
        rows += compare(vectors, blocks, cut, people)
    print(f"{'cut':6} {'clustering':18} {'precision':>9} {'recall':>7} {'F':>7} {'seconds':>8}")
    for row in rows:
        print(
            f"{row['cut']:<6} {row['clustering']:18} {row['precision']:9.3f} {row['recall']:7.3f} "
            f"{row['F']:7.3f} {row['seconds']:8.1f}"
        )
    report(
        {
            "faces": len(faces),
            "people": int(people.max()) + 1,
            "strangers": given.strangers,
            "false match rates at the first cut": [
                rate,
                match_rate(added[:5000], np.arange(5000), given.cuts[0]),
            ],
            "rows": rows,
        },
        given.json,
    )


def compare(vectors: Floats, blocks: list[PairBlock], cut: float, people: np.ndarray) -> list[dict[str, Any]]:
    count, pairs = len(vectors), lambda: iter(blocks)
    ways = {
        "average": lambda: average_linkage(count, pairs, lambda rows: vectors[rows], cut),
        "components": lambda: connected_components(count, pairs, cut),
        "chinese-whispers": lambda: chinese_whispers(count, pairs, cut),
    }
    rows = []
    for name, way in ways.items():
        started = time.perf_counter()
        labels = way()
        spent = time.perf_counter() - started
        rows.append(
            {"cut": cut, "clustering": name, **scores(labels[: len(people)], people), "seconds": spent}
        )
    return rows


if __name__ == "__main__":
    main()
