"""The self-join through a graph of neighbours, for comparison with the lists: recall is measured likewise.

Every vector asks an HNSW index (Malkov and Yashunin, "Efficient and robust approximate nearest neighbor
search using Hierarchical Navigable Small World graphs", IEEE TPAMI 42, 2020) for its nearest few; one whose
furthest answer is still at or above the cut asks again for more, until nothing can be missing but what the
graph does not lead to. A pair is found when either end finds it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, load_faiss
from facededup.matching.selfjoin import MARGIN, VERIFIED_AT_ONCE
from facededup.progress import Progress, SilentProgress
from facededup.store.base import PairBlock
from facededup.types import Floats

LINKS = 32
"""Neighbours a vector has in each layer of the graph, twice as many in the lowest."""
BUILD_EFFORT = 80
SEARCH_EFFORT = 256
"""Candidates kept while the graph is built and walked; twice the answers wanted where that is more."""
FIRST_ANSWERS = 32
BLOCK = 8_192


def hnsw_join(
    vectors: Floats, cut: float, *, group: NDArray[np.int64], progress: Progress | None = None
) -> Iterator[PairBlock]:
    """Most pairs of rows at or above a cut. All found are held in memory, 8 bytes each and 8 more to sort.

    Args:
        vectors: float32 (n, d), L2-normalised to 1 within 1e-6.
        cut: Lowest cosine of a pair.
        group: int64 (n,); two rows of one group are never a pair.
        progress: Receives the steps `graph` and `search`, in vectors.

    Yields:
        Pairs of rows a < b, sorted; `new` is all False. Cosines are exact.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    progress = progress or SilentProgress()
    count = len(vectors)
    index = _build(vectors, progress)
    progress.start("search", count)
    found = [np.empty(0, np.int64)]
    for start in range(0, count, BLOCK):
        rows = np.arange(start, min(start + BLOCK, count))
        here, there = _neighbours(index, vectors, rows, cut - MARGIN)
        apart = group[here] != group[there]
        low, high = np.minimum(here, there)[apart], np.maximum(here, there)[apart]
        found.append(np.unique(low * count + high))
        progress.advance(len(rows))
    progress.finish()
    keys = np.unique(np.concatenate(found))
    for start in range(0, len(keys), VERIFIED_AT_ONCE):
        a, b = np.divmod(keys[start : start + VERIFIED_AT_ONCE], count)
        cosine = exact_cosine(vectors[a], vectors[b])
        kept = cosine >= cut
        if kept.any():
            yield PairBlock(a[kept], b[kept], cosine[kept], np.zeros(np.count_nonzero(kept), np.bool_))


def _build(vectors: Floats, progress: Progress) -> Any:
    faiss = load_faiss()
    index = faiss.IndexHNSWFlat(vectors.shape[1], LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = BUILD_EFFORT
    progress.start("graph", len(vectors))
    for start in range(0, len(vectors), BLOCK):
        some = vectors[start : start + BLOCK]
        index.add(some)
        progress.advance(len(some))
    progress.finish()
    return index


def _neighbours(
    index: Any, vectors: Floats, rows: NDArray[np.int64], least: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Some rows and what the graph gives for them at or above a cosine, each with itself among it."""
    found_here, found_there = [], []
    answers = FIRST_ANSWERS
    while len(rows):
        answers = min(answers, len(vectors))
        index.hnsw.efSearch = max(SEARCH_EFFORT, 2 * answers)
        cosines, others = index.search(vectors[rows], answers)
        near = (cosines >= least) & (others >= 0)
        i, j = np.nonzero(near)
        full = near[:, -1] & (answers < len(vectors))
        done = ~full[i]
        found_here.append(rows[i[done]])
        found_there.append(others[i[done], j[done]])
        rows = rows[full]
        answers *= 4
    return np.concatenate(found_here), np.concatenate(found_there)
