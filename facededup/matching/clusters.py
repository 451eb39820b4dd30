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

Greedy agglomeration merges by falling means, and a mean at or above some level needs a pair at or above it.
So where the pairs are too many to be held, levels are worked through from the top: the result at one is
where agglomeration stands when it gets there, and what is held at the next are couples of the clusters left.
When few are left, all couples of them are held at once (`dense_clusters`).

Faces of one image have no pair though their cosine may be high: it counts in the means, but two clusters
with no other pair between them are not merged. Where faces of one image are alike, a merger can so open a way
between clusters whose mean is higher than both its parts had: that is not reducible. Every merger still has a
pair and a mean at or above the cut, but another order of merging may give other clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facededup.matching.constraints import Enemies
from facededup.matching.dense_clusters import merge_densely
from facededup.matching.graph_clusters import connected_components
from facededup.matching.linkage import EQUAL, Clusters, Doubles, Ints
from facededup.store.base import PairBlock
from facededup.types import Floats

MOST_EDGES = 8_000_000
"""Pairs worked with at a time; each takes about 40 bytes."""

FACES_AT_ONCE = 262_144
"""Components of the graph are worked with so many faces at a time; each face takes a kilobyte or so."""

PAIRS_A_FACE = 64
"""More of them on average, and levels pay: means of couples are dear where there are many of them."""

DENSE_CLUSTERS = 10_000
"""So few clusters left after a level are finished at once, with a byte for each couple of them."""

