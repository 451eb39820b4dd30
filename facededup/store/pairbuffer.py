"""Pairs gathered until there are enough to be written at once."""

from __future__ import annotations

import numpy as np

from facededup.store.base import PairBlock

_COLUMNS = ("a", "b", "cosine", "new")


class PairBuffer:
    """Pairs in the order they came."""

    def __init__(self) -> None:
        self._blocks: list[PairBlock] = []
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, block: PairBlock) -> None:
        """Puts pairs behind the others."""
        self._blocks.append(block)
        self._count += len(block)

    def peek(self) -> PairBlock:
        """All pairs, which stay; there is at least one."""
        block = PairBlock(
            *(np.concatenate([getattr(each, name) for each in self._blocks]) for name in _COLUMNS)
        )
        self._blocks = [block]
        return block

    def take(self, count: int | None = None) -> PairBlock:
        """The first pairs, all by default; there is at least one."""
        block, self._blocks, self._count = self.peek(), [], 0
        if count is not None:
            self.add(_part(block, slice(count, None)))
            block = _part(block, slice(count))
        return block


def _part(block: PairBlock, part: slice) -> PairBlock:
    return PairBlock(block.a[part], block.b[part], block.cosine[part], block.new[part])
