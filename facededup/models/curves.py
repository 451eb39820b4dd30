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
            views of a face comes nearer to that of everybody, strangers included, so its own one is where a
            pair speaks as strongly for one person (the likelihood ratio) as it does with one view at the
            catalogue's. Both error rates are lower there than with one view.
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
        operating_cosine=0.9336,
    ),
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=False,
        crops=2,
        impostors=(
            (0.8799, 0.0999),
            (0.89743, 0.03),
            (0.90939, 0.00999),
            (0.92006, 0.003),
            (0.92843, 0.001),
            (0.93672, 0.0003),
            (0.94364, 9.99e-05),
            (0.95004, 2.99e-05),
            (0.9557, 9.96e-06),
            (0.96159, 2.99e-06),
            (0.96948, 9.82e-07),
        ),
        genuine=(
            (0.88966, 0.999),
            (0.90315, 0.998),
            (0.91279, 0.995),
            (0.91837, 0.99),
            (0.92403, 0.98),
            (0.92748, 0.97),
            (0.93231, 0.95),
            (0.93902, 0.9),
            (0.94324, 0.85),
            (0.94648, 0.8),
            (0.95136, 0.7),
            (0.95521, 0.6),
            (0.95864, 0.5),
            (0.96188, 0.4),
            (0.9651, 0.3),
            (0.96873, 0.2),
            (0.97342, 0.1),
        ),
        operating_cosine=0.9328,
    ),
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=True,
        crops=2,
        impostors=(
            (0.88261, 0.0999),
            (0.89997, 0.03),
            (0.91176, 0.01),
            (0.92233, 0.003),
            (0.93052, 0.001),
            (0.93854, 0.0003),
            (0.94525, 9.99e-05),
            (0.95163, 3e-05),
            (0.95669, 9.96e-06),
            (0.96406, 2.99e-06),
            (0.97286, 9.82e-07),
        ),
        genuine=(
            (0.89368, 0.999),
            (0.91024, 0.998),
            (0.91848, 0.995),
            (0.92373, 0.99),
            (0.92924, 0.98),
            (0.93256, 0.97),
            (0.93692, 0.95),
            (0.9433, 0.9),
            (0.9474, 0.85),
            (0.95039, 0.8),
            (0.95502, 0.7),
            (0.95869, 0.6),
            (0.96188, 0.5),
            (0.96488, 0.4),
            (0.968, 0.3),
            (0.97141, 0.2),
            (0.9759, 0.1),
        ),
        operating_cosine=0.9357,
    ),
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=False,
        crops=5,
        impostors=(
            (0.88255, 0.1),
            (0.89992, 0.03),
            (0.91171, 0.01),
            (0.9222, 0.003),
            (0.9304, 0.001),
            (0.93855, 0.0003),
            (0.94534, 9.99e-05),
            (0.95172, 2.99e-05),
            (0.95763, 9.96e-06),
            (0.96372, 2.99e-06),
            (0.97019, 9.82e-07),
        ),
        genuine=(
            (0.89456, 0.999),
            (0.90572, 0.998),
            (0.91596, 0.995),
            (0.92146, 0.99),
            (0.92715, 0.98),
            (0.93058, 0.97),
            (0.93502, 0.95),
            (0.94152, 0.9),
            (0.94558, 0.85),
            (0.94862, 0.8),
            (0.95334, 0.7),
            (0.95715, 0.6),
            (0.96049, 0.5),
            (0.96363, 0.4),
            (0.96676, 0.3),
            (0.97025, 0.2),
            (0.97479, 0.1),
        ),
        operating_cosine=0.9349,
    ),
    MeasuredCurves(
        model="Dlib",
        detector="dlib",
        align="chip",
        flip=True,
        crops=5,
        impostors=(
            (0.88492, 0.1),
            (0.90215, 0.03),
            (0.91379, 0.01),
            (0.92416, 0.003),
            (0.93221, 0.001),
            (0.94016, 0.0003),
            (0.94669, 0.0001),
            (0.95291, 2.99e-05),
            (0.95817, 9.96e-06),
            (0.96481, 2.99e-06),
            (0.97383, 9.82e-07),
        ),
        genuine=(
            (0.89615, 0.999),
            (0.91288, 0.998),
            (0.92105, 0.995),
            (0.92633, 0.99),
            (0.93155, 0.98),
            (0.93487, 0.97),
            (0.93906, 0.95),
            (0.94527, 0.9),
            (0.94922, 0.85),
            (0.95207, 0.8),
            (0.9566, 0.7),
            (0.96021, 0.6),
            (0.96333, 0.5),
            (0.96626, 0.4),
            (0.96922, 0.3),
            (0.97257, 0.2),
            (0.97693, 0.1),
        ),
        operating_cosine=0.9375,
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
