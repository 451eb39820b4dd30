"""Ten-fold accuracy on as many pairs of one person as of two.

Pairs of one person are drawn person by person: each round takes one unused pair of every person who has one
left, so that people with many images do not dominate. For a pair of two people, both are drawn evenly among
the people. The cut is the best one on nine folds, counted on the tenth, as in the protocol of Labeled Faces
in the Wild (Huang et al., 2007). A pair with an image without a face is wrong, whatever the cut.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.evaluation.sample import Sample
from facededup.types import Floats

PAIRS = 3000
FOLDS = 10
SEEDS = range(10)

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over several draws of pairs, or over several divisions of given pairs into folds.

    Attributes:
        mean: Over the draws.
        lowest: Of the draws.
        highest: Of the draws.
        cosine: The mean cut.
        pairs: Pairs a draw, half of them of one person unless they were given.
    """

    mean: float
    lowest: float
    highest: float
    cosine: float
    pairs: int


def fold_accuracy(sample: Sample) -> FoldAccuracy | None:
    """Mean accuracy over ten draws, None where there are too few pairs for ten folds."""
    runs, pairs = [], 0
    for seed in SEEDS:
        same, different = draw_pairs(sample.person, seed)
        pairs = len(same) + len(different)
        if len(same) < FOLDS or len(different) < FOLDS:
            return None
        scores = pair_scores(sample, np.concatenate((same, different)))
        runs.append(ten_fold(scores, np.arange(pairs) < len(same), seed))
    return _summary(runs, pairs)


def pair_accuracy(scores: Floats, same: NDArray[np.bool_]) -> FoldAccuracy | None:
    """Mean accuracy on given pairs over ten divisions into folds, None where they are too few for ten folds.

    Args:
        scores: float32 (n,), NaN for a pair that cannot be compared.
        same: bool (n,), of one person.
    """
    if min(same.sum(), (~same).sum()) < FOLDS:
        return None
    return _summary([ten_fold(scores, same, seed) for seed in SEEDS], len(scores))


def _summary(runs: list[tuple[float, float]], pairs: int) -> FoldAccuracy:
    accuracies, cuts = zip(*runs, strict=True)
    return FoldAccuracy(
        float(np.mean(accuracies)), min(accuracies), max(accuracies), float(np.mean(cuts)), pairs
    )


def pair_scores(sample: Sample, pairs: Rows) -> Floats:
    """Cosines of pairs of images, NaN where one has no face.

    Args:
        sample: Labelled images.
        pairs: int64 (n, 2).
    """
    rows = sample.row[pairs]
    scores: Floats = np.einsum("ij,ij->i", sample.vectors[rows[:, 0]], sample.vectors[rows[:, 1]])
    scores[(rows < 0).any(axis=1)] = np.nan
    return scores


def draw_pairs(person: Rows, seed: int, count: int = PAIRS) -> tuple[Rows, Rows]:
    """Draws pairs of images.

    Args:
        person: int64 (n,), the person on each image.
        seed: Of the draw.
        count: Pairs of each kind, at most; as many of two people as of one.

    Returns:
        int64 (k, 2) pairs of one person and as many of two.
    """
    random = np.random.default_rng(seed)
    people = np.split(np.argsort(person, kind="stable"), np.cumsum(np.bincount(person))[:-1])
    unused = []
    for images in people:
        first, second = np.triu_indices(len(images), 1)
        # No more of one person can be asked for; someone with thousands of images has millions.
        some = random.permutation(len(first))[-count:]
        unused.append(np.column_stack((images[first[some]], images[second[some]])).tolist())
    same: list[list[int]] = []
    while len(same) < count:
        left = [place for place, pairs in enumerate(unused) if pairs]
        if not left:
            break
        same += [unused[left[place]].pop() for place in random.permutation(len(left))]
    same = same[:count]
    different: list[list[int]] = []
    while len(different) < len(same) and len(people) > 1:
        a, b = random.integers(len(people), size=2)
        if a != b:
            different.append([int(people[n][random.integers(len(people[n]))]) for n in (a, b)])
    return (np.array(same, np.int64).reshape(-1, 2), np.array(different, np.int64).reshape(-1, 2))


def ten_fold(scores: Floats, same: NDArray[np.bool_], seed: int) -> tuple[float, float]:
    """Mean accuracy and mean cut over the folds.

    Args:
        scores: (n,), NaN for a pair that cannot be compared.
        same: bool (n,), of one person.
        seed: Of the division into folds.
    """
    order = np.random.default_rng(seed).permutation(len(scores))
    accuracies, cuts = [], []
    for held_out in np.array_split(order, FOLDS):
        train = np.setdiff1d(order, held_out)
        train = train[~np.isnan(scores[train])]
        cut = best_cut(scores[train], same[train])
        right = (scores[held_out] >= cut) == same[held_out]
        accuracies.append(float(np.mean(right & ~np.isnan(scores[held_out]))))
        cuts.append(cut)
    return float(np.mean(accuracies)), float(np.mean(cuts))


def best_cut(scores: Floats, same: NDArray[np.bool_]) -> float:
    """The score at which most pairs are told right; the lowest of several, 1 without pairs."""
    if not len(scores):
        return 1.0
    cuts = np.unique(scores)
    positives, negatives = np.sort(scores[same]), np.sort(scores[~same])
    right = len(positives) - np.searchsorted(positives, cuts) + np.searchsorted(negatives, cuts)
    return float(cuts[int(np.argmax(right))])
