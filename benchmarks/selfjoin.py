"""The self-join against one plain FAISS range search of the same vectors, and average linkage over its pairs.

The vectors: perturbed copies of face embeddings (each plus Gaussian noise of a tenth of its length,
normalised again), a dozen copies a face or as many as it takes. The embeddings are real ones (`--embeddings
FILE.npy`, float32, normalised) or strangers made to look like the default encoder's: 128 dimensions, a
common direction that gives two strangers a mean cosine of 0.85, and variances that fall as 1/k along the
others, which puts 96% of the energy into 32 dimensions as facededup's own embeddings do. All is in memory,
in one process; the two searches take turns and the ratio is taken round by round.

The large graph (`--large`) is for the clustering alone: strangers compared with those at most 8,000 rows
away, at the cosine that gives each some twenty pairs, nearly all in one component. It fails if that takes
more than twice as long as finding these pairs, which the short distance makes easier.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import faiss
import numpy as np
from common import median, report

from facededup.matching.clusters import average_linkage
from facededup.matching.planning import plan_search
from facededup.matching.selfjoin import comparisons, estimate_pairs, self_join
from facededup.matching.strategy import PLANNED_FROM
from facededup.store.base import PairBlock
from facededup.types import Floats

WINDOW = 8_000


class Rows:
    """Vectors in memory."""

    def __init__(self, vectors: Floats) -> None:
        self.vectors = vectors
        self.dimension = vectors.shape[1]

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop."""
        return self.vectors[start:stop]


def normalised(vectors: np.ndarray) -> Floats:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def strangers(count: int, seed: int = 0, dimension: int = 128) -> Floats:
    variances = 1.0 / np.arange(1, dimension)
    variances *= 0.15 / variances.sum()
    vectors = np.random.default_rng(seed).standard_normal((count, dimension))
    vectors[:, 1:] *= np.sqrt(variances)
    vectors[:, 0] = np.sqrt(0.85)
    return normalised(vectors)


def perturbed(embeddings: Floats, count: int, seed: int = 1) -> Floats:
    noise = np.random.default_rng(seed).standard_normal((count, embeddings.shape[1]))
    noise *= 0.1 / np.linalg.norm(noise, axis=1, keepdims=True)
    return normalised(embeddings[np.arange(count) % len(embeddings)] + noise)


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def clustering(vectors: Floats, pairs: list[PairBlock], cut: float) -> tuple[float, int]:
    """Median seconds of three, and the number of clusters."""
    labels = np.empty(0, np.int64)

    def cluster() -> None:
        nonlocal labels
        labels = average_linkage(len(vectors), lambda: iter(pairs), lambda rows: vectors[rows], cut)

    return median([seconds(cluster) for _ in range(3)]), len(np.unique(labels))


def large_graph(count: int) -> tuple[Floats, list[PairBlock], float]:
    vectors = strangers(count)
    window = Rows(vectors[:WINDOW])
    half = WINDOW // 2
    # A window has 32 million comparisons, 24 million of them from its first half.
    cut = estimate_pairs(window, 0.8, group=np.arange(len(window))).cut_for(20 * half * 32 // 24)
    pairs = []
    for start in range(0, count, half):
        part = Rows(vectors[start : start + WINDOW])
        for block in self_join(part, cut, group=np.arange(len(part))):
            own = block.a < half
            a, b = block.a[own] + start, block.b[own] + start
            pairs.append(PairBlock(a, b, block.cosine[own], block.new[own]))
    return vectors, pairs, cut


def main() -> None:
    arguments = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    arguments.add_argument("--embeddings", help="a .npy of real embeddings")
    arguments.add_argument("--count", type=int, default=20_000)
    arguments.add_argument("--cut", type=float, default=0.96)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--large", type=int, default=0, metavar="FACES", help="cluster a large graph, too")
    arguments.add_argument("--at-most", type=float, help="fail when the median ratio is higher")
    arguments.add_argument("--json", help="write the figures here, too")
    given = arguments.parse_args()

    faces = np.load(given.embeddings) if given.embeddings else strangers(max(1, given.count // 12))
    vectors = perturbed(faces, given.count)
    source, group = Rows(vectors), np.arange(given.count)

    def plain() -> None:
        index = faiss.IndexFlatIP(vectors.shape[1])
        index.add(vectors)
        index.range_search(vectors, given.cut)

    def join() -> list[PairBlock]:
        screen = plan_search(source, given.cut).screen if comparisons(given.count) >= PLANNED_FROM else None
        return list(self_join(source, given.cut, group=group, screen=screen))

    plain()
    rounds = [(seconds(plain), seconds(join)) for _ in range(given.rounds)]
    ratio = median([ours / theirs for theirs, ours in rounds])
    pairs = join()
    spent, clusters = clustering(vectors, pairs, given.cut)
    figures = {
        "vectors": f"{given.count} perturbed copies of {len(faces)} "
        + ("real embeddings" if given.embeddings else "synthetic strangers"),
        "cut": given.cut,
        "pairs": sum(map(len, pairs)),
        "plain range_search, seconds": median([theirs for theirs, _ in rounds]),
        "self_join, seconds": median([ours for _, ours in rounds]),
        "ratio, median": ratio,
        "estimate_pairs, seconds": median(
            [seconds(lambda: estimate_pairs(source, given.cut, group=group)) for _ in range(3)]
        ),
        "clustering, seconds": spent,
        "clusters": clusters,
    }
    if given.large:
        started = time.perf_counter()
        vectors, pairs, cut = large_graph(given.large)
        finding = time.perf_counter() - started
        spent, clusters = clustering(vectors, pairs, cut)
        figures |= {
            "large graph, faces": given.large,
            "large graph, pairs": sum(map(len, pairs)),
            "large graph, finding its pairs, seconds": finding,
            "large graph, seconds": spent,
            "large graph, clustering / finding": spent / finding,
            "large graph, clusters": clusters,
        }
    report(figures, given.json)
    if given.large and spent > 2 * finding:
        raise SystemExit("clustering took more than twice as long as finding the pairs")
    if given.at_most and ratio > given.at_most:
        raise SystemExit("self_join fell behind its limit")


if __name__ == "__main__":
    main()
