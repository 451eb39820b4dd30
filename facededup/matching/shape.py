"""What a cluster looks like inside: its weakest link, mean, medoid, and faces that hold two groups together.

A *bridge* is a face without which the cluster falls apart: if it is left out, the graph of the cluster's
pairs at or above the cut has at least two parts of two faces or more. Such a cluster may be two people and
one picture that looks like both. Clusters of more than `BRIDGES_UP_TO` faces are not looked at for bridges.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine
from facededup.matching.linkage import cosines_within, normalised_rows, without_rounding
from facededup.types import Floats

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]

BRIDGES_UP_TO = 5_000
"""The graph of a cluster takes a byte for each couple of faces."""
EQUAL = 1e-9
"""Mean cosines no further apart count as equal; their rounding differs with the order of the members."""
STACKED_UP_TO = 200
"""Smaller clusters are looked at many at a time."""
STACKED = 1 << 20
"""Coordinates and cosines of equally large clusters looked at together."""
BLOCK = 2_048


@dataclass(frozen=True, slots=True, eq=False)
class ClusterShapes:
    """Of m clusters with k members in all.

    Attributes:
        min_cosine: float64 (m,), over all pairs of members; 1 for one member.
        mean_cosine: float64 (m,), likewise.
        medoid: int64 (m,), the place in `members` of the one with the highest mean cosine to the others; of
            some that are as good, the one of lowest rank.
        bridge: bool (k,), the members that are bridges.
    """

    min_cosine: Doubles
    mean_cosine: Doubles
    medoid: NDArray[np.int64]
    bridge: Bools


def describe_clusters(
    vectors: Floats,
    place: NDArray[np.int64],
    offsets: NDArray[np.int64],
    cut: float,
    *,
    rank: NDArray[np.int64] | None = None,
) -> ClusterShapes:
    """Looks at all pairs within each cluster.

    Args:
        vectors: float32 (k, d) of all members, in any order, no row all zeros.
        place: int64 (k,), the row in `vectors` of each member, cluster after cluster.
        offsets: int64 (m + 1,); cluster c has the members offsets[c] to offsets[c + 1].
        cut: Lowest cosine of a pair.
        rank: int64 (k,), decides between members that are equally good medoids; None for their order.
    """
    sizes = np.diff(offsets)
    rank = np.arange(len(place)) if rank is None else rank
    shapes = ClusterShapes(
        np.ones(len(sizes)), np.ones(len(sizes)), offsets[:-1].copy(), np.zeros(len(place), np.bool_)
    )
    for size in np.flatnonzero(np.bincount(sizes)).tolist():
        alike = np.flatnonzero(sizes == size)
        if size == 2:
            first = offsets[alike]
            cosine = exact_cosine(vectors[place[first]], vectors[place[first + 1]])
            shapes.min_cosine[alike] = shapes.mean_cosine[alike] = cosine
            shapes.medoid[alike] += rank[first + 1] < rank[first]
        elif 2 < size <= STACKED_UP_TO:
            for some in stacks(alike, size, vectors.shape[1]):
                members = offsets[some][:, None] + np.arange(size)
                _describe_alike(vectors[place[members]], some, members, cut, shapes, rank=rank)
        elif size > STACKED_UP_TO:
            for number in alike.tolist():
                members = place[offsets[number] : offsets[number + 1]]
                _describe_large(vectors[members], number, offsets, cut, shapes, rank=rank)
    return shapes


def stacks(alike: NDArray[np.int64], size: int, dimension: int) -> Iterator[NDArray[np.int64]]:
    """Equally large clusters in parts of which coordinates and cosines fit into memory together.

    Args:
        alike: int64 (n,), the clusters.
        size: Members of each.
        dimension: Of the vectors.
    """
    step = max(1, STACKED // (size * (size + dimension)))
    for start in range(0, len(alike), step):
        yield alike[start : start + step]


def _describe_alike(
    vectors: Floats,
    numbers: NDArray[np.int64],
    members: NDArray[np.int64],
    cut: float,
    shapes: ClusterShapes,
    *,
    rank: NDArray[np.int64],
) -> None:
    """Some clusters of one size: vectors float32 (clusters, size, d), cosines (clusters, size, size)."""
    size = members.shape[1]
    _, cosine = cosines_within(vectors)
    diagonal = np.arange(size)
    cosine[:, diagonal, diagonal] = 0.0
    sums = cosine.sum(axis=2)
    shapes.mean_cosine[numbers] = without_rounding(sums.sum(axis=1) / (size * (size - 1)))
    shapes.medoid[numbers] += _highest(sums / size, rank[members])
    near = cosine >= cut
    near[:, diagonal, diagonal] = False
    cosine[:, diagonal, diagonal] = 1.0
    shapes.min_cosine[numbers] = cosine.min(axis=(1, 2))
    loose = near.sum(axis=2).min(axis=1) < size / 2
    for row in np.flatnonzero(loose).tolist() if size >= 5 else []:
        shapes.bridge[members[row]] = _bridges_of(near[row])


def _highest(means: Doubles, rank: NDArray[np.int64]) -> NDArray[np.int64]:
    """The column of each row's highest number; of equal ones, that of the lowest rank."""
    equal = means >= means.max(axis=1, keepdims=True) - EQUAL
    return np.asarray(np.where(equal, rank, np.iinfo(np.int64).max).argmin(axis=1))


