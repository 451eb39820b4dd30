"""Confidence intervals of error rates.

Pairs that share a person are not independent: one person who looks like many others makes many false matches.
An interval that takes pairs for independent coin tosses (Wilson's over the pairs) is then several times too
narrow. So where people are known, people are drawn, not pairs: the subsets bootstrap of Bolle, Ratha and
Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", Computer Vision and Image
Understanding 93 (2004). Wilson's interval is for what is nearly independent: images with and without a face,
and pairs of a file that does not say who is on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.evaluation.curves import PairScores
from facededup.matching.approximate import wilson_interval

REPLICATES = 400
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its 95% interval, None where there is too little to tell it from, or nothing at all."""

    value: float | None
    low: float | None = None
    high: float | None = None


def wilson(count: int, total: int) -> Rate:
    """A share of independent trials with Wilson's interval.

    Args:
        count: Trials that came out so.
        total: All trials, at least 1.

    Returns:
        The share and its 95% score interval.
    """
    share = count / total
    return Rate(share, *wilson_interval(share, total))


def bootstrap_people(
    genuine: PairScores,
    impostors: PairScores,
    images: NDArray[np.int64],
    cosines: Sequence[float],
    *,
    replicates: int = REPLICATES,
) -> tuple[list[Interval], list[Interval]]:
    """95% intervals of both error rates at some cuts, by drawing people.

    Args:
        genuine: All pairs of one person.
        impostors: The pairs of two people at or above the lowest cut.
        images: int64 (people,), images with a face of each person.
        cosines: The cuts.
        replicates: How often people are drawn, as many as there are, each as often as it comes.

    Returns:
        Intervals of the false match rate and of the false non-match rate, one a cut.
    """
    random = np.random.default_rng(0)
    cuts = np.asarray(cosines)
    genuine_order, impostor_order = np.argsort(genuine.cosine), np.argsort(-impostors.cosine)
    below = np.searchsorted(genuine.cosine[genuine_order], cuts)
    above = np.searchsorted(-impostors.cosine[impostor_order], -cuts, side="right")
    owner = genuine.a[genuine_order]
    left, right = impostors.a[impostor_order], impostors.b[impostor_order]
    fmr, fnmr = np.empty((replicates, len(cuts))), np.empty((replicates, len(cuts)))
    for replicate in range(replicates):
        drawn = np.bincount(random.integers(len(images), size=len(images)), minlength=len(images))
        # A person drawn twice makes no impostor pairs with itself.
        total = ((drawn * images).sum() ** 2 - ((drawn * images) ** 2).sum()) / 2
        fmr[replicate] = _running(drawn[left] * drawn[right], above) / max(1.0, float(total))
        weights = drawn[owner]
        fnmr[replicate] = _running(weights, below) / max(1, int(weights.sum()))
    return _percentiles(fmr), _percentiles(fnmr)


def _running(weights: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.append(0.0, np.cumsum(weights, dtype=np.float64))[places]


def _percentiles(values: NDArray[np.float64]) -> list[Interval]:
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
