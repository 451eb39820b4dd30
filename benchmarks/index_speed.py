"""`facededup index` as a whole command against a loop of `DeepFace.represent`, same weights and detector.

Both run in turn, several times; the ratio is taken round by round. The loop's own time is counted without
DeepFace's imports and first call; facededup's with everything, from the shell to the last byte on disk.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time

from common import images_of, median, parser, report, spread

LOOP = """
import sys, time
from deepface import DeepFace
paths = sys.stdin.read().split("\\n")
def represent(path):
    DeepFace.represent(path, model_name="Dlib", detector_backend="dlib", enforce_detection=False)
represent(paths[0])
started = time.perf_counter()
for path in paths:
    represent(path)
print((time.perf_counter() - started) / len(paths))
"""


def represent_seconds(paths: list[str], home: str) -> float:
    """Seconds an image of DeepFace's own loop."""
    done = subprocess.run(
        [sys.executable, "-c", LOOP],
        input="\n".join(paths),
        env={**os.environ, "DEEPFACE_HOME": home},
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout.split()[-1])


def index_seconds(folder: str, processes: int) -> float:
    """Wall seconds of one `facededup index` into a new store."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "facededup", "index", folder, "-p", str(processes)]
        command += ["--store", os.path.join(scratch, "faces.h5"), "--faces", "all", "--cpu", "--quiet"]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        return time.perf_counter() - started


def link_weights(home: str) -> None:
    """Puts the packaged weights where DeepFace looks for them."""
    from facededup.models.weights import find_weights

    folder = os.path.join(home, ".deepface", "weights")
    os.makedirs(folder)
    for name in ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"):
        os.symlink(find_weights(name), os.path.join(folder, name))


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=500)
    arguments.add_argument("--represent", type=int, default=40, help="images of DeepFace's loop")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("-p", "--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--at-least", type=float, help="fail when the median ratio is lower")
    given = arguments.parse_args()
    images = spread(images_of(given.faces), given.images)
    ratios, ours, theirs = [], [], []
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        link_weights(home)
        for image in images:
            shutil.copy(image, folder)
        index_seconds(folder, given.processes)
        for _ in range(given.rounds):
            theirs.append(represent_seconds(spread(images, given.represent), home))
            ours.append(index_seconds(folder, given.processes))
            ratios.append(theirs[-1] * len(images) / ours[-1])
    report(
        {
            "images": len(images),
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
