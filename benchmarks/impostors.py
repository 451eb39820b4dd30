"""The curves of facededup/models/curves.py: false and true match rates of an encoder against the cosine.

All pairs of images, one folder a person, one face an image, the one nearest the centre. Prints the entry
of `CURVES` to be pasted. With `--flip` or `--crops` it names an operating cosine, too: where the false match
rate is what the shipped curve of one view has at the model's own. A false match rate is only given where at
least 20 false matches were counted; wrong labels of the set push the last points up.
"""

from __future__ import annotations

from common import images_of, parser, report

import facededup
from facededup.models.catalog import describe_model
from facededup.models.curves import measured_curves
from facededup.models.scores import cosine_at_rate, expected_false_match_rate


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
            rate = expected_false_match_rate(describe_model(made.model).operating_cosine, plain.impostors)
            lines.append(f"        operating_cosine={cosine_at_rate(rate, curves.impostors):.4f},")
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
