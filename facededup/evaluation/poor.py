"""How much of the error the faces of the worst quality carry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facededup.evaluation.curves import ScoreCurve, score_all
from facededup.evaluation.sample import Sample
from facededup.progress import SilentProgress

SHARES = (0.01, 0.05, 0.1)


@dataclass(frozen=True, slots=True)
class PoorFaces:
    """The part of pairs and of errors in which a face of the worst quality has a part, at one cut.

    Attributes:
        share: Of the faces: the worst 0.05, say.
        quality: The score below which they are; what `find --min-quality` takes.
        cosine: The cut.
        genuine_pairs: Share of the pairs of one person that have such a face.
        false_non_matches: Share of those that miss the cut.
        impostor_pairs: Share of the pairs of two people that have such a face.
        false_matches: Share of those that reach the cut.
        fnmr_without: False non-match rate among all other faces.
        fmr_without: False match rate among all other faces.
    """

    share: float
    quality: float
    cosine: float
    genuine_pairs: float
    false_non_matches: float
    impostor_pairs: float
    false_matches: float
    fnmr_without: float
    fmr_without: float


def measure_poor_faces(sample: Sample, curve: ScoreCurve, cosine: float) -> tuple[PoorFaces, ...]:
    """What each of `SHARES` of the faces carries, where qualities are known and pairs of both kinds are left.

    Args:
        sample: Labelled images.
        curve: Of its pairs.
        cosine: The cut.
    """
    seen = sample.seen
    quality = sample.quality[sample.row[seen]]
    if not len(seen) or np.isnan(quality).all():
        return ()
    found = []
    for share in SHARES:
        bound = float(np.nanquantile(quality, share))
        rest = sample.restricted(seen[~(quality < bound)])
        without, _ = score_all(rest.embeddings(), rest.labels(), SilentProgress())
        if not (without.genuine_pairs and without.impostor_pairs):
            break
        missed, matched = _errors(curve, cosine)
        missed_without, matched_without = _errors(without, cosine)
        found.append(
            PoorFaces(
                share=share,
                quality=bound,
                cosine=cosine,
                genuine_pairs=_lost(curve.genuine_pairs, without.genuine_pairs),
                false_non_matches=_lost(missed, missed_without),
                impostor_pairs=_lost(curve.impostor_pairs, without.impostor_pairs),
                false_matches=_lost(matched, matched_without),
                fnmr_without=without.fnmr(cosine),
                fmr_without=without.fmr(cosine),
            )
        )
    return tuple(found)


def _errors(curve: ScoreCurve, cosine: float) -> tuple[int, int]:
    """Pairs of one person that miss the cut, and pairs of two that reach it."""
    return (
        round(curve.fnmr(cosine) * curve.genuine_pairs),
        round(curve.fmr(cosine) * curve.impostor_pairs),
    )


def _lost(before: int, after: int) -> float:
    return (before - after) / before if before else 0.0
