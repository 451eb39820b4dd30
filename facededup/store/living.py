"""Findings without the faces that are gone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import ClusterTable, Findings, PairBlock, pair_blocks

Rows = NDArray[np.int64]
Marks = NDArray[np.bool_]


def are_living(face_ids: Rows, ids: Rows) -> Marks:
    """Which of some faces are among those left; `ids`, of the latter, is ascending."""
    if not len(ids):
        return np.zeros(len(face_ids), np.bool_)
    rows = np.searchsorted(ids, face_ids)
    rows[rows == len(ids)] = 0
    return np.asarray(ids[rows] == face_ids)


def living_block(block: PairBlock, ids: Rows) -> PairBlock:
    """Those of some pairs both of whose faces are left."""
    living = are_living(block.a, ids) & are_living(block.b, ids)
    if living.all():
        return block
    return PairBlock(block.a[living], block.b[living], block.cosine[living], block.new[living])


def living_pairs(findings: Findings, ids: Rows) -> Iterator[PairBlock]:
    """The pairs both of whose faces are left, in blocks.

    Args:
        findings: As they are stored.
        ids: Of the faces that are left, ascending.
    """
    for block in pair_blocks(findings):
        yield living_block(block, ids)


def living_clusters(clusters: ClusterTable, ids: Rows) -> ClusterTable:
    """The clusters all of whose members are left.

    Args:
        clusters: As they are stored.
        ids: Of the faces that are left, ascending.
    """
    lost = np.bincount(clusters.numbers[~are_living(clusters.members, ids)], minlength=len(clusters))
    return _chosen(clusters, lost == 0, np.ones(len(clusters.members), np.bool_))


def remaining_clusters(clusters: ClusterTable, ids: Rows) -> ClusterTable:
    """The clusters with the members that are left, two or more where one is gone.

    Weakest link and mean stay those of the whole cluster. A medoid that is gone gives way to the first
    member.

    Args:
        clusters: As they are stored.
        ids: Of the faces that are left, ascending.
    """
    living = are_living(clusters.members, ids)
    if living.all():
        return clusters
    sizes = np.bincount(clusters.numbers[living], minlength=len(clusters))
    return _chosen(clusters, (sizes == np.diff(clusters.offsets)) | (sizes > 1), living)


def _chosen(clusters: ClusterTable, kept: Marks, stays: Marks) -> ClusterTable:
    """Some clusters, with some of their members, at least one of each."""
    numbers = clusters.numbers
    stays = stays & kept[numbers]
    sizes = np.bincount(numbers[stays], minlength=len(clusters))[kept]
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    members, medoid = clusters.members[stays], clusters.medoid
    if medoid is not None:
        medoid = np.where(np.isin(medoid[kept], members), medoid[kept], members[offsets[:-1]])
    return ClusterTable(
        key=[key for key, keep in zip(clusters.key, kept.tolist(), strict=True) if keep],
        offsets=offsets,
        members=members,
        min_cosine=clusters.min_cosine[kept],
        new=clusters.new[kept],
        mean_cosine=None if clusters.mean_cosine is None else clusters.mean_cosine[kept],
        medoid=medoid,
        bridge=None if clusters.bridge is None else clusters.bridge[stays],
    )
