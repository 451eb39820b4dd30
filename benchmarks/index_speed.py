"""`facededup index` as a whole command against a loop of `DeepFace.represent`, same weights and detector.

    python benchmarks/index_speed.py LFW
    python benchmarks/index_speed.py LFW --images 200 --model Facenet512 --engine tensorflow

Both run in turn, several times; the ratio is taken round by round. The loop's own time is counted without
DeepFace's imports and first call; facededup's with everything, from the shell to the last byte on disk. Where
the model's weights are not on this machine, random ones made by DeepFace's own builder are used: the speed is
the same.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import images_of, median, parser, report, spread
from PIL import Image, ImageOps

from facededup.models.catalog import DEFAULT_MODEL, describe_model
from facededup.models.weights import find_weights, locate_weights

LOOP = """
import sys, time
from deepface import DeepFace
model, *paths = sys.stdin.read().split("\\n")
def represent(path):
    DeepFace.represent(path, model_name=model, detector_backend="dlib", enforce_detection=False)
represent(paths[0])
started = time.perf_counter()
for path in paths:
    represent(path)
print((time.perf_counter() - started) / len(paths))
"""


def represent_seconds(paths: list[str], home: str, model: str = DEFAULT_MODEL, engine: str = "onnx") -> float:
    """Seconds an image of DeepFace's own loop."""
    done = subprocess.run(
        [sys.executable, "-c", LOOP],
        input="\n".join([model, *paths]),
        env={**os.environ, "DEEPFACE_HOME": home, "DEEPFACE_BACKEND_ENGINE": engine},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def index_seconds(folder: str, *options: str, home: str | None = None) -> float:
    """Wall seconds of one `facededup index` into a new store."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "facededup", "index", folder, "--cpu", "--quiet"]
        command += ["--store", os.path.join(scratch, "faces.h5"), *options]
        environment = {**os.environ, **({"DEEPFACE_HOME": home} if home else {})}
        started = time.perf_counter()
        subprocess.run(command, check=True, env=environment)
        return time.perf_counter() - started


def copy_images(images: list[str], folder: str, size: tuple[int, int] | None = None) -> None:
    """Puts images into one folder, as they are or scaled up and cut to a size."""
    for image in images:
        if size is None:
            shutil.copy(image, folder)
        else:
            name = os.path.join(folder, os.path.basename(image))
            ImageOps.fit(Image.open(image), size, Image.Resampling.BICUBIC).save(name, quality=90)


def size_of(text: str) -> tuple[int, int]:
    """`1600x1200` as a pair."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def link_weights(home: str) -> None:
    """Puts the packaged weights where DeepFace looks for them."""
    folder = os.path.join(home, ".deepface", "weights")
    os.makedirs(folder)
    for name in ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"):
        os.symlink(find_weights(name), os.path.join(folder, name))


def write_random_weights(model: str, engine: str, home: str) -> None:
    """Puts a weights file of random numbers where DeepFace and facededup look for the model's."""
    tests = Path(__file__).parent.parent / "tests"
    script = (
        f"import sys; sys.path.insert(0, {str(tests)!r})\n"
        "from random_weights import write_weights\n"
        "from facededup.models.catalog import describe_model\n"
        f"write_weights(describe_model({model!r}), {engine!r})"
    )
    environment = {**os.environ, "DEEPFACE_HOME": home}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment, capture_output=True)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=500)
    arguments.add_argument("--represent", type=int, default=40, help="images of DeepFace's loop")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("-p", "--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--model", default=DEFAULT_MODEL)
    arguments.add_argument("--engine", default="onnx", choices=("onnx", "pytorch", "tensorflow"))
    arguments.add_argument("--size", type=size_of, help="scale the images up first, as in 1600x1200")
    arguments.add_argument("--at-least", type=float, help="fail when the median ratio is lower")
    given = arguments.parse_args()
    images = spread(images_of(given.faces), given.images)
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        link_weights(home)
        real = locate_weights(describe_model(given.model).weights_files[given.engine]) is not None
        if not real:
            write_random_weights(given.model, given.engine, home)
        copy_images(images, folder, given.size)
        paths = [entry.path for entry in os.scandir(folder)]
        options = ("-p", str(given.processes), "--model", given.model, "--engine", given.engine)
        options += ("--detector", "dlib")
        index_seconds(folder, *options, home=home)
        for _ in range(given.rounds):
            theirs.append(
                represent_seconds(spread(sorted(paths), given.represent), home, given.model, given.engine)
            )
            ours.append(index_seconds(folder, *options, home=home))
            ratios.append(theirs[-1] * len(images) / ours[-1])
    report(
        {
            "model": f"{given.model} on {given.engine}, {'real' if real else 'random'} weights",
            "images": f"{len(images)}" + (" at {}x{}".format(*given.size) if given.size else ""),
            "processes": given.processes,
            "rounds": given.rounds,
            "DeepFace.represent, images/s": 1 / median(theirs),
            "facededup index, seconds": median(ours),
            "facededup index, images/s": len(images) / median(ours),
            "ratio, median": median(ratios),
            "ratios": [round(ratio, 1) for ratio in ratios],
        },
        given.json,
    )
    if given.at_least and median(ratios) < given.at_least:
        sys.exit(f"the ratio fell below {given.at_least}")


if __name__ == "__main__":
    main()
