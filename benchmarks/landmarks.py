"""Accuracy of the default encoder by the boxes that landmarks are averaged over.

    python benchmarks/landmarks.py LFW

The same faces (one an image, the one nearest the centre) are cut by landmarks found from one box, from two
and from three, each a little larger or smaller than the detector's.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from common import images_of, parser, report

from facededup.evaluation.curves import score_all
from facededup.evaluation.folds import fold_accuracy
from facededup.evaluation.sample import Sample
from facededup.faces import landmarks
from facededup.faces.align import cut_chip
from facededup.faces.choose import choose_faces
from facededup.faces.detect import build_detector
from facededup.images.decode import decode
from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.progress import SilentProgress

BOXES = ((1.0,), (1.04, 0.96), (1.0, 1.05, 0.95))


def measure(images: list[str], encoder: Encoder) -> dict[str, float]:
    """Accuracy with the boxes that are set."""
    detector = build_detector("dlib")
    chips, rows, seconds = [], [], 0.0
    for path in images:
        image = decode(Path(path).read_bytes(), max_pixels=10**8)
        started = time.process_time()
        found = detector.detect(image.pixels)
        seconds += time.process_time() - started
        _, faces = choose_faces(found, "center", image.width, image.height)
        rows.append(len(chips) if faces else -1)
        chips += [cut_chip(image.pixels, face) for face in faces]
    vectors = encoder.encode(np.stack(chips))
    names, person = np.unique(
        [os.path.basename(os.path.dirname(path)) for path in images], return_inverse=True
    )
    sample = Sample(
        tuple(images),
        tuple(names.tolist()),
        person.astype(np.int64),
        np.array(rows),
        vectors,
        np.full(len(vectors), np.nan, np.float32),
    )
    folds = fold_accuracy(sample)
    curve, _ = score_all(sample.embeddings(), sample.labels(), SilentProgress())
    figures = {"ms to detect": 1e3 * seconds / len(images), "accuracy": folds.mean if folds else np.nan}
    for rate in (1e-3, 1e-4, 1e-5):
        cut = curve.cosine_at_fmr(rate)
        if cut is not None:
            figures[f"true match rate at FMR {rate:g}"] = 1 - curve.fnmr(cut)
    return figures


def main() -> None:
    given = parser(__doc__.partition("\n")[0]).parse_args()
    images = images_of(given.faces)
    encoder = Encoder(open_engine(describe_model("Dlib")))
    figures = {}
    for sizes in BOXES:
        landmarks.BOX_SIZES = sizes
        for name, value in measure(images, encoder).items():
            figures[f"{name}, boxes {' '.join(map(str, sizes))}"] = value
    report({"images": len(images), **figures}, given.json)


if __name__ == "__main__":
    main()
