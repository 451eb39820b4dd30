"""Unit vectors for the tests of matching, and their pairs by brute force."""

from __future__ import annotations

import numpy as np

from facededup.matching.flat import exact_cosine
from facededup.store.base import PairBlock


class Rows:
    """Vectors in memory, read as `self_join` reads a store."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.vectors = vectors
        self.dimension = vectors.shape[1]
        self.most = 0

    def __len__(self) -> int:
        return len(self.vectors)

    def rows(self, start: int, stop: int) -> np.ndarray:
        assert 0 <= start < stop <= len(self)
        self.most = max(self.most, stop - start)
        return self.vectors[start:stop]


def normalised(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def faces(people: int, each: int, noise: float, dimension: int = 32, seed: int = 0) -> np.ndarray:
    """Groups of vectors around random centres that lean to one side like real embeddings, shuffled."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((people, dimension))
    centres[:, 0] += np.sqrt(dimension)
    vectors = np.repeat(centres, each, axis=0)
    vectors += noise * random.standard_normal(vectors.shape)
    return normalised(random.permutation(vectors))


def block_of(a: np.ndarray, b: np.ndarray, cosine: np.ndarray) -> PairBlock:
    a, b = np.asarray(a, np.int64), np.asarray(b, np.int64)
    return PairBlock(a, b, np.asarray(cosine, np.float64), np.zeros(len(a), np.bool_))


def brute_force(vectors: np.ndarray, cut: float, group: np.ndarray | None = None) -> PairBlock:
    """All pairs at or above the cut, one by one in float64, by (a, b)."""
    a, b = np.triu_indices(len(vectors), 1)
    cosine = exact_cosine(vectors[a], vectors[b])
    kept = cosine >= cut
    if group is not None:
        kept &= group[a] != group[b]
    return block_of(a[kept], b[kept], cosine[kept])
