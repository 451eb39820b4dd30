"""A calibration out of a measured curve."""

from __future__ import annotations

from datetime import UTC, datetime

from facededup.calibration import Calibration
from facededup.evaluation.accuracy import Accuracy
from facededup.evaluation.curves import ScoreCurve
from facededup.models.curves import CurvePoints

IMPOSTOR_RATES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6, 3e-7, 1e-7)
GENUINE_SHARES = (
    0.999,
    0.998,
    0.995,
    0.99,
    0.98,
    0.97,
    0.95,
    0.9,
    0.85,
    0.8,
    0.7,
    0.6,
    0.5,
    0.4,
    0.3,
    0.2,
    0.1,
)
OPERATING_RATE = 1e-3
"""False match rate of the operating cosine: what one-to-one verification usually works at."""
_ENOUGH_GENUINE = 200
"""Fewer pairs of one person say little of the share that a cut keeps."""


def make_calibration(accuracy: Accuracy, curve: ScoreCurve, operating_cosine: float) -> Calibration:
    """A calibration from what was measured.

    Args:
        accuracy: Of labelled faces.
        curve: The same.
        operating_cosine: The one so far, kept where there are too few pairs to find another, or so many of
            two people at cosine 1 that there is none.

    Returns:
        The cosine at a false match rate of `OPERATING_RATE`, and the two curves as far as pairs support them.
    """
    found = curve.cosine_at_fmr(OPERATING_RATE)
    return Calibration(
        operating_cosine=operating_cosine if found is None or found >= 1 else found,
        source="calibration",
        impostors=impostor_points(curve),
        genuine=genuine_points(curve),
        facts={
            "created": datetime.now(UTC).date().isoformat(),
            "images": accuracy.images,
            "people": accuracy.people,
            "genuine_pairs": accuracy.genuine_pairs,
            "impostor_pairs": accuracy.impostor_pairs,
        },
    )


def impostor_points(curve: ScoreCurve) -> CurvePoints:
    """(cosine, false match rate), by rising cosine; two or more, or none."""
    cuts = [curve.cosine_at_fmr(rate) for rate in IMPOSTOR_RATES]
    return _strict([(cut, curve.fmr(cut)) for cut in cuts if cut is not None])


def genuine_points(curve: ScoreCurve) -> CurvePoints:
    """(cosine, true match rate), by rising cosine; two or more, or none."""
    if curve.genuine_pairs < _ENOUGH_GENUINE:
        return ()
    cuts = [curve.cosine_at_tmr(share) for share in GENUINE_SHARES]
    return _strict([(cut, 1 - curve.fnmr(cut)) for cut in cuts])


def _strict(points: list[tuple[float, float]]) -> CurvePoints:
    """Without points that repeat a cosine or a share."""
    kept: list[tuple[float, float]] = []
    for cosine, share in points:
        if share > 0 and (not kept or (cosine > kept[-1][0] and share < kept[-1][1])):
            kept.append((cosine, float(f"{share:.4g}")))
    return tuple(kept) if len(kept) > 1 else ()
