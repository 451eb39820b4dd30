"""Everything there is to measure of one set of labelled faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facededup.evaluation.clusters import Agreement, b_cubed, pairwise
from facededup.evaluation.curves import (
    SUPPORT,
    PairScores,
    ScoreCurve,
    curve_of,
    highest_impostors,
    score_all,
)
from facededup.evaluation.folds import FoldAccuracy, fold_accuracy, pair_accuracy
from facededup.evaluation.intervals import Interval, Rate, bootstrap_people, wilson
from facededup.evaluation.labels import LabelledPairs
from facededup.evaluation.poor import PoorFaces, measure_poor_faces
from facededup.evaluation.sample import Sample
from facededup.matching.clusters import average_linkage
from facededup.matching.selfjoin import self_join
from facededup.matching.source import InMemory, gather
from facededup.models.scores import cosine_cut, similarity
from facededup.progress import Progress
from facededup.store.base import PairBlock
from facededup.types import Floats

FMR_POINTS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7)
"""Of the cluster sweep, unless others are given."""
_MOST_TAIL_PAIRS = 2_000_000
_CURVE_RATES = 10.0 ** -np.arange(0, 7.01, 0.1)


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """Both error rates at one cut.

    Attributes:
        asked: The false match rate it was chosen for; None for one that was chosen by its threshold.
        cosine: The cut.
        similarity: The same on the calibrated scale.
        fmr: False match rate; its value is None without a pair of two people.
        fnmr: False non-match rate; its value is None without a pair of one person.
    """

    asked: float | None
    cosine: float
    similarity: float
    fmr: Rate
    fnmr: Rate


@dataclass(frozen=True, slots=True)
class ClusterQuality:
    """Clusters at one threshold against the people."""

    threshold: float
    cosine: float
    clusters: int
    pairwise: Agreement
    b_cubed: Agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What was measured on one set of labelled faces.

    Attributes:
        images: Labelled images.
        people: People on them; 0 where only pairs are labelled.
        detection: Share of the images with a face.
        genuine_pairs: Pairs of one person compared.
        impostor_pairs: Pairs of two people compared.
        folds: Ten-fold accuracy; None where there are too few pairs.
        equal_error_rate: Where both error rates meet; None without pairs of both kinds.
        operating: At similarity 0.40, then at other thresholds that were asked for.
        points: At fixed false match rates, those that enough pairs support.
        curve: (cosine, FMR, FNMR), by rising cosine: ROC and DET; empty without pairs of both kinds.
        clusters: Cluster quality by rising threshold.
        poor: What the faces of the worst quality carry, at a false match rate of 1e-4 where that is
            supported, else at similarity 0.40.
    """

    images: int
    people: int
    detection: Rate
    genuine_pairs: int
    impostor_pairs: int
    folds: FoldAccuracy | None
    equal_error_rate: float | None
    operating: tuple[OperatingPoint, ...]
    points: tuple[OperatingPoint, ...]
    curve: tuple[tuple[float, float, float], ...]
    clusters: tuple[ClusterQuality, ...] = ()
    poor: tuple[PoorFaces, ...] = ()


def measure(
    sample: Sample,
    operating_cosine: float,
    progress: Progress,
    *,
    common: Sequence[float] = (0.4,),
    thresholds: Sequence[float] = THRESHOLDS,
    max_pairs: int = 50_000_000,
) -> tuple[Accuracy, ScoreCurve]:
    """Measures accuracy on labelled images.

    Args:
        sample: Labelled images.
        operating_cosine: The cosine that similarity 0.40 stands for.
        progress: Receives the advance.
        common: Similarities at which both error rates are told whatever they are.
        thresholds: Of the cluster sweep, rising.
        max_pairs: Thresholds with more pairs than this are left out of the cluster sweep.

    Returns:
        The accuracy, and the curve it was read from.
    """
    vectors, person = sample.embeddings(), sample.labels()
    curve, genuine = score_all(vectors, person, progress)
    cuts = [cosine_cut(threshold, operating_cosine) for threshold in common]
    chosen = _cuts_at_rates(curve)
    floor = _floor(curve)
    tail = highest_impostors(vectors, person, floor)
    images = np.bincount(person, minlength=len(sample.people))
    points = [
        _point(curve, cosine, operating_cosine, asked) for asked, cosine in [(None, c) for c in cuts] + chosen
    ]
    points = _with_intervals(points, genuine, tail, images, floor)
    detected = len(sample.seen)
    telling = next((cosine for asked, cosine in chosen if asked == 1e-4), cuts[0])
    accuracy = Accuracy(
        images=len(sample.paths),
        people=len(sample.people),
        detection=wilson(detected, len(sample.paths)),
        genuine_pairs=curve.genuine_pairs,
        impostor_pairs=curve.impostor_pairs,
        folds=fold_accuracy(sample),
        equal_error_rate=_equal_error_rate(curve),
        operating=tuple(points[: len(cuts)]),
        points=tuple(points[len(cuts) :]),
        curve=_dense(curve),
        clusters=cluster_sweep(sample, curve, operating_cosine, thresholds, max_pairs=max_pairs),
        poor=measure_poor_faces(sample, curve, telling),
    )
    return accuracy, curve


