"""The order in which average or single linkage put a cluster together.

Both are reducible: a merger brings nothing closer than both its parts were. The clusters at a stricter cut
are therefore this tree cut higher, exactly, so a reader of the tree can regroup without the embeddings
(Murtagh, "A survey of recent advances in hierarchical clustering algorithms", The Computer Journal 26, 1983).
Only where faces of one image, which are no pair, are alike may that differ: see `clusters`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, row_dots
from facededup.matching.linkage import cosines_within, without_rounding
from facededup.matching.merge_order import Bonds, MergerOrder, bound_order, merger_order
from facededup.matching.shape import stacks
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
        height: float64 (n - 1,), mean (single linkage: highest) cosine between the two; infinite where bonds
            decide.
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


def merge_trees(
    vectors: Floats,
    place: Ints,
    offsets: Ints,
    weights: Ints,
    *,
    bonds: Bonds | None = None,
    single: bool = False,
) -> MergeTree:
    """The trees of m clusters, one after the other; nodes and members are numbered within their cluster.

    Cluster c has the rows offsets[c] - c to offsets[c + 1] - c - 1. Its heights are NaN where it has more
    than `TREE_UP_TO` members.

    Args:
        vectors: float32 (r, d), no row all zeros.
        place: int64 (k,), the row in `vectors` of each member, cluster after cluster.
        offsets: int64 (m + 1,); cluster c has the members offsets[c] to offsets[c + 1], one or more.
        weights: int64 (k,), how many equal faces a member stands for; they count in heights, not in `mean`.
        bonds: What else is known of the members.
        single: Merge by single linkage, not by average linkage.
    """
    sizes = np.diff(offsets)
    trees = _empty((len(place) - len(sizes),))
    if bonds is None:
        nothing = np.empty((0, 2), np.int64)
        bonds = Bonds(np.arange(len(place)), np.arange(len(place)), nothing)
    bound = bonds.matter(offsets)
    small = (sizes > 1) & (sizes <= TREE_UP_TO)
    for is_bound in (False, True):
        which = small & (bound == is_bound)
        for size in np.flatnonzero(np.bincount(sizes[which])).tolist():
            alike = np.flatnonzero(which & (sizes == size))
            for some in stacks(alike, size, vectors.shape[1]):
                members = offsets[some][:, None] + np.arange(size)
                rows = (offsets[some] - some)[:, None] + np.arange(size - 1)
                own = vectors[place[members]], weights[members]
                if is_bound:
                    unit, cosine = cosines_within(own[0])
                    order = bound_order(cosine, own[1], bonds, members, single=single)
                    found = _grown(unit, cosine, order)
                else:
                    found = _free_trees(*own, single=single)
                for column, values in zip(_columns(trees), _columns(found), strict=True):
                    column[rows] = values
    return trees


def merge_tree(vectors: Floats, weights: Ints) -> MergeTree:
    """The tree of one cluster.

    Args:
        vectors: float32 (n, d), two or more, none all zeros.
        weights: int64 (n,), how many equal faces a member stands for; they count in heights, not in `mean`.
    """
    trees = _free_trees(vectors[None], weights[None], single=False)
    return MergeTree(*(column[0] for column in _columns(trees)))


def _free_trees(vectors: Floats, weights: Ints, *, single: bool) -> MergeTree:
    """The trees of g clusters of n members each: float32 (g, n, d), int64 (g, n); columns (g, n - 1)."""
    g, n, _ = vectors.shape
    if n == 2:
        # The cosine that decides whether these are a pair, to the last bit.
        cosine = exact_cosine(vectors[:, 0], vectors[:, 1])[:, None]
        zero = np.zeros((g, 1), np.int64)
        return MergeTree(
            zero, zero + 1, cosine, cosine, cosine, np.broadcast_to(np.arange(2), (g, 1, 2)).copy()
        )
    unit, cosine = cosines_within(vectors)
    return _grown(unit, cosine, merger_order(cosine, weights, single=single))


def _grown(unit: Doubles, cosine: Doubles, order: MergerOrder) -> MergeTree:
    """What the mergers of g clusters make of their members, float64 (g, n, d); columns (g, n - 1)."""
    g, n, _ = unit.shape
    every = np.arange(g)
    low, sums = cosine.copy(), unit.copy()
    pair = np.broadcast_to(np.arange(n)[:, None] * n + np.arange(n), (g, n, n)).copy()
    size, node = np.ones((g, n), np.int64), np.broadcast_to(np.arange(n), (g, n)).copy()
    own_low, own_pair = np.full((g, n), np.inf), np.zeros((g, n), np.int64)
    tree = _empty((g, n - 1))
    tree.height[:] = order.height
    for step in range(n - 1):
        a, b = order.keep[:, step], order.gone[:, step]
        tree.left[:, step], tree.right[:, step] = node[every, a], node[every, b]

        lows = np.stack([own_low[every, a], own_low[every, b], low[every, a, b]], axis=1)
        pairs = np.stack([own_pair[every, a], own_pair[every, b], pair[every, a, b]], axis=1)
        choice = lows.argmin(axis=1)
        own_low[every, a], own_pair[every, a] = lows[every, choice], pairs[every, choice]
        sums[every, a] += sums[every, b]
        size[every, a] += size[every, b]
        total, count = sums[every, a], size[every, a]
        tree.lowest[:, step] = own_low[every, a]
        tree.weakest[:, step] = np.stack(np.divmod(own_pair[every, a], n), axis=1)
        tree.mean[:, step] = without_rounding((row_dots(total, total) - count) / (count * (count - 1)))

        # Of the two halves' lowest cosines to a third, the lower stays.
        lower = low[every, b] < low[every, a]
        kept_low = np.where(lower, low[every, b], low[every, a])
        kept_pair = np.where(lower, pair[every, b], pair[every, a])
        low[every, a] = low[every, :, a] = kept_low
        pair[every, a] = pair[every, :, a] = kept_pair
        node[every, a] = n + step
    return tree


def _empty(shape: tuple[int, ...]) -> MergeTree:
    return MergeTree(
        left=np.zeros(shape, np.int64),
        right=np.zeros(shape, np.int64),
        height=np.full(shape, np.nan),
        lowest=np.full(shape, np.nan),
        mean=np.full(shape, np.nan),
        weakest=np.zeros((*shape, 2), np.int64),
    )


def _columns(tree: MergeTree) -> tuple[NDArray[Any], ...]:
    return tree.left, tree.right, tree.height, tree.lowest, tree.mean, tree.weakest
