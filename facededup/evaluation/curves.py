"""False match and false non-match rates against the cosine, over all pairs of labelled faces.

Scores are counted in bins of 1e-5, tile by tile, so a set of any size takes the same memory beside its
vectors and its pairs of one person, and every cut is a multiple of that. The false match rate (FMR) is the
share of the pairs of two people that reach a cut, the false non-match rate (FNMR) that of the pairs of one
person that do not, as in ISO/IEC 19795-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.progress import Progress
from facededup.types import Floats

BINS_A_UNIT = 100_000
SUPPORT = 20
"""A rate is only given where at least so many pairs of two people were counted at it."""
BLOCK = 1024
COLUMNS = 4096
"""Rows compared with so many others at a time: 16 MiB of scores, five times that while they are counted."""

Counts = NDArray[np.int64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurve:
    """How many pairs have which cosine; both arrays end in a 0, for a cut above every score.

    Attributes:
        genuine: int64 (bins + 1,), pairs of one person at or above each bin's lower edge.
        impostors: The same of two people.
    """

    genuine: Counts
    impostors: Counts

    @property
    def genuine_pairs(self) -> int:
        """Pairs of one person."""
        return int(self.genuine[0])

    @property
    def impostor_pairs(self) -> int:
        """Pairs of two people."""
        return int(self.impostors[0])

    def pairs_from(self, cosine: float) -> int:
        """Pairs of either kind at or above a cosine."""
        place = bin_of(cosine)
        return int(self.genuine[place] + self.impostors[place])

    def fmr(self, cosine: float) -> float:
        """The false match rate of a cut."""
        return float(self.impostors[bin_of(cosine)] / max(1, self.impostor_pairs))

    def fnmr(self, cosine: float) -> float:
        """The false non-match rate of a cut."""
        return 1 - float(self.genuine[bin_of(cosine)] / max(1, self.genuine_pairs))

    def cosine_at_fmr(self, rate: float) -> float | None:
        """The lowest cut with at most this false match rate; None where too few pairs support that rate."""
        if rate * self.impostor_pairs < SUPPORT:
            return None
        return _edge(int(np.searchsorted(-self.impostors, -rate * self.impostor_pairs)))

    def cosine_at_tmr(self, share: float) -> float:
        """The highest cut that keeps at least this share of the pairs of one person."""
        return _edge(int(np.searchsorted(-self.genuine, -share * self.genuine_pairs, side="right")) - 1)

    def equal_error(self) -> tuple[float, float]:
        """The cut at which both rates are nearest each other, and their mean there."""
        fmr = self.impostors / max(1, self.impostor_pairs)
        fnmr = 1 - self.genuine / max(1, self.genuine_pairs)
        place = int(np.argmin(np.abs(fmr - fnmr)))
        return _edge(place), float((fmr[place] + fnmr[place]) / 2)


def bin_of(cosine: float) -> int:
    """The bin whose lower edge is nearest a cut."""
    return min(max(round((cosine + 1) * BINS_A_UNIT), 0), 2 * BINS_A_UNIT + 1)


def _edge(place: int) -> float:
    return round(place / BINS_A_UNIT - 1, 5)


@dataclass(frozen=True, slots=True, eq=False)
class PairScores:
    """Single pairs with their scores: what a confidence interval needs.

    Attributes:
        cosine: float32 (k,).
        a: int64 (k,), the person on one image.
        b: int64 (k,), the person on the other.
    """

    cosine: Floats
    a: Rows
    b: Rows

    def __len__(self) -> int:
        return len(self.cosine)


def curve_of(genuine: Floats, impostors: Floats) -> ScoreCurve:
    """The curve of given scores."""
    return ScoreCurve(*(_from_above(_histogram(scores)) for scores in (genuine, impostors)))


def score_all(vectors: Floats, person: Rows, progress: Progress) -> tuple[ScoreCurve, PairScores]:
    """Counts the scores of all pairs.

    Args:
        vectors: float32 (n, dimension), L2-normalised.
        person: int64 (n,), who is on each.
        progress: Receives the advance, in rows.

    Returns:
        The curve, and the pairs of one person.
    """
    counts = np.zeros((2, 2 * BINS_A_UNIT + 1), np.int64)
    kept = []
    progress.start("score", len(vectors))
    for top, left, scores, upper, same in _tiles(vectors, person):
        genuine, impostors = np.nonzero(same & upper), scores[upper & ~same]
        kept.append((scores[genuine], person[genuine[0] + top], person[genuine[1] + left]))
        counts[0] += _histogram(scores[genuine])
        counts[1] += _histogram(impostors)
        if left + COLUMNS >= len(vectors):
            progress.advance(len(scores))
    progress.finish()
    return ScoreCurve(_from_above(counts[0]), _from_above(counts[1])), _joined(kept)


def highest_impostors(vectors: Floats, person: Rows, cosine: float) -> PairScores:
    """The pairs of two people at or above a cosine.

    Args:
        vectors: float32 (n, dimension), L2-normalised.
        person: int64 (n,), who is on each.
        cosine: The cut.
    """
    kept = []
    for top, left, scores, upper, same in _tiles(vectors, person):
        found = np.nonzero((scores >= cosine) & upper & ~same)
        kept.append((scores[found], person[found[0] + top], person[found[1] + left]))
    return _joined(kept)


def _tiles(
    vectors: Floats, person: Rows
) -> Iterator[tuple[int, int, Floats, NDArray[np.bool_], NDArray[np.bool_]]]:
    """The upper triangle in tiles: first row and column, scores, which are of a pair, which of one person."""
    for top in range(0, len(vectors), BLOCK):
        some = slice(top, top + BLOCK)
        for left in range(top, len(vectors), COLUMNS):
            others = slice(left, left + COLUMNS)
            scores: Floats = vectors[some] @ vectors[others].T
            rows, columns = (np.arange(size) for size in scores.shape)
            upper = columns[None] + left > rows[:, None] + top
            yield top, left, scores, upper, person[some, None] == person[None, others]


def _histogram(scores: Floats) -> Counts:
    places = np.clip((scores.astype(np.float64) + 1) * BINS_A_UNIT, 0, 2 * BINS_A_UNIT)
    # Up to half a bin's hundredth below an edge is rounding of float32, not a lower score.
    return np.bincount((places + 1e-2).astype(np.int64), minlength=2 * BINS_A_UNIT + 1)[: 2 * BINS_A_UNIT + 1]


def _from_above(counts: Counts) -> Counts:
    return np.append(np.cumsum(counts[::-1])[::-1], 0)


def _joined(parts: list[tuple[Floats, Rows, Rows]]) -> PairScores:
    empty = (np.empty(0, np.float32), np.empty(0, np.int64), np.empty(0, np.int64))
    return PairScores(*(np.concatenate(column) for column in zip(empty, *parts, strict=True)))
