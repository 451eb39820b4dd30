"""What people know of clusters: faces that are one person, and faces that may not share a cluster."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import PairBlock

Rows = NDArray[np.int64]


class Enemies:
    """Which clusters may not be merged, while others are.

    Args:
        apart: Couples of clusters.
    """

    def __init__(self, apart: Iterable[Iterable[int]] = ()) -> None:
        self._of: defaultdict[int, set[int]] = defaultdict(set)
        for a, b in apart:
            self._of[a].add(b)
            self._of[b].add(a)

    def __len__(self) -> int:
        return len(self._of)

    def names(self) -> Rows:
        """The clusters that have any."""
        return np.fromiter(self._of, np.int64, len(self._of))

    def are(self, a: int, b: int) -> bool:
        """Whether two clusters may not be merged."""
        return a in self._of and b in self._of[a]

    def merge(self, keep: int, gone: int) -> None:
        """Notes that one cluster went into another."""
        if gone not in self._of:
            return
        others = self._of.pop(gone)
        for other in others:
            self._of[other].discard(gone)
            self._of[other].add(keep)
        self._of[keep] |= others


def link(count: int, together: Rows, apart: Rows) -> tuple[Rows, int]:
    """Takes links one after the other, each unless it would join two rows that must stay apart.

    Args:
        count: Number of rows.
        together: int64 (m, 2), links between rows, those that matter most first.
        apart: int64 (k, 2), rows that may not be joined.

    Returns:
        int64 (count,), the lowest row that each row is linked with; and how many links were not taken.
    """
    labels = np.arange(count)
    enemies = Enemies(apart.tolist())
    groups: dict[int, list[int]] = {}
    refused = 0
    for a, b in together.tolist():
        keep, gone = sorted((int(labels[a]), int(labels[b])))
        if enemies.are(keep, gone):
            refused += 1
        elif keep != gone:
            enemies.merge(keep, gone)
            members = groups.pop(gone, [gone])
            groups.setdefault(keep, [keep]).extend(members)
            labels[members] = keep
    return labels, refused


def spread(apart: Rows, person: Rows) -> Rows:
    """Rows that may not share a cluster, also through their persons: each of one's with each of the other's.

    Args:
        apart: int64 (k, 2), rows.
        person: int64 (n,), the lowest row of each row's person; no couple of `apart` is one person.

    Returns:
        int64 (l, 2), rows.
    """
    involved = np.unique(person[apart])
    members = defaultdict(list)
    for row in np.flatnonzero(np.isin(person, involved)).tolist():
        members[int(person[row])].append(row)
    couples = {tuple(sorted(couple)) for couple in person[apart].tolist()}
    found = [pair for a, b in sorted(couples) for pair in itertools.product(members[a], members[b])]
    return np.array(found, np.int64).reshape(-1, 2)


def separate(labels: Rows, apart: Rows, pairs: Callable[[], Iterator[PairBlock]]) -> Rows:
    """Takes clusters apart that hold two rows which may not share one; the others are left alone.

    Such a cluster is put together again from its own pairs by falling cosine, each unless it joins what must
    stay apart.

    Args:
        labels: int64 (n,), the lowest row of each row's cluster.
        apart: int64 (k, 2), rows.
        pairs: Gives the pairs (rows) that the clusters were made of, in blocks.

    Returns:
        int64 (n,), likewise.
    """
    a, b = labels[apart].T
    broken = np.isin(labels, a[a == b])
    if not broken.any():
        return labels
    links, cosines = [np.empty((0, 2), np.int64)], [np.empty(0)]
    for block in pairs():
        inside = broken[block.a] & (labels[block.a] == labels[block.b])
        links.append(np.column_stack((block.a[inside], block.b[inside])))
        cosines.append(block.cosine[inside])
    order = np.argsort(-np.concatenate(cosines), kind="stable")
    again, _ = link(len(labels), np.concatenate(links)[order], apart)
    return np.where(broken, again, labels)


def join(labels: Rows, person: Rows, apart: Rows) -> Rows:
    """Joins the clusters that hold faces of one person.

    Where that would bring together what must stay apart, only the person's own faces are joined, and leave
    their clusters.

    Args:
        labels: int64 (n,), the lowest row of each row's cluster, obeying `apart`.
        person: int64 (n,), the lowest row of each row's person.
        apart: int64 (k, 2), as `spread` gives them.

    Returns:
        int64 (n,), the lowest row of each row's cluster.
    """
    rows = np.flatnonzero(np.bincount(person, minlength=len(person))[person] > 1)
    members = defaultdict(list)
    for row in rows.tolist():
        members[int(person[row])].append(row)
    enemies = Enemies(labels[apart].tolist())
    joined: dict[int, int] = {}
    alone = []

    def root(label: int) -> int:
        while label in joined:
            label = joined[label]
        return label

    for own in members.values():
        clusters = sorted({root(int(label)) for label in labels[own]})
        if any(enemies.are(a, b) for a, b in itertools.combinations(clusters, 2)):
            alone.append(own)
            continue
        for gone in clusters[1:]:
            joined[gone] = clusters[0]
            enemies.merge(clusters[0], gone)
    target = np.arange(len(labels))
    for label in joined:
        target[label] = root(label)
    result = target[labels]
    for own in alone:
        result[own] = len(labels) + own[0]
    _, first, which = np.unique(result, return_index=True, return_inverse=True)
    lowest: Rows = first[which]
    return lowest
