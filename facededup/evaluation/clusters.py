"""How well clusters agree with people: over pairs of images, and image by image (B-cubed)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision, recall and their harmonic mean."""

    precision: float
    recall: float
    f: float


def pairwise(clusters: Labels, people: Labels) -> Agreement:
    """Over pairs of images: which of those in one cluster are of one person, and the other way round.

    Large clusters count most: a cluster of n images has n (n - 1) / 2 pairs.

    Args:
        clusters: int64 (n,), the cluster of each image; an image alone has a number of its own.
        people: int64 (n,), the person on each.

    Returns:
        Each share is 1 where there is no pair to be wrong about.
    """
    right = _pairs(_cells(clusters, people)[2])
    return _agreement(_share(right, _pairs(_sizes(clusters))), _share(right, _pairs(_sizes(people))))


def b_cubed(clusters: Labels, people: Labels) -> Agreement:
    """Image by image: the share of an image's cluster that is its person, and of its person in its cluster.

    Every image counts the same. Bagga and Baldwin, "Entity-based cross-document coreferencing using the
    vector space model", ACL 1998.

    Args:
        clusters: int64 (n,), the cluster of each image, n at least 1.
        people: int64 (n,), the person on each.
    """
    cluster, person, count = _cells(clusters, people)
    squares = count.astype(np.float64) ** 2
    total = len(clusters)
    return _agreement(
        float((squares / _sizes(clusters)[cluster]).sum() / total),
        float((squares / _sizes(people)[person]).sum() / total),
    )


def _cells(clusters: Labels, people: Labels) -> tuple[Labels, Labels, Labels]:
    """Each (cluster, person) that has images: their places among the sorted labels, and how many images."""
    cluster = np.unique(clusters, return_inverse=True)[1]
    person = np.unique(people, return_inverse=True)[1]
    width = int(person.max(initial=0)) + 1
    keys, count = np.unique(cluster.astype(np.int64) * width + person, return_counts=True)
    return keys // width, keys % width, count


def _sizes(labels: Labels) -> Labels:
    return np.unique(labels, return_counts=True)[1]


def _pairs(sizes: Labels) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _share(right: int, claimed: int) -> float:
    return right / claimed if claimed else 1.0


def _agreement(precision: float, recall: float) -> Agreement:
    both = precision + recall
    return Agreement(precision, recall, 2 * precision * recall / both if both else 0.0)
