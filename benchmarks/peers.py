"""facededup and its peers on the same images in one run: speed, memory, and whether the pairs are right.

Each peer runs in a process of its own, those that need other packages in an environment that this script
makes from PyPI (`--envs` keeps them). Peers are timed on the first `--sample` images and extrapolated to the
sizes, as some would take hours: so many seconds an image, so many a pair; such figures are marked with ~.
facededup is measured at every size, from the shell to the last byte. Pairs count as right when both images
are in one folder; precision, recall and F of the pairs are of the sample, at each peer's own default.

- method: the proof of concept's: DeepFace.represent for each image, DeepFace.verify for each pair
- find: DeepFace.find, once for each image
- face_recognition: its encodings, then compare_faces of each with all others
- imagededup CNN: whole images, through its custom-model hook, a small network of random weights: speed only
- imagededup PHash: whole images, beside it: it looks for copies of a picture, not for people
- FAISS: the embeddings of facededup, one plain range search: comparing only
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from common import images_of, parser, report, spread

import facededup
from facededup.models.weights import find_weights

HEAD = """
import itertools, json, resource, sys, time
import numpy as np
given = json.load(sys.stdin)
paths, result = given["paths"], {}
def done(encode, compare, pairs, found, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("\\n" + json.dumps({"encode": encode, "compare": compare, "pairs": pairs, "found": found,
                             "peak": peak, **more}))
clock = time.perf_counter
"""
METHOD = """
from deepface import DeepFace
options = {"model_name": "Dlib", "detector_backend": "dlib", "enforce_detection": False}
DeepFace.represent(paths[0], **options)
start = clock()
faces = [DeepFace.represent(path, **options)[0]["embedding"] for path in paths]
encode, start, found = clock() - start, clock(), []
couples = list(itertools.combinations(range(len(paths)), 2))[: given["pairs"]]
for a, b in couples:
    if DeepFace.verify(faces[a], faces[b], model_name="Dlib", silent=True)["verified"]:
        found.append((a, b))
done(encode, clock() - start, len(couples), found)
"""
FIND = """
import os, shutil, tempfile
from deepface import DeepFace
options = {"model_name": "Dlib", "detector_backend": "dlib", "enforce_detection": False, "silent": True}
with tempfile.TemporaryDirectory() as base:
    names = {}
    for place, path in enumerate(paths):
        names[shutil.copy(path, os.path.join(base, f"{place}.jpg"))] = place
    DeepFace.represent(paths[0], model_name="Dlib", detector_backend="dlib", enforce_detection=False)
    start = clock()
    DeepFace.find(paths[0], base, refresh_database=True, **options)
    encode, start, found = clock() - start, clock(), set()
    for name, place in names.items():
        for table in DeepFace.find(name, base, refresh_database=False, **options):
            others = [names[other] for other in table["identity"]]
            found |= {tuple(sorted((place, other))) for other in others if other != place}
    # A query encodes its image again; the rest of it is what grows with the square.
    compare = max(1e-3, clock() - start - encode)
    done(2 * encode, compare, len(paths) * (len(paths) - 1) // 2, sorted(found))
"""
FACE_RECOGNITION = """
import face_recognition as fr
fr.face_encodings(fr.load_image_file(paths[0]))
start, faces = clock(), []
for path in paths:
    faces += [(fr.face_encodings(fr.load_image_file(path)) or [np.full(128, 9.0)])[0]]
encode, start, found = clock() - start, clock(), []
for a in range(len(faces) - 1):
    same = fr.compare_faces(faces[a + 1 :], faces[a])
    found += [(a, a + 1 + int(b)) for b in np.flatnonzero(same)]
done(encode, clock() - start, len(faces) * (len(faces) - 1) // 2, found)
"""
IMAGEDEDUP = """
import os, shutil, tempfile, torch
# torchvision's own operators may be built for another torch; only its transforms are used here.
operators = torch.library.Library("torchvision", "FRAGMENT")
for name in ("nms", "qnms"):
    try:
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass
from torchvision.transforms import Compose, Resize, ToTensor
from imagededup.methods import CNN, PHash
from imagededup.utils import CustomModel
class Small(torch.nn.Module):
    name, transform = "small", Compose([Resize((224, 224)), ToTensor()])
    def __init__(self):
        super().__init__()
        layers = []
        for a, b in ((3, 16), (16, 32), (32, 64), (64, 128), (128, 576)):
            layers += [torch.nn.Conv2d(a, b, 3, 2, 1), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    def forward(self, x):
        return self.net(x)
torch.manual_seed(0)
with tempfile.TemporaryDirectory() as base:
    names = [f"{n:05}.jpg" for n in range(len(paths))]
    for path, name in zip(paths, names):
        shutil.copy(path, os.path.join(base, name))
    if given["peer"] == "imagededup CNN":
        config = CustomModel(name="small", model=Small(), transform=Small.transform)
        made = CNN(verbose=False, model_config=config)
        options = {"min_similarity_threshold": 0.9}
    else:
        made, options = PHash(verbose=False), {"max_distance_threshold": 10}
    start = clock()
    codes = made.encode_images(image_dir=base)
    encode, start = clock() - start, clock()
    twins = made.find_duplicates(encoding_map=codes, **options)
    found = {tuple(sorted((names.index(a), names.index(b)))) for a, others in twins.items() for b in others}
    done(encode, clock() - start, len(names) * (len(names) - 1) // 2, sorted(found))
"""
FAISS = """
import os, faiss
from facededup.store.opener import open_store
with open_store(given["store"]).snapshot() as snapshot:
    vectors = snapshot.embeddings(0, len(snapshot.faces))
index = faiss.IndexFlatIP(vectors.shape[1])
start = clock()
index.add(vectors)
index.range_search(vectors, 0.93)
done(0.0, clock() - start, len(vectors) * (len(vectors) - 1) // 2, [])
"""
PEERS: dict[str, tuple[str, tuple[tuple[str, ...], ...]]] = {
    "method": (METHOD, ()),
    "find": (FIND, ()),
    "face_recognition": (
        FACE_RECOGNITION,
        (
            ("setuptools<81", "numpy", "pillow", "click", "dlib-bin", "face_recognition_models==0.3.0"),
            ("--no-deps", "face_recognition"),
        ),
    ),
    "imagededup CNN": (
        IMAGEDEDUP,
        (
            ("torch==2.13.0",),
            ("--no-deps", "torchvision==0.28.0", "imagededup"),
            ("numpy", "pillow", "tqdm", "scikit-learn", "scipy", "PyWavelets", "matplotlib"),
        ),
    ),
    "FAISS": (FAISS, ()),
}
PEERS["imagededup PHash"] = (IMAGEDEDUP, PEERS["imagededup CNN"][1])
_FAST = ("imagededup CNN", "imagededup PHash")
"""On a few images their fixed costs would pass for costs of a pair."""
_NO_VERDICT = ("FAISS", "imagededup CNN")
_SHOWN = {"method": "represent and verify", "find": "DeepFace.find"}


def environment(folder: str, installs: tuple[tuple[str, ...], ...]) -> str:
    """The interpreter of an environment with some packages."""
    if not installs:
        return sys.executable
    place = os.path.join(folder, installs[1][-1])
    python = os.path.join(place, "bin", "python")
    if not os.path.exists(python):
        subprocess.run([sys.executable, "-m", "venv", place], check=True)
        for packages in installs:
            pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
            subprocess.run([*pip, *packages], check=True, capture_output=True, text=True)
    return python


def run_peer(name: str, envs: str, home: str, question: dict[str, Any]) -> dict[str, Any]:
    """What a peer measured, or why it did not."""
    code, installs = PEERS[name]
    try:
        python = environment(envs, installs)
        done = subprocess.run(
            [python, "-c", HEAD + code],
            input=json.dumps({**question, "peer": name}),
            env={**os.environ, "DEEPFACE_HOME": home},
            capture_output=True,
            text=True,
            check=True,
        )
    except subprocess.CalledProcessError as exc:
        return {"failed": (exc.stderr or "").strip().splitlines()[-1:]}
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def run_ours(folder: str, store: str) -> tuple[float, dict[str, Any]]:
    """Wall seconds of `facededup run` and its metrics."""
    metrics = store + ".json"
    command = [sys.executable, "-m", "facededup", "run", folder, "--cpu", "--quiet", "--faces", "center"]
    start = time.perf_counter()
    subprocess.run([*command, "--store", store, "--metrics", metrics], check=True)
    return time.perf_counter() - start, json.loads(Path(metrics).read_text())


def right_pairs(found: set[tuple[int, int]], paths: list[str]) -> dict[str, float]:
    """Precision, recall and F of pairs of places in `paths`."""
    people = [os.path.basename(os.path.dirname(path)) for path in paths]
    true = {(a, b) for b in range(len(paths)) for a in range(b) if people[a] == people[b]}
    right = len(found & true)
    precision, recall = right / max(1, len(found)), right / max(1, len(true))
    return {"precision": precision, "recall": recall, "F": 2 * right / max(1, len(found) + len(true))}


def linked(paths: list[str], folder: Path) -> str:
    """A folder with copies of some images, a sub-folder a person."""
    for path in paths:
        target = folder / os.path.basename(os.path.dirname(path))
        target.mkdir(parents=True, exist_ok=True)
        (target / os.path.basename(path)).write_bytes(Path(path).read_bytes())
    return str(folder)


def ours(images: list[str], sizes: list[int], scratch: Path) -> tuple[dict[int, float], dict[str, Any], str]:
    """Seconds by size, the metrics of the largest, and its store."""
    seconds, metrics, store = {}, {}, ""
    for size in sizes:
        folder, store = linked(images[:size], scratch / f"set{size}"), str(scratch / f"{size}.h5")
        seconds[size], metrics = run_ours(folder, store)
    return seconds, metrics, store


def pairs_of_ours(sample: list[str], scratch: Path) -> set[tuple[int, int]]:
    store = str(scratch / "sample.h5")
    run_ours(linked(sample, scratch / "sample"), store)
    place = {os.path.join(*path.split(os.sep)[-2:]): number for number, path in enumerate(sample)}
    named = [(p.a.path, p.b.path) for p in facededup.find(store=store, limit=0).pairs]
    return {tuple(sorted(place[os.path.join(*path.split(os.sep)[-2:])] for path in pair)) for pair in named}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 6398])
    arguments.add_argument("--sample", type=int, default=60, help="images the slow peers are timed on")
    arguments.add_argument("--fast-sample", type=int, default=1000, help="images imagededup is timed on")
    arguments.add_argument("--pairs", type=int, default=1770, help="pairs DeepFace.verify is timed on")
    arguments.add_argument("--peers", nargs="+", default=list(PEERS), choices=list(PEERS))
    arguments.add_argument("--envs", help="keep the environments of the peers here")
    arguments.add_argument("--png", help="draw the end-to-end seconds")
    arguments.add_argument("--at-least", type=float, default=0.0, help="fail when the method is nearer")
    given = arguments.parse_args()
    everything = images_of(given.faces)
    images = spread(everything, max(given.sizes))
    sample = everything[: given.sample]  # neighbours, so that there are people with several images
    with tempfile.TemporaryDirectory() as place:
        scratch, home = Path(place), os.path.join(place, "home")
        weights = Path(home) / ".deepface" / "weights"
        weights.mkdir(parents=True)
        for name in ("dlib_face_recognition_resnet_model_v1.dat", "shape_predictor_5_face_landmarks.dat"):
            (weights / name).symlink_to(find_weights(name))
        seconds, metrics, store = ours(images, given.sizes, scratch)
        own = {
            "peer": "facededup",
            "seconds": seconds,
            "images/s": metrics["images_per_second"],
            "peak MB": metrics["peak_rss_bytes"] >> 20,
            **right_pairs(pairs_of_ours(sample, scratch), sample),
        }
        rows = [own]
        for name in given.peers:
            paths = everything[: given.fast_sample] if name in _FAST else sample
            question = {"paths": paths, "store": store, "pairs": given.pairs}
            answer = run_peer(name, given.envs or place, home, question)
            rows.append(row_of(name, answer, paths, seconds))
    for row in rows:
        print(row)
    report({"sizes": given.sizes, "sample": len(sample), "rows": rows}, given.json)
    if given.png:
        draw(rows, given.png)
    missing = [row["peer"] for row in rows if "failed" in row]
    if missing:
        sys.exit(f"these did not run: {', '.join(missing)}")
    near = min(given.sizes, key=lambda size: abs(size - 1000))
    for row in rows:
        if row["peer"] == "method" and row["times facededup"][near] < given.at_least:
            sys.exit(f"facededup was only {row['times facededup'][near]:.1f} times as fast as the method")


def row_of(name: str, answer: dict[str, Any], sample: list[str], ours: dict[int, float]) -> dict[str, Any]:
    """A peer's line; end to end from its seconds an image and a pair."""
    if "failed" in answer:
        return {"peer": name, "failed": answer["failed"]}
    image, pair = answer["encode"] / len(sample), answer["compare"] / max(1, answer["pairs"])
    seconds = {size: size * image + size * (size - 1) / 2 * pair for size in ours}
    row = {
        "peer": name,
        "~seconds": seconds,
        "times facededup": {size: seconds[size] / ours[size] for size in ours},
        "images/s": 1 / image if image else None,
        "pairs/s": 1 / pair,
        "peak MB": answer["peak"] >> 20,
    }
    found = {tuple(couple) for couple in answer["found"]}
    return row if name in _NO_VERDICT else {**row, **right_pairs(found, sample)}


def draw(rows: list[dict[str, Any]], path: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for row in rows:
        if row["peer"] == "FAISS":
            continue  # it only compares
        seconds = row.get("seconds") or row.get("~seconds") or {}
        style = "o-" if "seconds" in row else "x--"
        axes.loglog(list(seconds), list(seconds.values()), style, label=_SHOWN.get(row["peer"], row["peer"]))
    axes.set(xlabel="images", ylabel="seconds end to end (dashed: extrapolated)")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")
    figure.savefig(path, dpi=100)


if __name__ == "__main__":
    main()
