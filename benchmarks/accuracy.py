"""Accuracy of the default encoder on labelled faces, one folder a person.

Pairs: 3,000 of the same person, drawn person by person (each round takes one unused pair of every person who
has one left, so that people with many pictures do not dominate), and 3,000 of different people, both people
drawn uniformly. Ten folds: the cut is the best one on nine, counted on the tenth. An image without a face
makes its pairs wrong. One face an image: the one nearest the centre.

Clusters: pairwise precision, recall and F of `find`, over all images; one without a face is in no cluster.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections import Counter, defaultdict

import numpy as np
from common import images_of, parser, report

import facededup
from facededup.store.opener import open_store

PAIRS = 3000
FOLDS = 10


def embeddings_by_path(store: str) -> dict[str, np.ndarray]:
    with open_store(store).snapshot() as snapshot:
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        row_of = dict(zip(snapshot.faces.image.tolist(), range(len(snapshot.faces)), strict=True))
        return {
            os.fsdecode(path): vectors[row_of[first]]
            for path, first in zip(snapshot.images.path, snapshot.images.first.tolist(), strict=True)
            if first in row_of
        }


def draw_pairs(
    people: dict[str, list[str]], seed: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    unused = {}
    for name, images in people.items():
        pairs = list(itertools.combinations(images, 2))
        unused[name] = [pairs[place] for place in random.permutation(len(pairs))]
    same: list[tuple[str, str]] = []
    while len(same) < PAIRS:
        names = [name for name, pairs in unused.items() if pairs]
        if not names:
            break
        same += [unused[names[place]].pop() for place in random.permutation(len(names))]
    names = list(people)
    different = []
    while len(different) < PAIRS:
        a, b = random.integers(len(names), size=2)
        if a != b:
            different.append(tuple(people[names[n]][random.integers(len(people[names[n]]))] for n in (a, b)))
    return same[:PAIRS], different


def ten_fold(scores: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Mean accuracy over the folds; a score of NaN is wrong whatever the cut."""
    order = np.random.default_rng(seed).permutation(len(scores))
    folds = np.array_split(order, FOLDS)
    accuracies = []
    for held_out in folds:
        train = np.setdiff1d(order, held_out)
        known = train[~np.isnan(scores[train])]
        cuts = np.unique(scores[known])
        positives = np.sort(scores[known][labels[known]])
        negatives = np.sort(scores[known][~labels[known]])
        right = len(positives) - np.searchsorted(positives, cuts) + np.searchsorted(negatives, cuts)
        cut = cuts[int(np.argmax(right))]
        decided = scores[held_out] >= cut
        accuracies.append(np.mean((decided == labels[held_out]) & ~np.isnan(scores[held_out])))
    return float(np.mean(accuracies))


def cosine(vectors: dict[str, np.ndarray], pairs: list[tuple[str, str]]) -> np.ndarray:
    missing = np.full(next(iter(vectors.values())).shape, np.nan, np.float32)
    left = np.stack([vectors.get(a, missing) for a, _ in pairs])
    right = np.stack([vectors.get(b, missing) for _, b in pairs])
    return np.einsum("ij,ij->i", left, right)


def cluster_quality(result: facededup.FindResult, person: dict[str, str]) -> tuple[float, float, float]:
    right = claimed = 0
    for cluster in result.clusters:
        names = Counter(person[face.path] for face in cluster.faces)
        claimed += cluster.size * (cluster.size - 1) // 2
        right += sum(count * (count - 1) // 2 for count in names.values())
    wanted = sum(count * (count - 1) // 2 for count in Counter(person.values()).values())
    precision, recall = right / max(claimed, 1), right / wanted
    return precision, recall, 2 * precision * recall / (precision + recall)


def operating_points(vectors: dict[str, np.ndarray], person: dict[str, str]) -> dict[str, float]:
    """True match rates over all pairs of images at fixed false match rates."""
    paths = sorted(vectors)
    matrix = np.stack([vectors[path] for path in paths])
    names = np.unique([person[path] for path in paths], return_inverse=True)[1]
    genuine, impostors = [], []
    for start in range(0, len(matrix), 1024):
        scores = matrix[start : start + 1024] @ matrix.T
        same = names[start : start + 1024, None] == names[None]
        upper = np.arange(len(matrix))[None] > np.arange(start, min(start + 1024, len(matrix)))[:, None]
        genuine.append(scores[same & upper])
        high = scores[~same & upper]
        impostors.append((len(high), high[high > 0.85]))
    total = sum(count for count, _ in impostors)
    tail = np.sort(np.concatenate([high for _, high in impostors]))[::-1]
    true = np.concatenate(genuine)
    points = {}
    for rate in (1e-3, 1e-4, 1e-5):
        cut = tail[int(rate * total)]
        points[f"cosine at FMR {rate:g}"] = float(cut)
        points[f"true match rate at FMR {rate:g}"] = float(np.mean(true > cut))
    return points


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="keep the store here instead of a temporary folder")
    arguments.add_argument("--flip", action="store_true", help="average each face with its mirror")
    arguments.add_argument("--threshold", type=float, default=0.4)
    given = arguments.parse_args()
    images = images_of(given.faces)
    people = defaultdict(list)
    for path in (os.path.abspath(image) for image in images):
        people[os.path.basename(os.path.dirname(path))].append(path)
    person = {path: name for name, paths in people.items() for path in paths}
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or os.path.join(folder, "faces.h5")
        facededup.index([given.faces], store=store, faces="center", flip=given.flip or None)
        found = facededup.find(store=store, threshold=given.threshold, limit=0)
        vectors = embeddings_by_path(store)
    accuracies = []
    for seed in range(10):
        same, different = draw_pairs(people, seed)
        labels = np.arange(len(same) + len(different)) < len(same)
        accuracies.append(ten_fold(cosine(vectors, same + different), labels, seed))
    precision, recall, f = cluster_quality(found, person)
    report(
        {
            "images": len(images),
            "people": len(people),
            "images without a face": len(images) - len(vectors),
            "10-fold accuracy, mean of seeds 0-9": float(np.mean(accuracies)),
            "lowest seed": min(accuracies),
            **operating_points(vectors, person),
            "threshold": given.threshold,
            "pairs": found.pairs_total,
            "expected false pairs": found.expected_false_pairs,
            "clusters": found.clusters_total,
            "cluster precision": precision,
            "cluster recall": recall,
            "cluster F": f,
        },
        given.json,
    )


if __name__ == "__main__":
    main()
