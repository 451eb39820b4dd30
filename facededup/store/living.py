"""Findings without the faces that are gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import ClusterTable, Findings, PairBlock

_PAIRS = 1 << 20


def living_pairs(findings: Findings, ids: NDArray[np.int64]) -> Iterator[PairBlock]:
    """The pairs both of whose faces are left, in blocks.

    Args:
        findings: As they are stored.
        ids: Of the faces that are left.
    """
    for start in range(0, findings.pair_count, _PAIRS):
        block = findings.pairs(start, min(start + _PAIRS, findings.pair_count))
        living = np.isin(block.a, ids) & np.isin(block.b, ids)
        yield PairBlock(block.a[living], block.b[living], block.cosine[living], block.new[living])


def living_clusters(clusters: ClusterTable, ids: NDArray[np.int64]) -> ClusterTable:
    """The clusters all of whose members are left.

    Args:
        clusters: As they are stored.
        ids: Of the faces that are left.
    """
    sizes = np.diff(clusters.offsets)
    number = np.repeat(np.arange(len(clusters)), sizes)
    whole = np.bincount(number[np.isin(clusters.members, ids)], minlength=len(clusters)) == sizes
    return ClusterTable(
        key=[key for key, kept in zip(clusters.key, whole.tolist(), strict=True) if kept],
        offsets=np.concatenate([[0], np.cumsum(sizes[whole])]).astype(np.int64),
        members=clusters.members[whole[number]],
        min_cosine=clusters.min_cosine[whole],
        new=clusters.new[whole],
        mean_cosine=None if clusters.mean_cosine is None else clusters.mean_cosine[whole],
        medoid=None if clusters.medoid is None else clusters.medoid[whole],
        bridge=None if clusters.bridge is None else clusters.bridge[whole[number]],
    )
