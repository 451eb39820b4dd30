"""Average linkage over the graph of pairs: exact, in memory linear in pairs and faces.

The mean cosine between two clusters of unit vectors is sum(A).sum(B) / (|A| |B|): a sum vector a cluster is
all that has to be kept. A mean at or above the cut needs at least one pair at or above it, so only clusters
joined by a stored pair can ever merge, and a mean that has fallen below the cut never has to be looked at
again.

Why reciprocal nearest neighbours may be merged at once. Greedy agglomeration merges the closest two
clusters again and again. The mean between A + B and C lies between the means of A with C and of B with C
(linkages like this are called reducible), so a merger never brings anything closer than both its parts
were. Two clusters that are each other's nearest therefore stay so until greedy agglomeration merges them,
whatever it merges before; so merging all such couples at once, in any order, gives the same tree (Benzecri
1982; Murtagh, "A survey of recent advances in hierarchical clustering algorithms", The Computer Journal 26,
1983). Of equal means any may go first.

Where some faces must stay apart, the linkage between two clusters that hold such a couple is minus infinity,
and so it stays whatever they merge with: still reducible, and all of this holds.

Faces of one image have no pair though their cosine may be high: it counts in the means, but two clusters
with no other pair between them are not merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.constraints import Enemies
from facededup.matching.flat import row_dots
from facededup.store.base import PairBlock
from facededup.types import Floats

Ints = NDArray[np.int64]
Doubles = NDArray[np.float64]

READ_ROWS = 65_536
CHUNK = 1 << 18
"""Coordinates of float64 multiplied at a time: 2 MiB an array, which stays in the cache."""

PAIRS_PER_MERGE = 2_000
"""A round looks at every pair left; with fewer than one merger in so many, walking the graph is faster."""


def average_linkage(
    n: int,
    pairs: Callable[[], Iterator[PairBlock]],
    vectors: Callable[[NDArray[np.int64]], Floats],
    cut: float,
    *,
    weights: NDArray[np.int64] | None = None,
    apart: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """Clusters faces by average linkage, merging while the mean cosine is at least the cut.

    Memory: about 40 bytes a pair while the first round runs (16 of them kept), and float64 sums of the faces
    that are in a pair.

    Args:
        n: Number of faces.
        pairs: Gives all pairs (rows) in bounded blocks, in any order; called twice.
        vectors: Gives the vectors float32 (k, d), none all zeros, of ascending rows int64 (k,).
        cut: Lowest mean cosine of a merger; pairs below it are ignored.
        weights: int64 (n,), how many equal faces a row stands for; 1 each if left out. They count as merged.
        apart: int64 (k, 2), rows that may not share a cluster; None where there are none.

    Returns:
        int64 (n,): the lowest row of each row's cluster; a face alone has its own.
    """
    labels = np.arange(n)
    paired = np.zeros(n, np.bool_)
    total = 0
    for block in pairs():
        kept = block.cosine >= cut
        paired[block.a[kept]] = True
        paired[block.b[kept]] = True
        total += int(np.count_nonzero(kept))
    if total == 0:
        return labels
    rows = np.flatnonzero(paired)
    edges = _read_edges(pairs, cut, rows, total)
    clusters = _Clusters.of_faces(rows, vectors, weights)
    if apart is not None and len(apart):
        known = np.isin(apart, rows).all(axis=1)
        clusters.enemies = Enemies(np.searchsorted(rows, apart[known]).tolist())
        edges = edges.take(clusters.may_merge(edges.u, edges.v))
    edges = _merge_in_rounds(edges, clusters, cut)
    if len(edges):
        _merge_by_chains(edges, clusters, cut)
    labels[rows] = clusters.lowest_rows(rows)
    return labels


@dataclass(slots=True, eq=False)
class _Edges:
    """Pairs of clusters: int32 numbers u < v and their float64 mean cosines, at or above the cut."""

    u: NDArray[np.int32]
    v: NDArray[np.int32]
    mean: Doubles

    def __len__(self) -> int:
        return len(self.u)

    def take(self, which: NDArray[np.bool_]) -> _Edges:
        return _Edges(self.u[which], self.v[which], self.mean[which])


class _Clusters:
    """Sums, sizes and parents of clusters numbered 0 to k - 1; a merged one points to what took it in."""

    def __init__(self, sums: Doubles, sizes: Doubles) -> None:
        self.sums = sums
        self.sizes = sizes
        self.parent = np.arange(len(sums))
        self.enemies = Enemies()

    @classmethod
    def of_faces(cls, rows: Ints, vectors: Callable[[Ints], Floats], weights: Ints | None) -> _Clusters:
        """One cluster a face."""
        sizes = np.ones(len(rows)) if weights is None else weights[rows].astype(np.float64)
        sums: Doubles | None = None
        for start in range(0, len(rows), READ_ROWS):
            some = slice(start, start + READ_ROWS)
            read = _normalised(vectors(rows[some])) * sizes[some, None]
            if sums is None:
                sums = np.empty((len(rows), read.shape[1]))
            sums[some] = read
        assert sums is not None
        return cls(sums, sizes)

    def means(self, u: NDArray[np.integer], v: NDArray[np.integer]) -> Doubles:
        """Mean cosines between clusters, the same with `u` and `v` exchanged; `u` may be one for all `v`."""
        result = np.empty(len(v))
        step = max(1, CHUNK // self.sums.shape[1])
        for start in range(0, len(v), step):
            left, right = u if len(u) == 1 else u[start : start + step], v[start : start + step]
            dots = row_dots(self.sums[left], self.sums[right])
            result[start : start + step] = dots / (self.sizes[left] * self.sizes[right])
        return result

    def merge(self, keep: NDArray[np.integer], gone: NDArray[np.integer]) -> None:
        """Puts each cluster of `gone` into the one of `keep`; no cluster occurs twice."""
        self.sums[keep] += self.sums[gone]
        self.sizes[keep] += self.sizes[gone]
        self.parent[gone] = keep
        if len(self.enemies):
            for into, taken in zip(keep.tolist(), gone.tolist(), strict=True):
                self.enemies.merge(into, taken)

    def may_merge(self, u: NDArray[np.integer], v: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Which clusters nothing keeps apart; `u` may be one for all `v`."""
        allowed = np.ones(len(v), np.bool_)
        if len(self.enemies):
            names = self.enemies.names()
            asked = np.flatnonzero(np.isin(u, names) & np.isin(v, names))
            left, right = np.broadcast_to(u, v.shape)[asked].tolist(), v[asked].tolist()
            allowed[asked] = [not self.enemies.are(a, b) for a, b in zip(left, right, strict=True)]
        return allowed

    def resolve(self, clusters: Ints) -> Ints:
        """The living clusters that have taken these in."""
        while True:
            above = self.parent[clusters]
            if np.array_equal(above, clusters):
                return clusters
            clusters = above

    def lowest_rows(self, rows: Ints) -> Ints:
        """The lowest row of each face's cluster."""
        roots = self.resolve(np.arange(len(rows)))
        lowest = np.full(len(rows), np.iinfo(np.int64).max)
        np.minimum.at(lowest, roots, rows)
        return lowest[roots]


