"""All pairs of rows, searched on devices: GPUs, or whatever gives a `TileSearch`.

Blocks of the upper triangle go to whichever device is free, so a set may be larger than a device's memory and
several devices share the work. What they find is decided as always, by `flat.exact_cosine` on the CPU, while
the device goes on with the next block.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facededup.errors import JobError, first_line
from facededup.matching.parallel import in_parallel, read_ahead
from facededup.matching.selfjoin import (
    BlockPair,
    Part,
    block_pairs,
    compared_pairs,
    comparisons,
    deliver,
    exact_pairs,
)
from facededup.matching.source import VectorSource
from facededup.matching.tiles import Candidates, TileSearch
from facededup.progress import Progress, SilentProgress
from facededup.store.base import PairBlock
from facededup.types import Floats

BLOCK_BYTES = 128 << 20
"""Of the vectors of a block: large enough to hide its way to the device behind the search."""

BLOCKS_A_SIDE = 8
"""At least, where blocks are not too small for it: half of a block on the diagonal is searched in vain."""

SMALLEST_BLOCK = 16_384

THREADS_A_DEVICE = 2
"""One waits for the device while the other decides what it found before."""

_NONE = np.empty(0, np.int64)


def join_on_devices(
    source: VectorSource,
    cut: float,
    *,
    group: NDArray[np.int64],
    searches: Sequence[TileSearch],
    since: int = 0,
    until: int | None = None,
    block: int | None = None,
    progress: Progress | None = None,
    covered: Callable[[int], None] | None = None,
) -> Iterator[PairBlock]:
    """All pairs of rows whose cosine is at least the cut: what `self_join` gives, searched on devices.

    Memory holds some blocks of vectors for each device, and their pairs.

    Args:
        source: n vectors.
        cut: Lowest cosine of a pair, -1 to 1.
        group: int64 (n,); two rows of one group are never a pair.
        searches: One for each device.
        since: Only pairs whose later row is at least this.
        until: Only pairs whose earlier row is below this, as for `self_join`.
        block: Rows searched at a time; None takes what suits the size.
        progress: Receives the step `search`, in comparisons.
        covered: Told how many rows are compared with each other, as for `self_join`.

    Yields:
        The pairs of two blocks, as rows a < b, sorted by (a, b) within; `new` is all False.

    Raises:
        JobError: A device failed, or its memory does not hold the smallest tile.
    """
    progress = progress or SilentProgress()
    count = len(source)
    progress.start("search", comparisons(count, since, until))
    if block is None:
        most = max(1, BLOCK_BYTES // (4 * source.dimension))
        block = min(most, max(SMALLEST_BLOCK, -(-count // BLOCKS_A_SIDE)))
    free: queue.SimpleQueue[TileSearch] = queue.SimpleQueue()
    for search in searches:
        free.put(search)
    with closing(read_ahead(block_pairs(source, since, until, block))) as blocks:
        tasks = (partial(_join_blocks, free, some, cut, group) for some in blocks)
        results = in_parallel(tasks, THREADS_A_DEVICE * len(searches))
        yield from deliver(results, since, progress, covered)
        if covered is not None:
            covered(count)
    progress.finish()


def _join_blocks(
    free: queue.SimpleQueue[TileSearch], blocks: BlockPair, cut: float, group: NDArray[np.int64]
) -> Part:
    """The pairs of two blocks."""
    top, queries, left, base = blocks
    search = free.get()
    try:
        found = [(_NONE, _NONE), *find_candidates(search, queries, base, cut, diagonal=left == top)]
    finally:
        free.put(search)
    i, j = (np.concatenate(rows) for rows in zip(*found, strict=True))
    pairs = exact_pairs(queries, base, i, j, top=top, left=left, cut=cut, group=group)
    return pairs, compared_pairs(top, queries, left, base), left


def find_candidates(
    search: TileSearch, queries: Floats, base: Floats, cut: float, *, diagonal: bool
) -> Iterator[Candidates]:
    """What `search.candidates` gives; what the libraries raise over a device is told as a sentence.

    Raises:
        JobError: The device failed.
    """
    try:
        yield from search.candidates(queries, base, cut, diagonal=diagonal)
    except (RuntimeError, MemoryError) as exc:  # FAISS, PyTorch and CuPy raise kinds of RuntimeError
        reason = first_line(exc)
        raise JobError(
            f"the search on {search.device} failed; the findings before are kept: run it again, with --cpu if"
            f" it fails again ({reason})"
        ) from exc