def _describe_large(
    vectors: Floats,
    number: int,
    offsets: NDArray[np.int64],
    cut: float,
    shapes: ClusterShapes,
    *,
    rank: NDArray[np.int64],
) -> None:
    size = len(vectors)
    unit = normalised_rows(vectors)
    total = unit.sum(axis=0)
    to_others = unit @ total - 1.0
    shapes.mean_cosine[number] = without_rounding(to_others.sum() / (size * (size - 1)))
    own = rank[offsets[number] : offsets[number + 1]]
    shapes.medoid[number] += _highest(to_others[None] / size, own[None])[0]
    lowest = 1.0
    graph = size <= BRIDGES_UP_TO
    near = np.zeros((size, size) if graph else (0, 0), np.bool_)
    for top in range(0, size, BLOCK):
        for left in range(top, size, BLOCK):
            cosine = unit[top : top + BLOCK] @ unit[left : left + BLOCK].T
            lowest = min(lowest, float(cosine.min()))
            if graph:
                near[top : top + BLOCK, left : left + BLOCK] = cosine >= cut
                near[left : left + BLOCK, top : top + BLOCK] = (cosine >= cut).T
    shapes.min_cosine[number] = without_rounding(np.array(lowest))
    if graph:
        np.fill_diagonal(near, val=False)
        shapes.bridge[offsets[number] : offsets[number + 1]] = _bridges_of(near)


def _bridges_of(near: Bools) -> Bools:
    """As `bridges`; where everyone has half of the others for neighbours, no face holds anything together."""
    tight = near.sum(axis=1).min() >= len(near) / 2
    return np.zeros(len(near), np.bool_) if tight else bridges(near)


def bridges(near: Bools) -> Bools:
    """Which vertices of a graph leave two or more parts of at least two vertices when taken out.

    One depth-first walk tells it of all (Hopcroft and Tarjan, "Algorithm 447: efficient algorithms for graph
    manipulation", Communications of the ACM 16, 1973): taking out a vertex cuts off those of its branches
    from which no edge leads to before it.

    Args:
        near: bool (n, n), symmetric, False on the diagonal.

    Returns:
        bool (n,).
    """
    found = np.zeros(len(near), np.bool_)
    unseen = np.ones(len(near), np.bool_)
    for root in range(len(near)):
        if unseen[root]:
            for vertex, parts in _parts(near, root, unseen):
                found[vertex] = sum(part >= 2 for part in parts) >= 2
    return found


def _parts(near: Bools, root: int, unseen: Bools) -> Iterator[tuple[int, list[int]]]:
    """Each vertex of one component, and the sizes of what is left of the component without it."""
    seen_at = np.full(len(near), len(near))
    lowest: dict[int, int] = {}
    below: dict[int, int] = {}
    cut_off: dict[int, list[int]] = {}
    path: list[int] = []
    ahead: int | None = root
    while ahead is not None or path:
        if ahead is not None:
            unseen[ahead] = False
            seen_at[ahead] = len(lowest)
            lowest[ahead], below[ahead], cut_off[ahead] = len(lowest), 1, []
            path.append(ahead)
        here = path[-1]
        further = near[here] & unseen
        if further.any():
            ahead = int(further.argmax())
            continue
        ahead = None
        path.pop()
        if path:
            parent = path[-1]
            lowest[here] = min(lowest[here], int(seen_at[near[here]].min()))
            lowest[parent] = min(lowest[parent], lowest[here])
            below[parent] += below[here]
            if lowest[here] >= seen_at[parent]:
                cut_off[parent].append(below[here])
    for vertex, parts in cut_off.items():
        yield vertex, [*parts, below[root] - 1 - sum(parts)]
