"""Two other ways to make clusters of pairs, for comparison: connected components and Chinese whispers."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import PairBlock

Rows = NDArray[np.int64]

WHISPERS = 20
"""Rounds of Chinese whispers at most; it need not come to rest."""


def connected_components(n: int, pairs: Callable[[], Iterator[PairBlock]], cut: float) -> Rows:
    """Joins whatever a chain of pairs leads to.

    Args:
        n: Number of faces.
        pairs: Gives all pairs (rows) in blocks; called again until nothing changes.
        cut: Pairs below it are ignored.

    Returns:
        int64 (n,): the lowest row of each row's cluster.
    """
    labels = np.arange(n)
    changed = True
    while changed:
        changed = False
        for block in pairs():
            kept = block.cosine >= cut
            a, b = labels[block.a[kept]], labels[block.b[kept]]
            apart = a != b
            changed |= bool(apart.any())
            # The higher label's own row points to the lower one; following the pointers joins the two.
            np.minimum.at(labels, np.maximum(a, b)[apart], np.minimum(a, b)[apart])
            labels = _followed(labels)
    return labels


def chinese_whispers(n: int, pairs: Callable[[], Iterator[PairBlock]], cut: float, *, seed: int = 0) -> Rows:
    """Each face takes over the label that its neighbours, weighted by cosine, have most (Biemann 2006).

    All pairs are held in memory, 24 bytes each.

    Args:
        n: Number of faces.
        pairs: Gives all pairs (rows) in blocks, in any order.
        cut: Pairs below it are ignored.
        seed: Of the order in which the faces take their turns.

    Returns:
        int64 (n,): the lowest row of each row's cluster.
    """
    blocks = [
        (block.a[kept], block.b[kept], block.cosine[kept])
        for block in pairs()
        if len(kept := block.cosine >= cut)
    ]
    labels = np.arange(n)
    if not blocks:
        return labels
    a, b, cosine = (np.concatenate(column) for column in zip(*blocks, strict=True))
    ends, others, weights = np.concatenate((a, b)), np.concatenate((b, a)), np.tile(cosine, 2)
    order = np.lexsort((others, ends))
    others, weights = others[order], weights[order]
    starts = np.searchsorted(ends[order], np.arange(n + 1))
    turns = np.flatnonzero(np.diff(starts))
    random = np.random.default_rng(seed)
    for _ in range(WHISPERS):
        changed = 0
        for row in random.permutation(turns).tolist():
            near = slice(starts[row], starts[row + 1])
            heard, which = np.unique(labels[others[near]], return_inverse=True)
            loudest = heard[np.bincount(which, weights[near]).argmax()]
            changed += int(labels[row] != loudest)
            labels[row] = loudest
        if not changed:
            break
    lowest = np.full(n, n)
    np.minimum.at(lowest, labels, np.arange(n))
    return lowest[labels]


def _followed(labels: Rows) -> Rows:
    """Labels of labels, until each names itself."""
    while True:
        above = labels[labels]
        if np.array_equal(above, labels):
            return labels
        labels = above
