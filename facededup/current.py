"""Stored findings as far as they still hold: without the faces that have left the store since."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from facededup.store.base import ClusterTable, Findings, PairBlock
from facededup.store.living import Rows, living_block, remaining_clusters


class CurrentFindings:
    """Findings whose pairs and clusters name only faces that are there. The next `find` makes them anew.

    Args:
        findings: As they are stored.
        face_ids: int64, ascending: the ids of today's faces.
    """

    def __init__(self, findings: Findings, face_ids: Rows) -> None:
        self._findings = findings
        self._face_ids = face_ids

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
        return living_block(self._findings.pairs(start, stop), self._face_ids)

    @cached_property
    def clusters(self) -> ClusterTable:
        """See `remaining_clusters`."""
        return remaining_clusters(self._findings.clusters, self._face_ids)
