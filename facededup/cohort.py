"""A second score for a pair of faces: how far its cosine stands out among those with other people.

Some faces look like many others. The adaptive symmetric normalisation of speaker verification (Matejka et
al., "Analysis of score normalization in multilingual speaker recognition", Interspeech 2017) takes the
highest cosines of each face with a cohort of other people, and tells the cosine of a pair in deviations from
their mean, as the mean over both faces. The cohort is one face of each cluster of the store itself; who
reaches the operating cosine may be the same person and does not count. docs/accuracy.md has what it gains.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.matching.source import VectorSource, gather
from facededup.types import Floats

MOST, LEAST = 2000, 500
"""Faces of a cohort. Fewer than the second say too little of people in general."""
_NEAREST = 5
"""The nearest fifth of the cohort counts."""
_BLOCK = 4096

Rows = NDArray[np.int64]
Scores = NDArray[np.float64]


def normalized_scores(
    vectors: VectorSource, labels: Rows, pairs: tuple[Rows, Rows, Scores], operating_cosine: float
) -> Scores | None:
    """The normalised score of some pairs; about 0 for strangers who look alike, higher for one person.

    Args:
        vectors: All faces of a store.
        labels: int64 (n,), the cluster of each.
        pairs: Rows of both faces of each pair, int64 (k,), and their cosines, float64 (k,).
        operating_cosine: Whoever reaches it may be the same person.

    Returns:
        float64 (k,); None where the store has too few people for a cohort.
    """
    rows = pick_cohort(labels)
    if len(rows) < LEAST:
        return None
    cohort = gather(vectors, rows)
    a, b, cosines = pairs
    faces, place = np.unique(np.concatenate((a, b)), return_inverse=True)
    mean, deviation = np.empty(len(faces)), np.empty(len(faces))
    for start in range(0, len(faces), _BLOCK):
        part = slice(start, start + _BLOCK)
        some = gather(vectors, faces[part])
        mean[part], deviation[part] = cohort_statistics(some, cohort, operating_cosine)
    left, right = place[: len(a)], place[len(a) :]
    scores: Scores = (cosines - mean[left]) / deviation[left] + (cosines - mean[right]) / deviation[right]
    return scores / 2


def pick_cohort(labels: Rows) -> Rows:
    """One face of each cluster, at most `MOST` of them, the same ones for the same clusters.

    Args:
        labels: int64 (n,), the cluster of each face.

    Returns:
        int64 rows, ascending.
    """
    one_each = np.unique(labels, return_index=True)[1]
    return np.sort(np.random.default_rng(0).permutation(one_each)[:MOST])


def cohort_statistics(faces: Floats, cohort: Floats, operating_cosine: float) -> tuple[Scores, Scores]:
    """Mean and deviation of each face's highest cosines with a cohort.

    Args:
        faces: float32 (n, dimension), L2-normalised.
        cohort: float32 (m, dimension), likewise.
        operating_cosine: Cosines from here on are left out.

    Returns:
        Two of float64 (n,).
    """
    cosines = (faces @ cohort.T).astype(np.float64)
    cosines[cosines >= operating_cosine] = -1.0
    top = len(cohort) // _NEAREST
    highest = -np.partition(-cosines, top - 1, axis=1)[:, :top]
    # All of the cohort at one cosine is no crowd to stand out from; the deviation only must not be 0.
    return highest.mean(axis=1), np.maximum(highest.std(axis=1), 1e-6)
