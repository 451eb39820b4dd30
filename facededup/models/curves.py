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
            (0.8766, 1e-1),
            (0.8944, 3e-2),
            (0.9066, 1e-2),
            (0.9175, 3e-3),
            (0.9262, 1e-3),
            (0.9347, 3e-4),
            (0.9418, 1e-4),
            (0.9486, 3e-5),
            (0.9546, 1e-5),
        ),
        genuine=(),
    ),
)


def measured_curves(model: str, detector: str, align: str, *, flip: bool) -> MeasuredCurves | None:
    """The curves of this way to make embeddings, None where nobody measured them."""
    for curves in CURVES:
        if (curves.model, curves.detector, curves.align, curves.flip) == (model, detector, align, flip):
            return curves
    return None
