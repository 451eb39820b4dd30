"""Exact search of one block of vectors in another, and the one function that decides borderline cosines.

All vectors are float32, L2-normalised to 1 within 1e-6, without NaN: their inner product is their cosine.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.errors import PackageMissingError
from facededup.types import Floats

EXACT_CHUNK = 1 << 18
"""Coordinates that `exact_cosine` widens to float64 at a time: 2 MiB an array, which stays in the cache."""


def range_search(
    queries: Floats, base: Floats, radius: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """All inner products strictly above a radius.

    Args:
        queries: float32 (m, d).
        base: float32 (n, d).
        radius: A cosine; the whole result is held in memory, 20 bytes a hit.

    Returns:
        Row of `queries` int64, row of `base` int64, inner product float32, by ascending row of `queries`.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    limits, cosines, j = _index(base).range_search(queries, radius)
    i = np.repeat(np.arange(len(queries)), np.diff(limits.astype(np.int64)))
    return i, j, cosines


def nearest(queries: Floats, base: Floats, k: int) -> tuple[NDArray[np.int64], Floats]:
    """The k rows of `base` nearest to each query.

    Args:
        queries: float32 (m, d).
        base: float32 (n, d).
        k: How many, at most n are given.

    Returns:
        Rows of `base` int64 (m, min(k, n)) and inner products float32 of the same shape, nearest first.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    k = min(k, len(base))
    if k == 0:
        return np.empty((len(queries), 0), np.int64), np.empty((len(queries), 0), np.float32)
    cosines, rows = _index(base).search(queries, k)
    return rows, cosines


def exact_cosine(a: Floats, b: Floats) -> NDArray[np.float64]:
    """Cosines of vectors row by row, the same whatever else is in the call and whatever engine searched.

    Products and sums are taken in float64 in an order that depends on the dimension alone; dividing by the
    lengths makes identical vectors give exactly 1.

    Args:
        a: float32 (p, d), no row all zeros.
        b: float32 (p, d), likewise.

    Returns:
        float64 (p,), between -1 and 1.
    """
    cosines = np.empty(len(a), np.float64)
    step = max(1, EXACT_CHUNK // max(1, a.shape[1]))
    for start in range(0, len(a), step):
        left = a[start : start + step].astype(np.float64)
        right = b[start : start + step].astype(np.float64)
        # One square root of the product: sqrt(x * x) is x, where sqrt(x) * sqrt(x) may not be.
        lengths = np.sqrt(row_dots(left, left) * row_dots(right, right))
        cosines[start : start + step] = row_dots(left, right) / lengths
    return np.clip(cosines, -1.0, 1.0, out=cosines)


def row_dots(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Inner products row by row of float64 (p, d) with (p, d), each summed in an order that only d decides.

    Neither BLAS nor einsum promises that: there the number of rows may change the last bits.
    """
    dots: NDArray[np.float64] = np.add.reduce(a * b, axis=1)
    return dots


def load_faiss() -> Any:
    """The FAISS module.

    Raises:
        PackageMissingError: It is not installed.
    """
    try:
        import faiss
    except ImportError as exc:
        raise PackageMissingError("FAISS is not installed: run pip install 'facededup[cpu]'") from exc
    return faiss


def _index(base: Floats) -> Any:
    index = load_faiss().IndexFlatIP(base.shape[1])
    index.add(np.ascontiguousarray(base))
    return index
