"""How often a model takes two people for one, and one for two, against the cosine: measured curves as data.

A curve belongs to all that makes an embedding, so it is looked up by detector, alignment and mirror as well.
"""

from __future__ import annotations

from dataclasses import dataclass

CurvePoints = tuple[tuple[float, float], ...]
"""(cosine, share of the pairs at or above it), by rising cosine and falling share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCurves:
    """The curves of one way to make embeddings.

    Attributes:
        model: Catalogue name of the model.
        detector: Name of the detector.
        align: How faces were cut out.
        flip: Whether embeddings average a face and its mirror.
        impostors: Share of the pairs of two people at or above a cosine: the false match rate.
        genuine: Share of the pairs of one person at or above a cosine: the true match rate.
    """

    model: str
    detector: str
    align: str
    flip: bool
    impostors: CurvePoints
    genuine: CurvePoints


# Printed by benchmarks/impostors.py from half of LFW; see docs/accuracy.md.
CURVES = (
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=False,
        impostors=(
            (0.87659, 0.1),
            (0.89438, 0.03),
            (0.90657, 0.01),
            (0.9175, 0.003),
            (0.92612, 0.000999),
            (0.93462, 0.0003),
            (0.94172, 9.99e-05),
            (0.94853, 2.99e-05),
            (0.9546, 9.97e-06),
            (0.96235, 3e-06),
            (0.96785, 9.82e-07),
        ),
        genuine=(
            (0.88392, 0.999),
            (0.89797, 0.998),
            (0.90865, 0.995),
            (0.91469, 0.99),
            (0.92031, 0.98),
            (0.92397, 0.97),
            (0.92873, 0.95),
            (0.93543, 0.9),
            (0.93973, 0.85),
            (0.94308, 0.8),
            (0.94822, 0.7),
            (0.95231, 0.6),
            (0.95594, 0.5),
            (0.95931, 0.4),
            (0.9627, 0.3),
            (0.96641, 0.2),
            (0.97141, 0.1),
        ),
    ),
)


def measured_curves(model: str, detector: str, align: str, *, flip: bool) -> MeasuredCurves | None:
    """The curves of this way to make embeddings, None where nobody measured them."""
    for curves in CURVES:
        if (curves.model, curves.detector, curves.align, curves.flip) == (model, detector, align, flip):
            return curves
    return None
