"""Average linkage where nearly all clusters are near each other: by vectors, with a bit for each couple.

A chain of nearest neighbours, as in `clusters`, but the means of one cluster to all others are one product of
the sums with its own. Memory is a byte for each couple of clusters, whatever the number of pairs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.matching.linkage import EQUAL, Clusters


def merge_densely(clusters: Clusters, living: NDArray[np.int64], near: NDArray[np.bool_], cut: float) -> None:
    """Merges clusters while the mean is at or above the cut and there is a pair between them.

    Args:
        clusters: All; changed.
        living: int64 (k,), numbers of those that are left.
        near: bool (k, k), symmetric: which of these have a pair; changed.
        cut: Lowest mean cosine of a merger.
    """
    sums, sizes = clusters.sums[living], clusters.sizes[living]
    open_ = np.ones(len(living), np.bool_)
    chain: list[int] = []
    while chain or open_.any():
        if not chain:
            if 2 * np.count_nonzero(open_) < len(open_):
                left = np.flatnonzero(open_)
                living, sums, sizes, near = living[left], sums[left], sizes[left], near[np.ix_(left, left)]
                open_ = np.ones(len(left), np.bool_)
            chain.append(int(open_.argmax()))
        here = chain[-1]
        candidates = near[here] & open_
        if len(clusters.enemies):
            candidates &= clusters.may_merge(living[here : here + 1], living)
        candidates[here] = False
        means = np.where(candidates, sums @ sums[here] / (sizes * sizes[here]), -np.inf)
        nearest = int(means.argmax())
        if means[nearest] < cut:
            # Nothing will ever come nearer: the linkage is reducible.
            open_[here] = False
            chain.pop()
        elif len(chain) > 1 and means[chain[-2]] >= means[nearest] - EQUAL:
            keep = chain[-2]
            del chain[-2:]
            clusters.merge(living[keep : keep + 1], living[here : here + 1])
            sums[keep], sizes[keep] = clusters.sums[living[keep]], clusters.sizes[living[keep]]
            near[keep] |= near[here]
            near[:, keep] |= near[:, here]
            open_[here] = False
        else:
            chain.append(nearest)
