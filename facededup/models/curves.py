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
            (0.87658, 0.0999),
            (0.89437, 0.03),
            (0.90655, 0.00999),
            (0.91747, 0.003),
            (0.92607, 0.001),
            (0.93456, 0.0003),
            (0.94171, 0.0001),
            (0.94858, 2.99e-05),
            (0.95486, 9.96e-06),
            (0.96149, 2.99e-06),
            (0.9693, 9.82e-07),
        ),
        genuine=(
            (0.88382, 0.999),
            (0.89655, 0.998),
            (0.90808, 0.995),
            (0.91478, 0.99),
            (0.9206, 0.98),
            (0.92432, 0.97),
            (0.92889, 0.95),
            (0.93563, 0.9),
            (0.93992, 0.85),
            (0.94326, 0.8),
            (0.94832, 0.7),
            (0.95236, 0.6),
            (0.95601, 0.5),
            (0.95939, 0.4),
            (0.96275, 0.3),
            (0.9665, 0.2),
            (0.97148, 0.1),
        ),
    ),
)


def measured_curves(model: str, detector: str, align: str, *, flip: bool) -> MeasuredCurves | None:
    """The curves of this way to make embeddings, None where nobody measured them."""
    for curves in CURVES:
        if (curves.model, curves.detector, curves.align, curves.flip) == (model, detector, align, flip):
            return curves
    return None
