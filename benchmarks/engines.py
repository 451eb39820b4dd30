"""Faces a second of a model on an engine: our batches against `DeepFace.represent`, face by face.

    python benchmarks/engines.py --model Facenet512 --engine tensorflow

Both take the same faces, already cut (`detector_backend="skip"`), on the same framework and number of
threads, turn by turn. Where the model's weights are not on this machine, random ones made by DeepFace's own
builder are used: the speed is the same.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from common import images_of, median, parser, report, spread
from PIL import Image

from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.models.weights import locate_weights
from facededup.types import Pixels

ROUNDS = 3


def main() -> None:
    arguments = _arguments()
    model = describe_model(arguments.model)
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from random_weights import write_weights

    random_weights = locate_weights(model.weights_files[arguments.engine]) is None
    with tempfile.TemporaryDirectory() as home:
        if random_weights:
            os.environ["DEEPFACE_HOME"] = home
            write_weights(model, arguments.engine)
        faces = _faces(arguments.faces, model.input_size, arguments.count)
        encoder = Encoder(
            open_engine(model, engine=arguments.engine, gpu=arguments.gpu, threads=arguments.threads),
            batch_size=arguments.batch_size,
        )
        deepface = _deepface(model.name, arguments.engine)
        encoder.encode(faces[: encoder.batch_size])
        deepface(faces[:1])
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(_seconds(encoder.encode, faces))
            theirs.append(_seconds(deepface, faces[: arguments.singles]))
    per_second = len(faces) / median(ours)
    per_second_deepface = arguments.singles / median(theirs)
    report(
        {
            "model": model.name,
            "engine": arguments.engine,
            "device": encoder.engine.device,
            "versions": encoder.engine.versions,
            "weights": "random" if random_weights else "real",
            "threads": arguments.threads,
            "batch_size": encoder.batch_size,
            "faces_per_second": per_second,
            "deepface_faces_per_second": per_second_deepface,
            "ratio": per_second / per_second_deepface,
        },
        arguments.json,
    )


def _arguments() -> argparse.Namespace:
    made = parser(__doc__.partition("\n")[0])
    made.add_argument("--model", default="Facenet512")
    made.add_argument("--engine", default="tensorflow", choices=("onnx", "pytorch", "tensorflow"))
    made.add_argument("--threads", type=int, default=os.cpu_count())
    made.add_argument("--batch-size", type=int)
    made.add_argument("--count", type=int, default=128, help="faces in a round of ours")
    made.add_argument("--singles", type=int, default=16, help="faces in a round of DeepFace's")
    made.add_argument("--gpu", action=argparse.BooleanOptionalAction)
    return made.parse_args()


def _faces(folder: str, size: tuple[int, int], count: int) -> Pixels:
    """uint8 (count, height, width, 3) RGB: the images' middle, where the face is."""
    images = (
        Image.open(path).convert("RGB").crop((62, 62, 188, 188)) for path in spread(images_of(folder), count)
    )
    return np.stack([np.asarray(image.resize(size)) for image in images])


def _deepface(name: str, engine: str) -> Callable[[Pixels], object]:
    """`DeepFace.represent` on one face after the other."""
    os.environ["DEEPFACE_BACKEND_ENGINE"] = engine
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepface import DeepFace

    def represent(faces: Pixels) -> object:
        return [
            DeepFace.represent(
                np.ascontiguousarray(face[..., ::-1]), model_name=name, detector_backend="skip"
            )
            for face in faces
        ]

    return represent


def _seconds(run: Callable[[Pixels], object], faces: Pixels) -> float:
    start = time.perf_counter()
    run(faces)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
