"""Which couples average or single linkage merges one after the other, in many small clusters at once.

Faces of one image are no pair, and two clusters merge only if there is a pair at or above the cut between
them, however high their mean; what must stay apart never merges. See `clusters`, which finds the clusters
themselves, and `graph_clusters`: connected components are single linkage.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.constraints import Enemies

Doubles = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

NO_PAIRS = -1
"""Source of a member that is in no pair at all."""


@dataclass(frozen=True, slots=True, eq=False)
class Bonds:
    """What is known of k members of clusters besides their vectors.

    Attributes:
        source: int64 (k,), equal numbers for members that are no pair, as they are in one image.
        together: int64 (k,), equal numbers for members that are joined however unlike they are.
        apart: int64 (p, 2), couples of members that may not share a cluster.
    """

    source: Ints
    together: Ints
    apart: Ints

    def matter(self, offsets: Ints) -> Bools:
        """In which of the clusters (cluster c has the members offsets[c] to offsets[c + 1]) they do."""
        number = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
        found = np.zeros(len(offsets) - 1, np.bool_)
        found[number[self.source == NO_PAIRS]] = True
        for values in (self.source, self.together):
            order = np.lexsort((values, number))
            again = (np.diff(values[order]) == 0) & (np.diff(number[order]) == 0)
            found[number[order[1:]][again]] = True
        found[number[self.apart].ravel()] = True
        return found

    def between(self, start: int, stop: int) -> Bonds:
        """Of some members, numbered anew from 0."""
        inside = ((self.apart >= start) & (self.apart < stop)).all(axis=1)
        return Bonds(self.source[start:stop], self.together[start:stop], self.apart[inside] - start)

    def couples_apart(self, members: Ints) -> Bools:
        """Which couples may not share a cluster, bool (g, n, n), of members int64 (g, n), ascending."""
        g, n = members.shape
        row = np.searchsorted(members[:, 0], self.apart, side="right") - 1
        place = self.apart - members[row, 0]
        known = ((row >= 0) & (place < n)).all(axis=1) & (row[:, 0] == row[:, 1])
        found = np.zeros((g, n, n), np.bool_)
        row, first, second = row[known, 0], place[known, 0], place[known, 1]
        found[row, first, second] = found[row, second, first] = True
        return found


@dataclass(frozen=True, slots=True, eq=False)
class MergerOrder:
    """The n - 1 mergers of g clusters of n members, by falling height; a merged part is named by a member.

    Attributes:
        keep: int64 (g, n - 1), a member.
        gone: int64 (g, n - 1), the member whose part goes into that of `keep`, and is not named again.
        height: float64 (g, n - 1), mean cosine between the two, or the highest of a pair if that is lower
            (by single linkage: that one).
    """

    keep: Ints
    gone: Ints
    height: Doubles


def merger_order(
    cosine: Doubles,
    weights: Ints,
    *,
    single: bool = False,
    paired: Bools | None = None,
    apart: Bools | None = None,
) -> MergerOrder:
    """Merges the closest two again and again, in each of g clusters.

    Args:
        cosine: float64 (g, n, n), symmetric.
        weights: int64 (g, n), how many equal faces a member stands for.
        single: Close by the highest cosine of a pair (single linkage), not by the mean of all.
        paired: bool (g, n, n), symmetric, which couples can be a pair; None for all.
        apart: bool (g, n, n), symmetric, which may not share a cluster; None for none.

    Returns:
        The mergers. Where nothing can be merged any more the height is minus infinity, and the members that
        are named mean nothing.
    """
    g, n = weights.shape
    every = np.arange(g)
    mean, weight = cosine.copy(), weights.astype(np.float64)
    two = ~np.eye(n, dtype=np.bool_)
    in_pair = two if paired is None else paired & two
    top = np.where(in_pair, cosine, -np.inf)  # highest cosine of a pair between two parts
    far = np.zeros((g, n, n), np.bool_) if apart is None else apart.copy()
    # A merger needs a pair, too, at or above the cut.
    link = np.where(far, -np.inf, top if single else np.minimum(mean, top))
    nearest = link.argmax(axis=2)
    order = MergerOrder(np.empty((g, n - 1), np.int64), np.empty((g, n - 1), np.int64), np.empty((g, n - 1)))
    for step in range(n - 1):
        best = np.take_along_axis(link, nearest[:, :, None], axis=2)[:, :, 0]
        a = best.argmax(axis=1)
        b = nearest[every, a]
        order.keep[:, step], order.gone[:, step], order.height[:, step] = a, b, best[every, a]

        own, other = weight[every, a, None], weight[every, b, None]
        mean_now = (mean[every, a] * own + mean[every, b] * other) / (own + other)
        top_now = np.maximum(top[every, a], top[every, b])
        far_now = far[every, a] | far[every, b]
        top_now[every, a] = top_now[every, b] = -np.inf
        weight[every, a] += weight[every, b]
        mean[every, a] = mean[every, :, a] = mean_now
        top[every, a] = top[every, :, a] = top_now
        far[every, a] = far[every, :, a] = far_now
        link_now = np.where(far_now, -np.inf, top_now if single else np.minimum(mean_now, top_now))
        link[every, a] = link[every, :, a] = link_now
        top[every, b] = top[every, :, b] = link[every, b] = link[every, :, b] = -np.inf

        stale = (nearest == a[:, None]) | (nearest == b[:, None])
        stale[every, a] = True
        group, row = np.nonzero(stale)
        nearest[group, row] = link[group, row].argmax(axis=1)
    return order


def bound_order(
    cosine: Doubles, weights: Ints, bonds: Bonds, members: Ints, *, single: bool = False
) -> MergerOrder:
    """Merges the members of g clusters as far as bonds allow, those held together first.

    Groups are those of the linkage, joined where they hold members that are together: so `find` makes
    clusters. What is together has height infinity, what nothing but the cluster itself joins minus infinity.

    Args:
        cosine: float64 (g, n, n), symmetric.
        weights: int64 (g, n), how many equal faces a member stands for.
        bonds: Of these members, and others.
        members: int64 (g, n), their numbers there, ascending.
        single: As `merger_order` takes it.
    """
    source, together = bonds.source[members], bonds.together[members]
    paired = (source[:, :, None] != source[:, None]) & (source != NO_PAIRS)[:, None]
    paired &= paired.transpose(0, 2, 1)
    apart = bonds.couples_apart(members)
    order = merger_order(cosine, weights, single=single, paired=paired, apart=apart)
    for row in range(len(members)):
        wanted = _tied(together[row].tolist())
        wanted += zip(
            order.keep[row].tolist(), order.gone[row].tolist(), order.height[row].tolist(), strict=True
        )
        taken = _obeying(wanted, members.shape[1], np.argwhere(apart[row]).tolist())
        order.keep[row], order.gone[row], order.height[row] = zip(*taken, strict=True)
    return order


def _tied(together: list[int]) -> list[tuple[int, int, float]]:
    """Each member with the first one that it is held together with."""
    first: dict[int, int] = {}
    leads = [first.setdefault(name, member) for member, name in enumerate(together)]
    return [(lead, member, np.inf) for member, lead in enumerate(leads) if lead != member]


def _obeying(
    wanted: list[tuple[int, int, float]], n: int, apart: list[list[int]]
) -> list[tuple[int, int, float]]:
    """The mergers that join something and nothing that must stay apart; in the end all into one."""
    root = list(range(n))
    enemies = Enemies(apart)
    taken = []

    def find(member: int) -> int:
        while root[member] != member:
            root[member] = root[root[member]]
            member = root[member]
        return member

    for a, b, height in wanted:
        if height == -np.inf:
            break
        keep, gone = find(a), find(b)
        if keep != gone and not enemies.are(keep, gone):
            enemies.merge(keep, gone)
            root[gone] = keep
            taken.append((keep, gone, height))
    left = [member for member in range(n) if root[member] == member]
    return taken + [(left[0], member, -np.inf) for member in left[1:]]
