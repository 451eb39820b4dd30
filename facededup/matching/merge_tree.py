"""The order in which average linkage put a cluster together.

Average linkage is reducible: a merger brings nothing closer than both its parts were. The clusters at a
stricter cut are therefore this tree cut higher, exactly, so a reader of the tree can regroup without the
embeddings (Murtagh, "A survey of recent advances in hierarchical clustering algorithms", The Computer
Journal 26, 1983).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, row_dots
from facededup.types import Floats

Doubles = NDArray[np.float64]
Ints = NDArray[np.int64]

TREE_UP_TO = 1_500
"""Members of a cluster at most: the matrix of all their cosines is needed."""


@dataclass(frozen=True, slots=True, eq=False)
class MergeTree:
    """The n - 1 mergers of n members, by falling height. Node k < n is a member, node n + k is merger k.

    Attributes:
        left: int64 (n - 1,), a node.
        right: int64 (n - 1,), the node it was merged with.
        height: float64 (n - 1,), mean cosine between the two.
        lowest: float64 (n - 1,), lowest cosine within the new node.
        mean: float64 (n - 1,), mean cosine within the new node.
        weakest: int64 (n - 1, 2), the two members with the lowest cosine.
    """

    left: Ints
    right: Ints
    height: Doubles
    lowest: Doubles
    mean: Doubles
    weakest: Ints


def merge_trees(vectors: Floats, place: Ints, offsets: Ints, weights: NDArray[np.int64]) -> MergeTree:
    """The trees of m clusters, one after the other; nodes and members are numbered within their cluster.

    Cluster c has the rows offsets[c] - c to offsets[c + 1] - c - 1. Its heights are NaN where it has more
    than `TREE_UP_TO` members.

    Args:
        vectors: float32 (r, d).
        place: int64 (k,), the row in `vectors` of each member, cluster after cluster.
        offsets: int64 (m + 1,); cluster c has the members offsets[c] to offsets[c + 1], one or more.
        weights: int64 (k,), how many equal faces a member stands for.
    """
    sizes = np.diff(offsets)
    trees = _empty(len(place) - len(sizes))
    first = offsets[:-1] - np.arange(len(sizes))
    couples = np.flatnonzero(sizes == 2)
    rows, members = first[couples], offsets[couples]
    trees.left[rows], trees.right[rows], trees.weakest[rows] = 0, 1, (0, 1)
    cosine = exact_cosine(vectors[place[members]], vectors[place[members + 1]])
    trees.height[rows] = trees.lowest[rows] = trees.mean[rows] = cosine
    for number in np.flatnonzero((sizes > 2) & (sizes <= TREE_UP_TO)).tolist():
        some = slice(int(offsets[number]), int(offsets[number + 1]))
        target = slice(int(first[number]), int(first[number] + sizes[number] - 1))
        tree = merge_tree(vectors[place[some]], weights[some])
        for column, values in zip(_columns(trees), _columns(tree), strict=True):
            column[target] = values
    return trees


def _empty(length: int) -> MergeTree:
    return MergeTree(
        left=np.zeros(length, np.int64),
        right=np.zeros(length, np.int64),
        height=np.full(length, np.nan),
        lowest=np.full(length, np.nan),
        mean=np.full(length, np.nan),
        weakest=np.zeros((length, 2), np.int64),
    )


def _columns(tree: MergeTree) -> tuple[NDArray[Any], ...]:
    return tree.left, tree.right, tree.height, tree.lowest, tree.mean, tree.weakest


def merge_tree(vectors: Floats, weights: NDArray[np.int64]) -> MergeTree:
    """Merges all members of one cluster, the closest first.

    Args:
        vectors: float32 (n, d), two or more, none all zeros.
        weights: int64 (n,), how many equal faces a member stands for; they count in heights, not in `mean`.
    """
    n = len(vectors)
    unit = vectors.astype(np.float64)
    unit /= np.sqrt(row_dots(unit, unit))[:, None]
    link = np.clip(unit @ unit.T, -1.0, 1.0)
    low, sums = link.copy(), unit.copy()
    pair = np.arange(n)[:, None] * n + np.arange(n)
    np.fill_diagonal(link, -np.inf)
    nearest = link.argmax(axis=1)
    weight, size = weights.astype(np.float64), np.ones(n, np.int64)
    node, own_low, own_pair = np.arange(n), np.full(n, np.inf), np.zeros(n, np.int64)
    tree = _empty(n - 1)
    for step in range(n - 1):
        a = int(link[np.arange(n), nearest].argmax())
        b = int(nearest[a])
        tree.left[step], tree.right[step], tree.height[step] = node[a], node[b], link[a, b]

        candidates = (own_low[a], own_low[b], low[a, b])
        choice = int(np.argmin(candidates))
        own_low[a] = candidates[choice]
        own_pair[a] = (own_pair[a], own_pair[b], pair[a, b])[choice]
        sums[a] += sums[b]
        size[a] += size[b]
        tree.lowest[step] = own_low[a]
        tree.weakest[step] = divmod(int(own_pair[a]), n)
        tree.mean[step] = (sums[a] @ sums[a] - size[a]) / (size[a] * (size[a] - 1))

        # Means add up by weight; of the two halves' lowest cosines to a third, the lower stays.
        joined = (link[a] * weight[a] + link[b] * weight[b]) / (weight[a] + weight[b])
        link[a] = link[:, a] = joined
        link[b] = link[:, b] = link[a, a] = -np.inf
        lower = low[b] < low[a]
        low[a] = low[:, a] = np.where(lower, low[b], low[a])
        pair[a] = pair[:, a] = np.where(lower, pair[b], pair[a])
        weight[a] += weight[b]
        node[a] = n + step
        stale = (nearest == a) | (nearest == b)
        stale[a] = True
        nearest[stale] = link[stale].argmax(axis=1)
    return tree
