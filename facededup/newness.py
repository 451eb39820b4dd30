"""Which pairs were not in the findings before."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import Findings
from facededup.store.living import living_pairs

Rows = NDArray[np.int64]


class PairsBefore:
    """The pairs of the findings before, to be asked for by rows of today's faces.

    Complete findings hold every pair of their faces down to their cut, so that nothing has to be looked up;
    of others all pairs are held in memory, 8 bytes each.

    Args:
        before: None for none.
        ids: int64 (n,), today's face ids, ascending.
    """

    def __init__(self, before: Findings | None, ids: Rows) -> None:
        self._ids = ids
        self._known = 0
        self._cut = np.inf
        self._keys = np.empty(0, np.int64)
        if before is None:
            return
        meta = before.meta
        if meta["complete"] and meta.get("min_quality") is None and "next_face_id" in meta:
            self._known, self._cut = int(np.searchsorted(ids, meta["next_face_id"])), meta["cosine_cut"]
        else:
            self._keys = self._read(before)

    def lack(self, a: Rows, b: Rows, cosine: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which pairs of rows a < b were not there."""
        new = (b >= self._known) | (cosine < self._cut)
        if len(self._keys):
            keys = a * len(self._ids) + b
            place = np.searchsorted(self._keys, keys)
            place[place == len(self._keys)] = 0
            new &= self._keys[place] != keys
        return new

    def _read(self, before: Findings) -> Rows:
        """Sorted keys; faces now gone are left out."""
        ids = self._ids
        keys = (
            np.searchsorted(ids, block.a) * len(ids) + np.searchsorted(ids, block.b)
            for block in living_pairs(before, ids)
        )
        return np.sort(np.concatenate([np.empty(0, np.int64), *keys]))
