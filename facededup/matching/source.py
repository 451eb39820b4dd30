"""What a search reads: vectors in rows, block by block."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import Snapshot
from facededup.types import Floats


class VectorSource(Protocol):
    """Vectors that are read block by block: float32, L2-normalised to 1 within 1e-6, no NaN."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""

    def __len__(self) -> int: ...

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop, float32 (stop - start, dimension)."""


class InMemory:
    """An array as a source."""

    def __init__(self, vectors: Floats) -> None:
        self._vectors = vectors
        self.dimension = vectors.shape[1]

    def __len__(self) -> int:
        return len(self._vectors)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop."""
        return self._vectors[start:stop]


class Stacked:
    """The rows of one source, then those of another, as one; no read may cross from one into the other."""

    def __init__(self, first: VectorSource, rest: VectorSource) -> None:
        self._first = first
        self._rest = rest
        self.dimension = rest.dimension

    def __len__(self) -> int:
        return len(self._first) + len(self._rest)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop, of the one or of the other."""
        count = len(self._first)
        return (
            self._first.rows(start, stop) if start < count else self._rest.rows(start - count, stop - count)
        )


def gather(source: VectorSource, rows: NDArray[np.int64], block: int = 65_536) -> Floats:
    """Some rows of a source, which is read block by block, and only where there is one of them.

    Args:
        source: n vectors.
        rows: int64 (k,), ascending.
        block: Rows read at a time.

    Returns:
        float32 (k, dimension).
    """
    found = np.empty((len(rows), source.dimension), np.float32)
    for start in range(0, len(source), block):
        stop = min(start + block, len(source))
        low, high = np.searchsorted(rows, (start, stop))
        if high > low:
            found[low:high] = source.rows(start, stop)[rows[low:high] - start]
    return found


class StoredVectors:
    """The embeddings of a snapshot, as the self-join reads them."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.dimension = snapshot.fingerprint.dimension

    def __len__(self) -> int:
        return len(self._snapshot.faces)

    def rows(self, start: int, stop: int) -> Floats:
        """Rows start to stop."""
        return self._snapshot.embeddings(start, stop)

    def gather(self, rows: NDArray[np.int64]) -> Floats:
        """Some rows, given in ascending order."""
        return gather(self, rows)