def _normalised(vectors: Floats) -> Doubles:
    wide = vectors.astype(np.float64)
    wide /= np.sqrt(row_dots(wide, wide))[:, None]
    return wide


def _read_edges(pairs: Callable[[], Iterator[PairBlock]], cut: float, rows: Ints, total: int) -> _Edges:
    """All pairs at or above the cut, between positions in `rows`."""
    edges = _Edges(np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total))
    filled = 0
    for block in pairs():
        kept = block.cosine >= cut
        end = filled + int(np.count_nonzero(kept))
        edges.u[filled:end] = np.searchsorted(rows, block.a[kept])
        edges.v[filled:end] = np.searchsorted(rows, block.b[kept])
        edges.mean[filled:end] = block.cosine[kept]
        filled = end
    return edges


def _merge_in_rounds(edges: _Edges, clusters: _Clusters, cut: float) -> _Edges:
    """Merges all reciprocal nearest neighbours at once, again and again, while a round merges many.

    Returns:
        The edges still left.
    """
    count = len(clusters.sums)
    while len(edges):
        best = np.full(count, -np.inf)
        np.maximum.at(best, edges.u, edges.mean)
        np.maximum.at(best, edges.v, edges.mean)
        mutual = np.flatnonzero((edges.mean == best[edges.u]) & (edges.mean == best[edges.v]))
        keep, gone = _without_ties(edges.u[mutual], edges.v[mutual], count)
        clusters.merge(keep, gone)
        edges = _contract(edges, keep, gone, clusters, cut)
        if len(edges) > PAIRS_PER_MERGE * len(keep):
            break
    return edges


