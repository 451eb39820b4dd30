"""Ways to make clusters of the same pairs, against the names of a labelled folder, alone and among strangers.

Average linkage, connected components and Chinese whispers, each at several cuts: pairwise precision, recall
and F over the labelled faces. `--strangers` adds made-up people and does it all again. They are drawn from
a mixture of Gaussians fitted to one face of each labelled person: faces come in kinds, and one Gaussian
cloud around all of them would meet real faces a third as often as they meet each other. How often two
strangers, and a stranger and a real face, reach each cut is printed beside the same of real people; the run
fails where either is off by more than a factor of two at the first cut, or where strangers take more than
0.005 from the F of average linkage there.
"""

from __future__ import annotations

import os
import tempfile
import time
from functools import partial
from typing import Any

import faiss
import numpy as np
from common import images_of, parser, report, table
from selfjoin import Rows, normalised

import facededup
from facededup.matching.clusters import average_linkage
from facededup.matching.graph_clusters import chinese_whispers, connected_components
from facededup.matching.planning import plan_search
from facededup.matching.selfjoin import self_join
from facededup.store.opener import open_store
from facededup.types import Floats

KINDS = 16
SHARED = 0.2
RATED = 6_000
MOST_LOST = 0.005


def labelled(store: str) -> tuple[Floats, np.ndarray]:
    """The embeddings and a number for each person: the folder of the image."""
    with open_store(store).snapshot() as snapshot:
        faces = snapshot.faces
        names = [os.path.dirname(snapshot.images.path[row]) for row in faces.image.tolist()]
        return snapshot.embeddings(0, len(faces)), np.unique(names, return_inverse=True)[1]


def strangers_like(embeddings: Floats, count: int) -> Floats:
    """Draws from a mixture of Gaussians fitted to some faces."""
    kmeans = faiss.Kmeans(embeddings.shape[1], KINDS, niter=20, seed=1)
    kmeans.train(embeddings)
    kind = kmeans.index.search(embeddings, 1)[1][:, 0]
    centres = np.stack([embeddings[kind == number].mean(axis=0, dtype=np.float64) for number in range(KINDS)])
    shared = np.cov((embeddings - centres[kind]), rowvar=False)
    random = np.random.default_rng(0)
    drawn = []
    for number, size in enumerate(random.multinomial(count, np.bincount(kind) / len(kind))):
        own = np.cov(embeddings[kind == number].astype(np.float64), rowvar=False)
        # A kind has few faces for its own covariance: some of it is taken from all kinds.
        covariance = (1 - SHARED) * own + SHARED * shared
        drawn.append(random.multivariate_normal(centres[number], covariance, size))
    return normalised(random.permutation(np.concatenate(drawn)))


def match_rates(
    a: Floats, a_people: np.ndarray, b: Floats, b_people: np.ndarray, cuts: list[float]
) -> list[float]:
    """How often two different people are at or above each cut."""
    cosines = (a @ b.T)[a_people[:, None] != b_people]
    return [float((cosines >= cut).mean()) for cut in cuts]


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
    rows = rows_of("none", faces, people, given.cuts)
    figures: dict[str, Any] = {"faces": len(faces), "people": int(people.max()) + 1, "rows": rows}
    fair = True
    if given.strangers:
        one_each = np.unique(people, return_index=True)[1]
        drawn = strangers_like(faces[one_each], max(given.strangers, RATED))
        rates = rates_among(faces, people, drawn[:RATED], given.cuts)
        rows += rows_of(
            f"{given.strangers:,}", np.concatenate((faces, drawn[: given.strangers])), people, given.cuts
        )
        first = [row["F"] for row in rows if row["clustering"] == "average" and row["cut"] == given.cuts[0]]
        figures |= {"match rates": rates, "F lost at the first cut": first[0] - first[1]}
        real, *others = (column[0] for column in rates.values())
        fair = all(real / 2 <= rate <= 2 * real for rate in others) and first[0] - first[1] <= MOST_LOST
        table(
            ("cut", *rates),
            [
                [cut, *(f"{rate:.1e}" for rate in line)]
                for cut, *line in zip(given.cuts, *rates.values(), strict=True)
            ],
        )
    table(
        ("cut", "strangers", "clustering", "precision", "recall", "F", "seconds"),
        [
            [
                *(row[name] for name in ("cut", "strangers", "clustering")),
                *(f"{row[name]:.3f}" for name in ("precision", "recall", "F")),
                f"{row['seconds']:.1f}",
            ]
            for row in rows
        ],
    )
    report(figures, given.json)
    if not fair:
        raise SystemExit("the strangers are not like real ones, or took too much from F")


def rates_among(
    faces: Floats, people: np.ndarray, drawn: Floats, cuts: list[float]
) -> dict[str, list[float]]:
    """How often two real people, two strangers, and a stranger and a real person match at each cut."""
    apart = np.arange(len(drawn)) + people.max() + 1
    return {
        "two real people": match_rates(faces, people, faces, people, cuts),
        "two strangers": match_rates(drawn, apart, drawn, apart, cuts),
        "a stranger and a real person": match_rates(drawn, apart, faces, people, cuts),
    }


def rows_of(strangers: str, vectors: Floats, people: np.ndarray, cuts: list[float]) -> list[dict[str, Any]]:
    """The scores of each way at each cut; the people's faces come first."""
    rows = []
    source = Rows(vectors)
    for cut in cuts:
        screen = plan_search(source, cut).screen
        blocks = list(self_join(source, cut, group=np.arange(len(vectors)), screen=screen))
        count, pairs = len(vectors), partial(iter, blocks)
        ways = {
            "average": partial(average_linkage, count, pairs, vectors.__getitem__, cut),
            "components": partial(connected_components, count, pairs, cut),
            "chinese-whispers": partial(chinese_whispers, count, pairs, cut),
        }
        for name, way in ways.items():
            started = time.perf_counter()
            labels = way()
            spent = time.perf_counter() - started
            row = {"cut": cut, "strangers": strangers, "clustering": name, "seconds": spent}
            rows.append(row | scores(labels[: len(people)], people))
    return rows


if __name__ == "__main__":
    main()
