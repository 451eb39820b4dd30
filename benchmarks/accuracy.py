"""Accuracy of the default encoder on labelled faces, one folder a person: what `facededup evaluate` measures.

Pairs: 3,000 of the same person, drawn person by person (each round takes one unused pair of every person who
has one left, so that people with many pictures do not dominate), and 3,000 of different people, both people
drawn uniformly. Ten folds: the cut is the best one on nine, counted on the tenth. An image without a face
makes its pairs wrong. One face an image: the one nearest the centre.

Clusters: pairwise precision, recall and F at `--threshold`, over all images; one without a face is in no
cluster.
"""

from __future__ import annotations

import os
import tempfile

from common import images_of, parser, report

import facededup


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="keep the store here instead of a temporary folder")
    arguments.add_argument("--flip", action="store_true", help="average each face with its mirror")
    arguments.add_argument("--threshold", type=float, default=0.4)
    arguments.add_argument("--crops", type=int, help="average so many cuts of each face: 1, 2 or 5")
    given = arguments.parse_args()
    images_of(given.faces)
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or os.path.join(folder, "faces.h5")
        result = facededup.evaluate(
            given.faces,
            store=store,
            flip=given.flip or None,
            crops=given.crops,
            thresholds=(given.threshold,),
        )
        found = facededup.find(store=store, threshold=given.threshold, limit=1)
    overall, quality = result.overall, result.overall.clusters[0]
    points = {}
    for point in overall.points:
        points[f"cosine at FMR {point.asked:g}"] = point.cosine
        points[f"true match rate at FMR {point.asked:g}"] = 1 - point.fnmr.value
        points[f"  95% interval at FMR {point.asked:g}"] = [
            round(1 - bound, 4) for bound in (point.fnmr.high, point.fnmr.low) if bound is not None
        ]
    report(
        {
            "images": overall.images,
            "people": overall.people,
            "images without a face": round((1 - overall.detection.value) * overall.images),
            "10-fold accuracy, mean of seeds 0-9": overall.folds.mean,
            "lowest seed": overall.folds.lowest,
            "equal error rate": overall.equal_error_rate,
            **points,
            "threshold": given.threshold,
            "pairs": found.pairs_total,
            "expected false pairs": found.expected_false_pairs,
            "clusters": found.clusters_total,
            "cluster precision": quality.pairwise.precision,
            "cluster recall": quality.pairwise.recall,
            "cluster F": quality.pairwise.f,
            "cluster B-cubed F": quality.b_cubed.f,
        },
        given.json,
    )


if __name__ == "__main__":
    main()
