"""Times what a worker does to an image, stage by stage, on one core.

    python benchmarks/stages.py [FOLDER] [--images N]

FOLDER holds images of faces; FACEDEDUP_LFW or ../shared/lfw is taken where it is not given.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import dlib
import numpy as np

from facededup.faces import detect
from facededup.faces.align import cut_chip
from facededup.images.decode import decode
from facededup.images.picture import Picture
from facededup.images.walk import find_images
from facededup.models.weights import find_weights
from facededup.types import Face

MAX_PIXELS = 178_956_970

A = TypeVar("A")
B = TypeVar("B")


def measure(name: str, function: Callable[[A], B], inputs: Sequence[A]) -> list[B]:
    """Runs a function over all inputs, prints milliseconds an input (CPU time), gives the results."""
    started = time.process_time()
    results = [function(each) for each in inputs]
    print(f"{name:34} {(time.process_time() - started) / len(inputs) * 1e3:7.2f} ms")
    return results


def main() -> None:
    home = Path(__file__).parents[1]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", default=os.environ.get("FACEDEDUP_LFW", home / "../shared/lfw"))
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    found = list(find_images([str(options.folder)], follow_symlinks=False))
    chosen = found[:: max(1, len(found) // options.images)][: options.images]
    data = [Path(file.path).read_bytes() for file in chosen]
    if not data:
        parser.error(f"no image under {options.folder}")
    decode(data[0], max_pixels=MAX_PIXELS)
    print(f"{len(data)} images, CPU time an image")
    images = [
        image.pixels for image in measure("decode", lambda each: decode(each, max_pixels=MAX_PIXELS), data)
    ]
    detector = detect.build_detector("dlib")
    faces = measure(
        "detect, all stages and landmarks", lambda image: detector.detect(Picture.of(image)), images
    )
    pairs = [(image, face) for image, several in zip(images, faces, strict=True) for face in several]
    hog = dlib.get_frontal_face_detector()
    measure("  HOG at full size", lambda image: hog.run(image, 0, 0.0), images)
    predictor = dlib.shape_predictor(find_weights("shape_predictor_5_face_landmarks.dat"))
    measure("  landmarks of a face", lambda pair: predictor(pair[0], rectangle(pair[1])), pairs)
    measure("chip of a face", lambda pair: cut_chip(*pair), pairs)
    counts = Counter(len(several) for several in faces)
    print("images by number of faces:", dict(sorted(counts.items())))
    print("median width of a face:", int(np.median([face.box.w for _, face in pairs])), "pixels")


def rectangle(face: Face) -> dlib.rectangle:
    box = face.box
    return dlib.rectangle(box.x, box.y, box.x + box.w - 1, box.y + box.h - 1)


if __name__ == "__main__":
    main()
