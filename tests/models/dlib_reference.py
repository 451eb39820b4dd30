"""What dlib itself says: the faces our tests embed and dlib's descriptors of them.

`python tests/models/dlib_reference.py` writes the canonical vectors anew (tests/data/dlib_vectors.json).
"""

from __future__ import annotations

import hashlib
import json
import os

import dlib
import matplotlib as mpl
import numpy as np
from skimage.data import astronaut

from facededup.models.weights import find_weights

VECTORS_FILE = os.path.join(os.path.dirname(__file__), "..", "data", "dlib_vectors.json")


def cut_faces():
    """uint8 (2, 150, 150, 3) RGB: Eileen Collins and Grace Hopper as dlib's five-point chips."""
    hopper = os.path.join(mpl.get_data_path(), "sample_data", "grace_hopper.jpg")
    detector = dlib.get_frontal_face_detector()
    predictor = dlib.shape_predictor(find_weights("shape_predictor_5_face_landmarks.dat"))
    chips = []
    for image in (astronaut(), dlib.load_rgb_image(hopper)):
        (box,) = detector(image)
        chips.append(dlib.get_face_chip(image, predictor(image, box), 150, 0.25))
    return np.stack(chips)


def pattern():
    """uint8 (150, 150, 3): the same pixels on every machine, whatever decodes and cuts images there."""
    rows, columns, channels = np.indices((150, 150, 3))
    return ((rows * columns + 37 * rows + 11 * columns * channels + 85 * channels) % 256).astype(np.uint8)


def describe(chips):
    """float64 (n, 128): dlib's own descriptors."""
    model = dlib.face_recognition_model_v1(find_weights("dlib_face_recognition_resnet_model_v1.dat"))
    return np.array([model.compute_face_descriptor(np.ascontiguousarray(chip)) for chip in chips])


def digest(chip):
    return hashlib.sha256(np.ascontiguousarray(chip).tobytes()).hexdigest()


def main():
    chips = np.concatenate([cut_faces(), pattern()[None]])
    entries = [
        {"name": name, "chip_sha256": digest(chip), "descriptor": [round(float(x), 8) for x in vector]}
        for name, chip, vector in zip(
            ("astronaut", "grace_hopper", "pattern"), chips, describe(chips), strict=True
        )
    ]
    with open(VECTORS_FILE, "w", encoding="utf-8") as file:
        json.dump({"dlib": dlib.__version__, "vectors": entries}, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
