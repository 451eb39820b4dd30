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
from facededup.images.picture import Picture
from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.progress import SilentProgress

RATES = (1e-3, 1e-4, 1e-5)
BOXES = ((1.0,), (1.04, 0.96), (1.0, 1.05, 0.95))


def central_chips(images: list[str]) -> tuple[np.ndarray, np.ndarray, float]:
    """The aligned faces, the row of each image in them (-1 without one), and the seconds of detection."""
    detector = build_detector("dlib")
    chips, rows, seconds = [], [], 0.0
    for path in images:
        image = decode(Path(path).read_bytes(), max_pixels=10**8)
        started = time.process_time()
        found = detector.detect(Picture.of(image.pixels))
        seconds += time.process_time() - started
        _, faces = choose_faces(found, "center", image.width, image.height)
        rows.append(len(chips) if faces else -1)
        chips += [cut_chip(image.pixels, face) for face in faces]
    return np.stack(chips), np.array(rows), seconds


def labelled(images: list[str], rows: np.ndarray, vectors: np.ndarray) -> Sample:
    """Images with the people that their folders name."""
    names, person = np.unique(
        [os.path.basename(os.path.dirname(path)) for path in images], return_inverse=True
    )
    quality = np.full(len(vectors), np.nan, np.float32)
    return Sample(tuple(images), tuple(names.tolist()), person.astype(np.int64), rows, vectors, quality)


def accuracy(sample: Sample) -> dict[str, float]:
    """Ten-fold accuracy and true match rates."""
    folds = fold_accuracy(sample)
    curve, _ = score_all(sample.embeddings(), sample.labels(), SilentProgress())
    figures = {"accuracy": folds.mean if folds else np.nan}
    for rate in RATES:
        cut = curve.cosine_at_fmr(rate)
        figures[f"true match rate at FMR {rate:g}"] = np.nan if cut is None else 1 - curve.fnmr(cut)
    return figures


def main() -> None:
    given = parser(__doc__.partition("\n")[0]).parse_args()
    images = images_of(given.faces)
    encoder = Encoder(open_engine(describe_model("Dlib")))
    figures = {}
    for sizes in BOXES:
        landmarks.BOX_SIZES = sizes
        chips, rows, seconds = central_chips(images)
        measured = accuracy(labelled(images, rows, encoder.encode(chips)))
        for name, value in {"ms to detect": 1e3 * seconds / len(images), **measured}.items():
            figures[f"{name}, boxes {' '.join(map(str, sizes))}"] = value
    report({"images": len(images), **figures}, given.json)


if __name__ == "__main__":
    main()
