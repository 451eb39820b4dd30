"""How often a model takes two people for one, and one for two, against the cosine: measured curves as data.

A curve belongs to all that makes an embedding, so it is looked up by detector, alignment, cuts and mirror as
well.
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
        operating_cosine: The cosine that similarity 0.40 stands for, None for the catalogue's. A mean over
            views of a face comes nearer to that of everybody, strangers included, so its own one is where
            the false match rate is what the model with one view has at the catalogue's.
        crops: How many cuts of a face they average.
    """

    model: str
    detector: str
    align: str
    flip: bool
    impostors: CurvePoints
    genuine: CurvePoints
    operating_cosine: float | None = None
    crops: int = 1


# Printed by benchmarks/impostors.py from half of LFW; see docs/accuracy.md.
CURVES = (
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=False,
        impostors=(
            (0.87658, 0.1),
            (0.89436, 0.03),
            (0.90655, 0.01),
            (0.9175, 0.003),
            (0.92615, 0.000999),
            (0.93464, 0.0003),
            (0.94183, 0.0001),
            (0.94868, 3e-05),
            (0.95482, 9.96e-06),
            (0.9618, 2.99e-06),
            (0.96831, 9.82e-07),
        ),
        genuine=(
            (0.88287, 0.999),
            (0.89685, 0.998),
            (0.90776, 0.995),
            (0.91471, 0.99),
            (0.92053, 0.98),
            (0.92432, 0.97),
            (0.92879, 0.95),
            (0.93563, 0.9),
            (0.94001, 0.85),
            (0.94328, 0.8),
            (0.94831, 0.7),
            (0.95237, 0.6),
            (0.956, 0.5),
            (0.95945, 0.4),
            (0.96278, 0.3),
            (0.96649, 0.2),
            (0.97144, 0.1),
        ),
    ),
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=True,
        impostors=(
            (0.88007, 0.1),
            (0.89762, 0.03),
            (0.90956, 0.01),
            (0.9203, 0.003),
            (0.92873, 0.001),
            (0.93698, 0.0003),
            (0.94391, 9.99e-05),
            (0.95026, 3e-05),
            (0.95593, 9.96e-06),
            (0.96372, 2.99e-06),
            (0.97159, 9.82e-07),
        ),
        genuine=(
            (0.88855, 0.999),
            (0.90507, 0.998),
            (0.91501, 0.995),
            (0.9206, 0.99),
            (0.92636, 0.98),
            (0.92983, 0.97),
            (0.93439, 0.95),
            (0.9408, 0.9),
            (0.94492, 0.85),
            (0.94799, 0.8),
            (0.9528, 0.7),
            (0.95664, 0.6),
            (0.96, 0.5),
            (0.96318, 0.4),
            (0.96637, 0.3),
            (0.96992, 0.2),
            (0.97456, 0.1),
        ),
        operating_cosine=0.9325,
    ),
)


def measured_curves(
    model: str, detector: str, align: str, *, flip: bool, crops: int
) -> MeasuredCurves | None:
    """The curves of this way to make embeddings, None where nobody measured them."""
    for curves in CURVES:
        made = (curves.model, curves.detector, curves.align, curves.flip, curves.crops)
        if made == (model, detector, align, flip, crops):
            return curves
    return None
