"""Would another score than the cosine tell people apart better? On people not used to choose it.

People are split in two halves. One gives the cohort and the free parameters (those with the highest true
match rate at FMR 1e-4 among its own people), the other is measured; then the halves change places, for
several splits. Scores, each from the same embeddings:

- cosine
- z-norm: the cosine less the mean of one face's cosines with the cohort, over their deviation
- s-norm: the mean of both (Kenny, "Bayesian speaker verification with heavy-tailed priors", Odyssey 2010)
- adaptive s-norm: with each face's K nearest of the cohort only (Matejka et al., Interspeech 2017)
- own cohort: what `find --normalize` gives: the cohort is one face of each cluster of the measured faces
  themselves, whose people it does not know
- quality: the cosine raised by a multiple of the lower quality of the two faces

Rates are over all pairs of images; the last column says by how much the true match rate at FMR 1e-4 beats the
cosine's, as the mean over splits and the lowest and highest of them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import parser, report
from expected_pairs import embedded
from selfjoin import Rows

from facededup.cohort import cohort_statistics, pick_cohort
from facededup.evaluation.sample import Sample
from facededup.matching.clusters import average_linkage
from facededup.matching.selfjoin import self_join

RATES = (1e-3, 1e-4, 1e-5)
TOPS = (20, 50, 100, 200, 400)
OPERATING = 0.93
WEIGHTS = (0.01, 0.02, 0.04, 0.08)
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""From embeddings (n, d) and qualities (n,) to scores (n, n)."""


def true_match_rates(scores: np.ndarray, person: np.ndarray) -> list[float]:
    """True match rates at `RATES`."""
    a, b = np.triu_indices(len(person), 1)
    values, same = scores[a, b], person[a] == person[b]
    strangers, own = values[~same], values[same]
    places = [int(rate * len(strangers)) for rate in RATES]
    cuts = -np.partition(-strangers, places)[places]
    return [float(np.mean(own > cut)) for cut in cuts]


def plain(vectors: np.ndarray, _: np.ndarray) -> np.ndarray:
    return vectors @ vectors.T


def normalised(cohort: np.ndarray, top: int | None, kind: str) -> Score:
    """Scores normalised against a cohort: `z` (of the first face), `s` (of both)."""

    def score(vectors: np.ndarray, _: np.ndarray) -> np.ndarray:
        near = vectors @ cohort.T
        if top is not None:
            near = -np.partition(-near, top - 1, axis=1)[:, :top]
        mean, deviation = near.mean(1), near.std(1)
        scores = vectors @ vectors.T
        first = (scores - mean[:, None]) / deviation[:, None]
        return first if kind == "z" else (first + first.T) / 2

    return score


def own_cohort(vectors: np.ndarray, _: np.ndarray) -> np.ndarray:
    """What `find --normalize` gives: the cohort is one face of each cluster of the set itself."""
    source = Rows(vectors)
    blocks = list(self_join(source, OPERATING, group=np.arange(len(vectors))))
    labels = average_linkage(len(vectors), lambda: iter(blocks), lambda rows: vectors[rows], OPERATING)
    mean, deviation = cohort_statistics(vectors, vectors[pick_cohort(labels)], OPERATING)
    first = (vectors @ vectors.T - mean[:, None]) / deviation[:, None]
    return (first + first.T) / 2


def raised_by_quality(weight: float) -> Score:
    def score(vectors: np.ndarray, quality: np.ndarray) -> np.ndarray:
        return vectors @ vectors.T - weight * np.minimum(quality[:, None], quality[None])

    return score


def candidates(cohort: np.ndarray) -> dict[str, list[Score]]:
    """The scores by name; of several under one name the half that chooses takes the best."""
    return {
        "cosine": [plain],
        "z-norm": [normalised(cohort, None, "z")],
        "s-norm": [normalised(cohort, None, "s")],
        "adaptive s-norm": [normalised(cohort, top, "s") for top in TOPS if top <= len(cohort)],
        "own cohort": [own_cohort],
        "quality": [raised_by_quality(sign * weight) for weight in WEIGHTS for sign in (1, -1)],
    }


def data(sample: Sample, people: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, qualities and people of the images of some people."""
    part = sample.restricted(np.flatnonzero(np.isin(sample.person, people) & (sample.row >= 0)))
    return part.embeddings(), np.nan_to_num(part.quality[part.row], nan=0.5), part.labels()


def one_of_each(vectors: np.ndarray, person: np.ndarray) -> np.ndarray:
    """The cohort: the first image of each person."""
    return vectors[np.unique(person, return_index=True)[1]]


def compare(chosen_on: tuple[np.ndarray, ...], measured: tuple[np.ndarray, ...]) -> dict[str, list[float]]:
    vectors, quality, person = chosen_on
    order = np.random.default_rng(0).permutation(len(np.unique(person)))
    half = len(order) // 2
    # The half that chooses must not be its own cohort: other people of it are.
    inner = np.isin(person, np.unique(person)[order[:half]])
    trial = candidates(one_of_each(vectors[inner], person[inner]))
    final = candidates(one_of_each(vectors, person))
    rates = {}
    for name, scores in trial.items():
        own = [true_match_rates(s(vectors[~inner], quality[~inner]), person[~inner])[1] for s in scores]
        best = int(np.argmax(own)) if len(own) > 1 else 0
        rates[name] = true_match_rates(final[name][best](*measured[:2]), measured[2])
    return rates


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="a store of the faces (--faces center)")
    arguments.add_argument("--splits", type=int, default=3)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sample = embedded(given.faces, given.store or str(Path(folder) / "faces.h5"))
    runs: list[dict[str, list[float]]] = []
    for seed in range(given.splits):
        order = np.random.default_rng(seed).permutation(len(sample.people))
        halves = [data(sample, part) for part in np.array_split(order, 2)]
        runs += [compare(*halves), compare(*halves[::-1])]
    table = []
    for name in runs[0]:
        rates = np.array([run[name] for run in runs])
        gain = rates[:, 1] - np.array([run["cosine"][1] for run in runs])
        table.append(
            [
                name,
                *rates.mean(0).round(4).tolist(),
                *(round(float(x), 4) for x in (gain.mean(), gain.min(), gain.max())),
            ]
        )
        print(f"{name:16}", *(f"{value:8.4f}" for value in table[-1][1:]))
    heading = ["score", *(f"TMR at FMR {rate:g}" for rate in RATES), "gain at 1e-4", "lowest", "highest"]
    report({"splits": given.splits, "heading": heading, "rows": table}, given.json)


if __name__ == "__main__":
    main()