BINS = 10_000
"""Levels to choose from, evenly from the cut to 1."""

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

    Memory: 40 bytes for each of at most `MOST_EDGES` pairs, unless that many couples of clusters are as near
    as that, and float64 sums of `FACES_AT_ONCE` faces or of the largest component.

    Args:
        n: Number of faces.
        pairs: Gives all pairs (rows) in bounded blocks, in any order; called again
            and again.
        vectors: Gives the vectors float32 (k, d), none all zeros, of ascending rows int64 (k,).
        cut: Lowest mean cosine of a merger, but for rounding (`EQUAL`); pairs below it are ignored.
        weights: int64 (n,), how many equal faces a row stands for; 1 each if left out. They count as merged.
        apart: int64 (k, 2), rows that may not share a cluster; None where there are none.

    Returns:
        int64 (n,): the lowest row of each row's cluster; a face alone has its own.
    """
    every = _Pairs(pairs, cut, n)
    if np.count_nonzero(every.paired) <= FACES_AT_ONCE:
        return _link(every, vectors, weights, apart)
    components = connected_components(n, pairs, cut)
    labels = np.arange(n)
    sizes = np.bincount(components[every.paired], minlength=n)
    batch = ((np.cumsum(sizes) - sizes) // FACES_AT_ONCE)[components]
    for number in np.unique(batch[every.paired]).tolist():
        inside = batch == number
        found = _link(_Pairs(partial(_some_pairs, pairs, inside), cut, n), vectors, weights, apart)
        labels[inside] = found[inside]
    return labels


def _some_pairs(pairs: Callable[[], Iterator[PairBlock]], inside: NDArray[np.bool_]) -> Iterator[PairBlock]:
    """The pairs of some components."""
    for block in pairs():
        kept = inside[block.a]
        yield PairBlock(block.a[kept], block.b[kept], block.cosine[kept], block.new[kept])


def _link(
    every: _Pairs,
    vectors: Callable[[Ints], Floats],
    weights: Ints | None,
    apart: Ints | None,
) -> Ints:
    """Average linkage of some pairs, level by level."""
    labels = np.arange(len(every.paired))
    rows = np.flatnonzero(every.paired)
    if len(rows) == 0:
        return labels
    clusters = Clusters.of_faces(rows, vectors, weights)
    place = np.cumsum(every.paired, dtype=np.int32) - np.int32(1)
    if apart is not None and len(apart):
        known = np.isin(apart, rows).all(axis=1)
        clusters.enemies = Enemies(np.searchsorted(rows, apart[known]).tolist())
    level = every.next_level(BINS)
    edges = every.read(level, place)
    if len(clusters.enemies):
        edges = edges.take(clusters.may_merge(edges.u, edges.v))
    while True:
        lowest = every.lowest_mean(level)
        edges = _merge_in_rounds(edges, clusters, lowest)
        if len(edges):
            _merge_by_chains(edges, clusters, lowest)
        if level == 0:
            break
        roots = clusters.resolve(np.arange(len(rows)))
        living = np.unique(roots)
        if len(living) <= DENSE_CLUSTERS:
            number = np.searchsorted(living, roots)[place]
            merge_densely(clusters, living, every.couples(number, len(living)), every.lowest_mean(0))
            break
        level = every.next_level(level)
        edges = every.read_couples(level, roots[place], clusters)
    labels[rows] = clusters.lowest_rows(rows)
    return labels


class _Pairs:
    """All pairs at or above the cut, read again and again; a level is a number of steps above the cut."""

    def __init__(self, pairs: Callable[[], Iterator[PairBlock]], cut: float, n: int) -> None:
        self._pairs = pairs
        self.cut = cut
        self._steps = BINS / max(1.0 - cut, 1e-6)
        self._counts = np.zeros(BINS, np.int64)
        self.paired = np.zeros(n, np.bool_)
        for a, b, _, levels in self._above(0):
            self._counts += np.bincount(levels, minlength=BINS)
            self.paired[a] = True
            self.paired[b] = True
        self._most = min(MOST_EDGES, PAIRS_A_FACE * int(np.count_nonzero(self.paired)))

    def lowest_mean(self, level: int) -> float:
        """That of a merger at a level."""
        return self.cut + level / self._steps - EQUAL

    def next_level(self, above: int) -> int:
        """How far below another level the pairs between the two are few enough to be held."""
        further = self._counts[:above][::-1].cumsum()
        return above - max(1, int(np.searchsorted(further, self._most, side="right")))

    def read(self, level: int, place: NDArray[np.int32]) -> _Edges:
        """Pairs of faces, as their places."""
        total = int(self._counts[level:].sum())
        edges = _Edges(np.empty(total, np.int32), np.empty(total, np.int32), np.empty(total))
        filled = 0
        for a, b, cosine, _ in self._above(level):
            some = slice(filled, filled + len(a))
            edges.u[some], edges.v[some], edges.mean[some] = place[a], place[b], cosine
            filled += len(a)
        return edges

    def read_couples(self, level: int, now: Ints, clusters: Clusters) -> _Edges:
        """Couples of different clusters that have a pair at a level or above, and their means."""
        count = len(clusters.sums)
        held = np.empty(0, np.int64)
        waiting: list[Ints] = []
        for a, b, _, _ in self._above(level):
            u, v = now[a], now[b]
            keys = np.minimum(u, v) * count + np.maximum(u, v)
            waiting.append(_distinct(keys[u != v]))
            if sum(map(len, waiting)) > max(len(held), MOST_EDGES):
                held, waiting = _distinct(np.concatenate([held, *waiting])), []
        held = _distinct(np.concatenate([held, *waiting]))
        return _edges_of(held, clusters, self.lowest_mean(level))

    def couples(self, number: Ints, count: int) -> NDArray[np.bool_]:
        """Which of so many clusters have a pair: bool (count, count), symmetric."""
        near = np.zeros((count, count), np.bool_)
        for a, b, _, _ in self._above(0):
            near[number[a], number[b]] = True
        near |= near.T
        return near

    def _above(self, level: int) -> Iterator[tuple[Ints, Ints, Doubles, Ints]]:
        for block in self._pairs():
            levels = np.minimum((block.cosine - self.cut) * self._steps, BINS - 1).astype(np.int64)
            kept = (block.cosine >= self.cut) & (levels >= level)
            yield block.a[kept], block.b[kept], block.cosine[kept], levels[kept]


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


def _merge_in_rounds(edges: _Edges, clusters: Clusters, cut: float) -> _Edges:
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
    edges: _Edges, keep: NDArray[np.int32], gone: NDArray[np.int32], clusters: Clusters, cut: float
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
    fresh = _edges_of(_distinct(keys[u != v]), clusters, cut)
    rest = edges.take(~touched)
    return _Edges(
        np.concatenate([rest.u, fresh.u]),
        np.concatenate([rest.v, fresh.v]),
        np.concatenate([rest.mean, fresh.mean]),
    )


def _edges_of(keys: Ints, clusters: Clusters, cut: float) -> _Edges:
    """The couples (keys are u * k + v of k clusters) with a mean at or above the cut."""
    count = len(clusters.sums)
    u, v = (keys // count).astype(np.int32), (keys % count).astype(np.int32)
    edges = _Edges(u, v, clusters.means(u, v))
    return edges.take((edges.mean >= cut) & clusters.may_merge(u, v))


def _distinct(numbers: Ints) -> Ints:
    """Ascending, each once; numpy's own `unique` hashes, which takes several times as long as sorting."""
    ordered = np.sort(numbers)
    return ordered[np.diff(ordered, prepend=-1) > 0]


def _merge_by_chains(edges: _Edges, clusters: Clusters, cut: float) -> None:
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
