"""Which files are known already: unchanged, moved, copied, or the same bytes as an image out of reach.

Identity is the SHA-256 of a file's bytes. The same content at a new path while the old file is gone is a
move; while the old file exists, it is a copy; while the old file's folder cannot be reached (an unmounted
disk), it is neither, and stays unresolved until a later run can tell.
"""

from __future__ import annotations

import os
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from facededup.images.walk import find_mount
from facededup.store.base import ImageRecord, ImageTable
from facededup.types import FileStat, Outcome
from facededup.workers.steps import digest_prefix


class Relation(Enum):
    """How a file with known bytes relates to the images that had them before."""

    SAME = "same"
    MOVED = "moved"
    COPY = "copy"
    UNRESOLVED = "unresolved"


@dataclass(frozen=True, slots=True)
class Twin:
    """What is known about the content of a file.

    Attributes:
        relation: To the images known before.
        outcome: The content's.
        reason: The content's.
        width: In pixels.
        height: In pixels.
        phash: Its perceptual hash, 0 where unknown.
        old_path: For a move, where the image was.
    """

    relation: Relation
    outcome: Outcome
    reason: str
    width: int
    height: int
    phash: int
    old_path: bytes = b""


@dataclass(slots=True)
class _Holders:
    """The images that had one content before this run."""

    row: int
    gone: deque[int] = field(default_factory=deque)
    unreachable: dict[int, int] = field(default_factory=dict)
    """Row by inode: a rename keeps the inode, so the file itself can prove the move."""
    present: bool = False


class KnownImages:
    """The images of a store as one run finds them, and those the run adds."""

    def __init__(self, table: ImageTable) -> None:
        """Reads the table; nothing is asked of the file system yet."""
        self._table = table
        self._row_of = {path: row for row, path in enumerate(table.path)}
        settled = ~table.retry & table.digest.any(axis=1)
        self._rows = np.flatnonzero(settled)
        prefixes = digest_prefixes(table.digest[self._rows])
        order = np.argsort(prefixes, kind="stable")
        self._rows = self._rows[order]
        self.prefixes: NDArray[np.uint64] = prefixes[order]
        self._holders: dict[bytes, _Holders] = {}
        self._added: dict[bytes, ImageRecord] = {}
        self._reachable: dict[int, bool] = {}

    def __contains__(self, path: bytes) -> bool:
        return path in self._row_of

    def tags(self, path: bytes) -> str:
        """What a manifest said before of the image at a path, "" for nothing or no such image."""
        row = self._row_of.get(path)
        return "" if row is None else self._table.tags[row]

    def record(self, path: bytes) -> ImageRecord:
        """The image at a path, which is known, as it would go into the store again."""
        return self._table.record(self._row_of[path])

    def has(self, digest: bytes) -> bool:
        """Whether the content is known, from before or from this run."""
        return digest in self._added or self._find_holders(digest) is not None

    def is_settled(self, path: bytes, stat: FileStat) -> bool:
        """Whether the image at a path needs no second look: known, unchanged, and not to be tried again."""
        row = self._row_of.get(path)
        if row is None:
            return False
        table = self._table
        return bool(
            table.size[row] == stat.size
            and table.mtime_ns[row] == stat.mtime_ns
            and table.ctime_ns[row] == stat.ctime_ns
            and not table.retry[row]
            and not table.unresolved[row]
        )

    def is_gone(self, row: int) -> bool:
        """Whether the file of an image was deleted, as far as can be told."""
        return not os.path.lexists(self._table.path[row]) and self._is_reachable(row)

    def add(self, record: ImageRecord) -> None:
        """Notes an image this run has analysed, so that its copies are recognised."""
        if record.digest and not record.retry:
            self._added.setdefault(record.digest, record)

    def twin(self, path: bytes, stat: FileStat, digest: bytes) -> Twin | None:
        """What is known of the content of a file, None if nothing.

        A move is claimed once: a second file with the same bytes is a copy of the first.
        """
        added = self._added.get(digest)
        if added is not None:
            relation = Relation.SAME if added.path == path else Relation.COPY
            return Twin(relation, added.outcome, added.reason, added.width, added.height, added.phash)
        holders = self._find_holders(digest)
        if holders is None:
            return None
        own = self._row_of.get(path)
        if own is not None and self._digest(own) == digest and not self._table.unresolved[own]:
            return self._twin(own, Relation.SAME)
        if stat.inode in holders.unreachable:
            return self._claim(holders.unreachable.pop(stat.inode), holders)
        while holders.gone:
            row = holders.gone.popleft()
            if row != own:
                return self._claim(row, holders)
        if holders.present:
            return self._twin(holders.row, Relation.COPY)
        return self._twin(holders.row, Relation.UNRESOLVED if holders.unreachable else Relation.SAME)

    def _claim(self, row: int, holders: _Holders) -> Twin:
        holders.present = True
        return self._twin(row, Relation.MOVED)

    def _twin(self, row: int, relation: Relation) -> Twin:
        table = self._table
        return Twin(
            relation,
            Outcome(int(table.outcome[row])),
            table.reason[row],
            int(table.width[row]),
            int(table.height[row]),
            int(table.phash[row]),
            table.path[row] if relation is Relation.MOVED else b"",
        )

    def _digest(self, row: int) -> bytes:
        return bytes(self._table.digest[row])

    def _find_holders(self, digest: bytes) -> _Holders | None:
        if digest in self._holders:
            return self._holders[digest]
        prefix = np.uint64(digest_prefix(digest))
        start, stop = (
            np.searchsorted(self.prefixes, prefix, "left"),
            np.searchsorted(self.prefixes, prefix, "right"),
        )
        rows = sorted(row for row in self._rows[start:stop].tolist() if self._digest(row) == digest)
        if not rows:
            return None
        holders = self._holders[digest] = _Holders(rows[0])
        for row in rows:
            if self._table.unresolved[row]:
                continue
            if os.path.lexists(self._table.path[row]):
                holders.present = True
            elif self._is_reachable(row):
                holders.gone.append(row)
            else:
                holders.unreachable[int(self._table.inode[row])] = row
        return holders

    def _is_reachable(self, row: int) -> bool:
        """Whether the folder an image was found under is still there, on the same mount as then."""
        number = int(self._table.root[row])
        if number not in self._reachable:
            root, mount = self._table.roots[number]
            folder = os.path.dirname(root) if root == self._table.path[row] else root
            self._reachable[number] = (
                os.path.isdir(folder) and os.fsencode(find_mount(os.fsdecode(folder))) == mount
            )
        return self._reachable[number]


def digest_prefixes(digests: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each digest, read as one big-endian number.

    Args:
        digests: uint8 (n, 32).

    Returns:
        uint64 (n,).
    """
    if len(digests) == 0:
        return np.empty(0, np.uint64)

    return np.ascontiguousarray(digests[:, :8]).view(">u8").ravel().astype(np.uint64)
