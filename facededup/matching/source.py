"""What a search reads: vectors in rows, block by block."""

from __future__ import annotations

from typing import Protocol

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
