"""The false match rate of the default encoder against the cosine: the curve shipped in the catalogue.

All pairs of images of different people (one folder a person), one face an image, the one nearest the centre.
A rate is only given where at least 20 false matches were counted; labels of the set that are wrong push the
last points up.
"""

from __future__ import annotations

import os
import tempfile

import numpy as np
from accuracy import embeddings_by_path
from common import images_of, parser, report

import facededup

RATES = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 6e-4, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6, 1e-6)
BINS = 20_000


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--store", help="keep the store here instead of a temporary folder")
    given = arguments.parse_args()
    images_of(given.faces)
    with tempfile.TemporaryDirectory() as folder:
        store = given.store or os.path.join(folder, "faces.h5")
        facededup.index([given.faces], store=store, faces="center")
        vectors = embeddings_by_path(store)
    paths = sorted(vectors)
    matrix = np.stack([vectors[path] for path in paths])
    names = np.unique([os.path.dirname(path) for path in paths], return_inverse=True)[1]
    edges = np.linspace(0.0, 1.0, BINS + 1)
    counts = np.zeros(BINS, np.int64)
    total = 0
    for start in range(0, len(matrix), 1024):
        scores = matrix[start : start + 1024] @ matrix.T
        rows = np.arange(start, start + len(scores))
        strangers = (names[rows, None] != names[None]) & (np.arange(len(matrix))[None] > rows[:, None])
        chosen = scores[strangers]
        total += len(chosen)
        counts += np.histogram(chosen, edges)[0]
    above = np.cumsum(counts[::-1])[::-1]
    points = []
    for rate in RATES:
        if rate * total >= 20:
            place = int(np.searchsorted(-above, -rate * total))
            points.append((round(float(edges[place]), 4), rate))
    report({"images": len(paths), "pairs of strangers": total, "impostors": points}, given.json)


if __name__ == "__main__":
    main()