def measure_pairs(
    scores: Floats, pairs: LabelledPairs, images_seen: tuple[int, int], operating_cosine: float
) -> tuple[Accuracy, ScoreCurve]:
    """Measures accuracy on labelled pairs, of which nothing else is known.

    Args:
        scores: float32 (n,), cosines; NaN where an image has no face.
        pairs: As many.
        images_seen: Images with a face, and all.
        operating_cosine: The cosine that similarity 0.40 stands for.
    """
    known = ~np.isnan(scores)
    genuine, impostors = scores[known & pairs.same], scores[known & ~pairs.same]
    curve = curve_of(genuine, impostors)
    points = [
        _point(curve, cosine, operating_cosine, asked)
        for asked, cosine in [(None, operating_cosine), *_cuts_at_rates(curve)]
    ]
    points = [
        replace(
            point,
            fmr=_tossed(point.fmr, curve.impostor_pairs),
            fnmr=_tossed(point.fnmr, curve.genuine_pairs),
        )
        for point in points
    ]
    accuracy = Accuracy(
        images=images_seen[1],
        people=0,
        detection=wilson(*images_seen),
        genuine_pairs=curve.genuine_pairs,
        impostor_pairs=curve.impostor_pairs,
        folds=pair_accuracy(scores, pairs.same),
        equal_error_rate=_equal_error_rate(curve),
        operating=tuple(points[:1]),
        points=tuple(points[1:]),
        curve=_dense(curve),
    )
    return accuracy, curve


def cluster_sweep(
    sample: Sample,
    curve: ScoreCurve,
    operating_cosine: float,
    thresholds: Sequence[float] = THRESHOLDS,
    *,
    max_pairs: int,
) -> tuple[ClusterQuality, ...]:
    """Average linkage at several thresholds; an image without a face is alone.

    Args:
        sample: Labelled images.
        curve: Of its pairs.
        operating_cosine: The cosine that similarity 0.40 stands for.
        thresholds: Rising.
        max_pairs: Thresholds with more pairs than this are left out.
    """
    cuts = [(threshold, cosine_cut(threshold, operating_cosine)) for threshold in thresholds]
    cuts = [(threshold, cosine) for threshold, cosine in cuts if curve.pairs_from(cosine) <= max_pairs]
    if not cuts or len(sample.seen) < 2:
        return ()
    vectors = InMemory(sample.embeddings())
    blocks = list(self_join(vectors, cuts[0][1], group=np.arange(len(vectors))))
    found = []
    for threshold, cosine in cuts:
        pairs = [_from(block, cosine) for block in blocks]
        labels = average_linkage(len(vectors), partial(iter, pairs), partial(gather, vectors), cosine)
        # Numbers beyond all rows: an image without a face is in a cluster of its own.
        clusters = len(vectors) + np.arange(len(sample.paths))
        clusters[sample.seen] = labels
        sizes = np.unique(labels, return_counts=True)[1]
        found.append(
            ClusterQuality(
                threshold,
                cosine,
                int((sizes > 1).sum()),
                pairwise(clusters, sample.person),
                b_cubed(clusters, sample.person),
            )
        )
    return tuple(found)


def _from(block: PairBlock, cosine: float) -> PairBlock:
    kept = block.cosine >= cosine
    return PairBlock(block.a[kept], block.b[kept], block.cosine[kept], block.new[kept])


def _cuts_at_rates(curve: ScoreCurve) -> list[tuple[float | None, float]]:
    cuts = [(rate, curve.cosine_at_fmr(rate)) for rate in FMR_POINTS]
    return [(rate, cosine) for rate, cosine in cuts if cosine is not None]


def _floor(curve: ScoreCurve) -> float:
    """The lowest cut whose false matches are kept one by one."""
    for rate in _CURVE_RATES:
        cosine = curve.cosine_at_fmr(float(rate))
        if cosine is None or rate * curve.impostor_pairs <= _MOST_TAIL_PAIRS:
            break
    return -1.0 if cosine is None else cosine


def _point(curve: ScoreCurve, cosine: float, operating_cosine: float, asked: float | None) -> OperatingPoint:
    return OperatingPoint(
        asked,
        cosine,
        similarity(cosine, operating_cosine),
        Rate(curve.fmr(cosine) if curve.impostor_pairs else None),
        Rate(curve.fnmr(cosine) if curve.genuine_pairs else None),
    )


def _with_intervals(
    points: list[OperatingPoint],
    genuine: PairScores,
    tail: PairScores,
    images: NDArray[np.int64],
    floor: float,
) -> list[OperatingPoint]:
    """Intervals by drawing people; none for a false match rate of too few pairs, or below the floor."""
    fmr, fnmr = bootstrap_people(genuine, tail, images, [point.cosine for point in points])
    counted = [int((tail.cosine >= point.cosine).sum()) for point in points]
    return [
        replace(
            point,
            fmr=_interval(point.fmr, low, matches >= SUPPORT and point.cosine >= floor),
            fnmr=_interval(point.fnmr, high, len(genuine) >= SUPPORT),
        )
        for point, low, high, matches in zip(points, fmr, fnmr, counted, strict=True)
    ]


def _interval(rate: Rate, interval: Interval, supported: bool) -> Rate:
    return Rate(rate.value, *interval) if supported else rate


def _tossed(rate: Rate, pairs: int) -> Rate:
    return rate if rate.value is None else wilson(round(rate.value * pairs), pairs)


def _equal_error_rate(curve: ScoreCurve) -> float | None:
    return curve.equal_error()[1] if curve.genuine_pairs and curve.impostor_pairs else None


def _dense(curve: ScoreCurve) -> tuple[tuple[float, float, float], ...]:
    """The curve at false match rates evenly spaced on a logarithmic scale, as far as pairs support them."""
    if not curve.genuine_pairs:
        return ()
    cuts = {curve.cosine_at_fmr(float(rate)) for rate in _CURVE_RATES}
    return tuple(
        (cut, curve.fmr(cut), curve.fnmr(cut)) for cut in sorted(cut for cut in cuts if cut is not None)
    )