def _without_ties(
    u: NDArray[np.int32], v: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Of edges that share a cluster, being equally near, keeps the first in a fixed scrambled order.

    Scrambled, for in the natural order all of a hundred equal faces would wait for the first one.
    """
    order = (u.astype(np.uint64) << np.uint64(32)) | v.astype(np.uint64)
    order = (order ^ (order >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    order ^= order >> np.uint64(32)
    order *= np.uint64(0x94D049BB133111EB)  # odd factors and shifts: a bijection, so no two edges are equal
    first = np.full(count, np.iinfo(np.uint64).max)
    np.minimum.at(first, u, order)
    np.minimum.at(first, v, order)
    chosen = (order == first[u]) & (order == first[v])
    # A pair given twice would be chosen twice.
    _, once = np.unique(u[chosen], return_index=True)
    return u[chosen][once], v[chosen][once]


def _contract(
    edges: _Edges, keep: NDArray[np.int32], gone: NDArray[np.int32], clusters: _Clusters, cut: float
) -> _Edges:
    """The edges between the clusters after a merger: one a couple, without those now below the cut."""
    count = len(clusters.sums)
    target = np.arange(count, dtype=np.int32)
    target[gone] = keep
    merged = np.zeros(count, np.bool_)
    merged[keep] = merged[gone] = True
    touched = merged[edges.u] | merged[edges.v]
    u, v = target[edges.u[touched]], target[edges.v[touched]]
    keys = np.minimum(u, v).astype(np.int64) * count + np.maximum(u, v)
    keys = _distinct(keys[u != v])
    u, v = (keys // count).astype(np.int32), (keys % count).astype(np.int32)
    fresh = _Edges(u, v, clusters.means(u, v))
    fresh = fresh.take((fresh.mean >= cut) & clusters.may_merge(u, v))
    rest = edges.take(~touched)
    return _Edges(
        np.concatenate([rest.u, fresh.u]),
        np.concatenate([rest.v, fresh.v]),
        np.concatenate([rest.mean, fresh.mean]),
    )


def _distinct(numbers: Ints) -> Ints:
    """Ascending, each once; numpy's own `unique` hashes, which takes several times as long as sorting."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _merge_by_chains(edges: _Edges, clusters: _Clusters, cut: float) -> None:
    """Finishes the mergers one by one: walks from neighbour to nearest neighbour until two are reciprocal.

    The means along such a chain rise, so it ends; what is left of it after a merger stays valid, because the
    linkage is reducible. The cost is that of the neighbourhoods walked through, not of all edges.
    """
    neighbours = _neighbours(edges)
    starts = list(neighbours)
    chain: list[int] = []
    while starts or chain:
        if not chain:
            chain.append(starts.pop())
        here = chain[-1]
        if clusters.parent[here] != here:  # taken in by another since
            chain.pop()
            continue
        near = _distinct(clusters.resolve(neighbours[here]))
        near = near[near != here]
        means = clusters.means(np.array([here]), near)
        allowed = (means >= cut) & clusters.may_merge(np.array([here]), near)
        near, means = near[allowed], means[allowed]
        neighbours[here] = near
        if len(near) == 0:
            chain.pop()
            continue
        nearest = means.argmax()
        previous = np.flatnonzero(near == chain[-2]) if len(chain) > 1 else near[:0]
        if len(previous) and means[previous[0]] == means[nearest]:
            chain.pop()
            chain.pop()
            other = int(near[previous[0]])
            keep, gone = (here, other) if len(near) >= len(neighbours[other]) else (other, here)
            clusters.merge(np.array([keep]), np.array([gone]))
            neighbours[keep] = np.concatenate([neighbours[keep], neighbours.pop(gone)])
            starts.append(keep)
        else:
            chain.append(int(near[nearest]))
            # Neighbourhoods shrink independently; the next must see the one before for the means to rise.
            neighbours[chain[-1]] = np.append(neighbours[chain[-1]], here)


def _neighbours(edges: _Edges) -> dict[int, Ints]:
    """The clusters next to each cluster."""
    ends = np.concatenate([edges.u, edges.v])
    others = np.concatenate([edges.v, edges.u]).astype(np.int64)
    order = np.argsort(ends, kind="stable")
    names, starts = np.unique(ends[order], return_index=True)
    return dict(zip(names.tolist(), np.split(others[order], starts[1:]), strict=True))
