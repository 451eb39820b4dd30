"""What a cluster looks like inside: its weakest link, mean, medoid, and faces that hold two groups together.

A *bridge* is a face without which the cluster falls apart: if it is left out, the graph of the cluster's
pairs at or above the cut has at least two parts of two faces or more. Such a cluster may be two people and
one picture that looks like both. Clusters of more than `BRIDGES_UP_TO` faces are not looked at for bridges.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, row_dots
from facededup.types import Floats

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

BRIDGES_UP_TO = 200
STACKED = 1 << 20
"""Coordinates and cosines of equally large clusters looked at together."""
BLOCK = 2_048


@dataclass(frozen=True, slots=True, eq=False)
class ClusterShapes:
    """Of m clusters with k members in all.

    Attributes:
        min_cosine: float64 (m,), over all pairs of members; 1 for one member.
        mean_cosine: float64 (m,), likewise.
        medoid: int64 (m,), the place in `members` of the one with the highest mean cosine to the others.
        bridge: bool (k,), the members that are bridges.
    """

    min_cosine: Doubles
    mean_cosine: Doubles
    medoid: NDArray[np.int64]
    bridge: Bools


def describe_clusters(
    vectors: Floats, place: NDArray[np.int64], offsets: NDArray[np.int64], cut: float
) -> ClusterShapes:
    """Looks at all pairs within each cluster.

    Args:
        vectors: float32 (k, d) of all members, in any order, no row all zeros.
        place: int64 (k,), the row in `vectors` of each member, cluster after cluster.
        offsets: int64 (m + 1,); cluster c has the members offsets[c] to offsets[c + 1].
        cut: Lowest cosine of a pair.
    """
    sizes = np.diff(offsets)
    shapes = ClusterShapes(
        np.ones(len(sizes)), np.ones(len(sizes)), offsets[:-1].copy(), np.zeros(len(place), np.bool_)
    )
    for size in np.flatnonzero(np.bincount(sizes)).tolist():
        alike = np.flatnonzero(sizes == size)
        if size == 2:
            first = offsets[alike]
            cosine = exact_cosine(vectors[place[first]], vectors[place[first + 1]])
            shapes.min_cosine[alike] = shapes.mean_cosine[alike] = cosine
        elif 2 < size <= BRIDGES_UP_TO:
            step = max(1, STACKED // (size * (size + vectors.shape[1])))
            for start in range(0, len(alike), step):
                some = alike[start : start + step]
                members = offsets[some][:, None] + np.arange(size)
                _describe_alike(vectors[place[members].ravel()], some, members, cut, shapes)
        elif size > BRIDGES_UP_TO:
            for number in alike.tolist():
                members = place[offsets[number] : offsets[number + 1]]
                _describe_large(vectors[members], number, offsets, shapes)
    return shapes


def _describe_alike(
    vectors: Floats,
    numbers: NDArray[np.int64],
    members: NDArray[np.int64],
    cut: float,
    shapes: ClusterShapes,
) -> None:
    """Some clusters of one size: their cosines as one array (clusters, size, size)."""
    size = members.shape[1]
    unit = _normalised(vectors).reshape(len(numbers), size, -1)
    cosine = unit @ unit.transpose(0, 2, 1)
    diagonal = np.arange(size)
    cosine[:, diagonal, diagonal] = 0.0
    sums = cosine.sum(axis=2)
    shapes.mean_cosine[numbers] = sums.sum(axis=1) / (size * (size - 1))
    shapes.medoid[numbers] += sums.argmax(axis=1)
    near = cosine >= cut
    near[:, diagonal, diagonal] = False
    cosine[:, diagonal, diagonal] = 1.0
    shapes.min_cosine[numbers] = np.maximum(cosine.min(axis=(1, 2)), -1.0)
    # Where everyone has half of the others for neighbours, no single face holds anything together.
    loose = near.sum(axis=2).min(axis=1) < size / 2
    for row in np.flatnonzero(loose).tolist() if size >= 5 else []:
        shapes.bridge[members[row]] = bridges(near[row])


def _describe_large(vectors: Floats, number: int, offsets: NDArray[np.int64], shapes: ClusterShapes) -> None:
    size = len(vectors)
    unit = _normalised(vectors)
    total = unit.sum(axis=0)
    to_others = unit @ total - 1.0
    shapes.mean_cosine[number] = to_others.sum() / (size * (size - 1))
    shapes.medoid[number] = offsets[number] + to_others.argmax()
    lowest = 1.0
    for top in range(0, size, BLOCK):
        for left in range(top, size, BLOCK):
            lowest = min(lowest, float((unit[top : top + BLOCK] @ unit[left : left + BLOCK].T).min()))
    shapes.min_cosine[number] = max(lowest, -1.0)


def bridges(near: Bools) -> Bools:
    """Which vertices of a graph leave two or more parts of at least two vertices when taken out.

    Args:
        near: bool (n, n), symmetric, False on the diagonal.

    Returns:
        bool (n,).
    """
    found = np.zeros(len(near), np.bool_)
    for vertex in np.flatnonzero(near.sum(axis=1) >= 2).tolist():
        left = np.ones(len(near), np.bool_)
        left[vertex] = False
        large = 0
        while left.any() and large < 2:
            part = np.zeros(len(near), np.bool_)
            edge = np.array([left.argmax()])
            while len(edge):
                part[edge] = True
                edge = np.flatnonzero(near[edge].any(axis=0) & left & ~part)
            left &= ~part
            large += int(part.sum() >= 2 and near[vertex, part].any())
        found[vertex] = large >= 2
    return found


def _normalised(vectors: Floats) -> Doubles:
    wide = vectors.astype(np.float64)
    wide /= np.sqrt(row_dots(wide, wide))[:, None]
    return wide
