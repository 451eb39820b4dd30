"""Range search on indexes that only know nearest neighbours, as FAISS's on a GPU; no pair is lost.

A query is asked for a few neighbours. Where the last of them is still within the range there may be more: it
is asked again for more, and beyond what the index can give (2,048 on a GPU) the CPU searches by range.
FAISS's own emulation (`faiss.contrib.exhaustive_search.range_search_gpu`) works alike, with one step.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.devices import is_out_of_memory
from facededup.matching.flat import range_search
from facededup.matching.selfjoin import MARGIN
from facededup.matching.tiles import Candidates, device_cut
from facededup.types import Floats

FIRST_NEIGHBOURS = 16
GROWTH = 8
MOST_NEIGHBOURS = 2048
"""As many as FAISS gives on a GPU."""

RESULTS_AT_ONCE = 1 << 24
"""Neighbours asked for in one call; each takes 12 bytes."""

RANGE_QUERIES = 256
"""Queries with very many neighbours searched by range at once."""


class NearestIndex(Protocol):
    """An index of vectors."""

    def search(self, x: Floats, k: int, /) -> tuple[Floats, NDArray[np.int64]]:
        """Inner products float32 (m, k), falling, and rows int64 (m, k) of the k nearest."""


class NearestSearch:
    """A `TileSearch` over an index of nearest neighbours.

    Where an index does not fit into the memory of the device, one is made of each half, and so it goes on.

    Args:
        make_index: Makes the index of a base, float32 (n, d).
        device: Its name.
        facts: Plain values for the findings.
        half: It rounds vectors to float16.
        first: Neighbours asked for at first.
        most: The most it can give.
    """

    def __init__(
        self,
        make_index: Callable[[Floats], NearestIndex],
        *,
        device: str,
        facts: dict[str, Any],
        half: bool = False,
        first: int = FIRST_NEIGHBOURS,
        most: int = MOST_NEIGHBOURS,
    ) -> None:
        self._make_index = make_index
        self.device = device
        self._facts = facts
        self._half = half
        self._rows = sys.maxsize
        self._first = first
        self._most = most
        self.overflowed = 0

    @property
    def facts(self) -> dict[str, Any]:
        """As given, with the number of queries that were handed to the CPU."""
        return {**self._facts, "queries_on_cpu": self.overflowed}

    def candidates(
        self, queries: Floats, base: Floats, cut: float, *, diagonal: bool
    ) -> Iterator[Candidates]:
        """See `TileSearch.candidates`."""
        begin = 0
        while begin < len(base):
            section = base[begin : begin + self._rows]
            try:
                found = list(self._search(queries, section, cut))
            except (RuntimeError, MemoryError) as exc:
                if not is_out_of_memory(exc) or len(section) == 1:
                    raise
                self._rows = -(-len(section) // 2)
                continue
            for i, j in found:
                yield _wanted(i, j + begin, diagonal=diagonal)
            begin += len(section)

    def _search(self, queries: Floats, base: Floats, cut: float) -> Iterator[Candidates]:
        """All candidates between the queries and one index."""
        least = device_cut(cut, base.shape[1], half=self._half)
        index, waiting, k = self._make_index(base), np.arange(len(queries)), self._first
        while len(waiting):
            k = min(k, self._most, len(base))
            full = []
            step = max(1, RESULTS_AT_ONCE // k)
            for start in range(0, len(waiting), step):
                some = waiting[start : start + step]
                cosines, rows = index.search(queries[some], k)
                within = cosines >= least
                # All k within the range, and not all there are: the next ones may be, too.
                more = within[:, -1].copy() if k < len(base) else np.zeros(len(some), np.bool_)
                within[more] = False
                i, place = np.nonzero(within)
                yield some[i], rows[i, place]
                full.append(some[more])
            waiting = np.concatenate(full)
            if k >= min(self._most, len(base)):
                break
            k *= GROWTH
        self.overflowed += len(waiting)
        for start in range(0, len(waiting), RANGE_QUERIES):
            some = waiting[start : start + RANGE_QUERIES]
            i, j, _ = range_search(queries[some], base, cut - 2 * MARGIN)
            yield some[i], j


def _wanted(i: NDArray[np.int64], j: NDArray[np.int64], *, diagonal: bool) -> Candidates:
    upper = i < j if diagonal else slice(None)
    return i[upper], j[upper]
