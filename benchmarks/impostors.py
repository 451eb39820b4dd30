"""The curves of facededup/models/curves.py: false and true match rates of an encoder against the cosine.

All pairs of images, one folder a person, one face an image, the one nearest the centre. Prints the entry
of `CURVES` to be pasted. With `--flip` or `--crops` it names an operating cosine, too: where pairs have the
likelihood ratio, as many times more frequent among those of one person than among those of two, that the
shipped curves of one view have at the model's own. A false match rate is only given where at least 20 false
matches were counted; wrong labels of the set push the last points up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from common import images_of, parser, report

import facededup
from facededup.calibration import Calibration
from facededup.models.catalog import describe_model
from facededup.models.curves import MeasuredCurves, measured_curves
from facededup.models.scores import expected_false_match_rate, true_match_rate

NEAR = 0.005
"""Cosines this far on either side of a cut tell how frequent pairs are there."""


def likelihood_ratio(
    cosine: float, true: Callable[[float], float | None], false: Callable[[float], float | None]
) -> float:
    """How many times more frequent pairs near a cosine are among those of one person.

    Args:
        cosine: Where.
        true: The share of the pairs of one person at or above a cut.
        false: That of the pairs of two.
    """

    def near(rate: Callable[[float], float | None]) -> float:
        return (rate(cosine - NEAR) or 0.0) - (rate(cosine + NEAR) or 0.0)

    return near(true) / near(false)


def curves_ratio(cosine: float, curves: MeasuredCurves | Calibration) -> float:
    """The likelihood ratio by measured curves."""
    return likelihood_ratio(
        cosine,
        partial(true_match_rate, genuine=curves.genuine),
        partial(expected_false_match_rate, impostors=curves.impostors),
    )


def entry(result: facededup.EvaluateResult) -> str:
    """The curves as source text."""
    made, curves = result.fingerprint, result.calibration
    lines = ["    MeasuredCurves("]
    lines += [
        f"        {name}={getattr(made, name)!r}," for name in ("model", "detector", "align", "flip", "crops")
    ]
    for name, points in (("impostors", curves.impostors), ("genuine", curves.genuine)):
        lines += [f"        {name}=(", *(f"            ({x:g}, {y:.3g})," for x, y in points), "        ),"]
    if made.flip or made.crops > 1:
        plain = measured_curves(made.model, made.detector, made.align, flip=False, crops=1)
        if plain is not None:
            cut = describe_model(made.model).operating_cosine
            wanted = curves_ratio(cut, plain)
            while curves_ratio(cut, curves) < wanted:
                cut += 1e-4
            lines.append(f"        operating_cosine={cut:.4f},")
    return "\n".join([*lines, "    ),"]).replace("'", '"')


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="keep the store here instead of a temporary folder")
    arguments.add_argument("--flip", action="store_true", help="average each face with its mirror")
    arguments.add_argument("--crops", type=int, help="average so many cuts of each face: 1, 2 or 5")
    given = arguments.parse_args()
    images_of(given.faces)
    result = facededup.evaluate(given.faces, store=given.store, flip=given.flip or None, crops=given.crops)
    print(entry(result))
    report(
        {"facts": result.calibration.facts, "calibration": result.calibration.to_dict(result.fingerprint)},
        given.json,
    )


if __name__ == "__main__":
    main()
