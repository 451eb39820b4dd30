"""Stored findings as far as they still hold: without the faces that have left the store since."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import ClusterTable, Findings, PairBlock

Rows = NDArray[np.int64]


class CurrentFindings:
    """Findings whose pairs and clusters name only faces that are there. The next `find` makes them anew.

    Args:
        findings: As they are stored.
        face_ids: int64, ascending: the ids of today's faces.
    """

    def __init__(self, findings: Findings, face_ids: Rows) -> None:
        self._findings = findings
        self._face_ids = face_ids
        self._clusters: ClusterTable | None = None

    @property
    def meta(self) -> Mapping[str, Any]:
        """See `Findings.meta`."""
        return self._findings.meta

    @property
    def pair_count(self) -> int:
        """Pairs stored; `pairs` leaves out those of faces that have gone."""
        return self._findings.pair_count

    def pairs(self, start: int, stop: int) -> PairBlock:
        """What still holds of the stored pairs start to stop, as face ids."""
        block = self._findings.pairs(start, stop)
        there = self._are_there(block.a) & self._are_there(block.b)
        if there.all():
            return block
        return PairBlock(block.a[there], block.b[there], block.cosine[there], block.new[there])

    @property
    def clusters(self) -> ClusterTable:
        """The clusters, each without the members that have gone; one with fewer than two left is left out.

        Weakest link and mean stay those of the whole cluster. A medoid that has gone gives way to the first
        member.
        """
        if self._clusters is None:
            table = self._findings.clusters
            there = self._are_there(table.members)
            self._clusters = table if there.all() else _without(table, ~there)
        return self._clusters

    def _are_there(self, ids: Rows) -> NDArray[np.bool_]:
        if not len(self._face_ids):
            return np.zeros(len(ids), np.bool_)
        rows = np.searchsorted(self._face_ids, ids)
        rows[rows == len(self._face_ids)] = 0
        return np.asarray(self._face_ids[rows] == ids)


def _without(table: ClusterTable, gone: NDArray[np.bool_]) -> ClusterTable:
    """The clusters without some members; a cluster that lost one and has fewer than two left goes, too."""
    before = np.diff(table.offsets)
    cluster = np.repeat(np.arange(len(table)), before)
    after = np.bincount(cluster[~gone], minlength=len(table))
    kept = (after == before) | (after > 1)
    stays = ~gone & kept[cluster]
    offsets = np.concatenate(([0], np.cumsum(after[kept]))).astype(np.int64)
    members = table.members[stays]
    medoid = table.medoid
    if medoid is not None:
        medoid = medoid[kept]
        medoid = np.where(np.isin(medoid, members), medoid, members[offsets[:-1]])
    return ClusterTable(
        key=[key for key, stay in zip(table.key, kept.tolist(), strict=True) if stay],
        offsets=offsets,
        members=members,
        min_cosine=table.min_cosine[kept],
        new=table.new[kept],
        mean_cosine=None if table.mean_cosine is None else table.mean_cosine[kept],
        medoid=medoid,
        bridge=None if table.bridge is None else table.bridge[stays],
    )
