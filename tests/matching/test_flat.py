from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit_vectors import faces, normalised

from facededup.errors import PackageMissingError
from facededup.matching.flat import EXACT_CHUNK, exact_cosine, nearest, range_search, row_dots


def by_fsum(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.tolist(), b.tolist()
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


@pytest.mark.parametrize("dimension", [1, 2, 3, 128, 512, 4096])
def test_exact_cosine_is_right_to_the_last_digits(dimension):
    vectors = normalised(np.random.default_rng(dimension).standard_normal((40, dimension)))
    a, b = vectors[:20], vectors[20:]
    for one, found in zip(zip(a, b, strict=True), exact_cosine(a, b), strict=True):
        assert found == pytest.approx(by_fsum(*one), abs=5e-15)


def test_exact_cosine_of_a_vector_with_itself_is_one():
    vectors = faces(200, 5, 0.5, 128)
    assert (exact_cosine(vectors, vectors.copy()) == 1.0).all()
    assert (exact_cosine(vectors, -vectors) == -1.0).all()


@given(st.integers(1, 300), st.integers(0, 2**32 - 1))
def test_exact_cosine_does_not_depend_on_what_else_is_in_the_call(dimension, seed):
    random = np.random.default_rng(seed)
    a, b = normalised(random.standard_normal((60, dimension))).reshape(2, 30, dimension)
    together = exact_cosine(a, b)
    assert (exact_cosine(b, a) == together).all()
    for cuts in ([0, 1, 30], [0, 7, 8, 23, 30]):
        parts = [exact_cosine(a[i:j], b[i:j]) for i, j in itertools.pairwise(cuts)]
        assert (np.concatenate(parts) == together).all()
    some = random.permutation(30)
    assert (exact_cosine(a[some], b[some]) == together[some]).all()
    wide = a[some[:7]].astype(np.float64)
    one = b[:1].astype(np.float64)
    assert (row_dots(wide, one) == row_dots(np.repeat(one, 7, axis=0), wide)).all()


def test_exact_cosine_over_many_chunks():
    vectors = faces(100, 50, 0.5, 128)
    assert len(vectors) > EXACT_CHUNK // 128
    turned = np.roll(vectors, 1, axis=0)
    right = (vectors.astype(np.float64) * turned).sum(axis=1)
    np.testing.assert_allclose(exact_cosine(vectors, turned), right, atol=1e-6)
    assert exact_cosine(vectors[:0], turned[:0]).shape == (0,)


def test_range_search_gives_what_lies_strictly_above():
    queries, base = faces(7, 3, 0.6, seed=1), faces(40, 5, 0.6, seed=2)
    product = queries.astype(np.float64) @ base.T.astype(np.float64)
    radius = 0.7
    i, j, cosine = range_search(queries, base, radius)
    assert i.dtype == j.dtype == np.int64
    assert cosine.dtype == np.float32
    assert (np.diff(i) >= 0).all()
    above = np.argwhere(product > radius)
    assert sorted(zip(i.tolist(), j.tolist(), strict=True)) == list(map(tuple, above.tolist()))
    np.testing.assert_allclose(cosine, product[i, j], atol=1e-6)
    axes = np.eye(3, dtype=np.float32)
    assert len(range_search(axes, axes, 0.0)[0]) == 3
    assert len(range_search(axes, axes, 1.0)[0]) == 0


def test_nearest_gives_the_closest_first():
    queries, base = faces(4, 2, 0.6, seed=3), faces(30, 5, 0.6, seed=4)
    rows, cosine = nearest(queries, base, 6)
    product = queries.astype(np.float64) @ base.T.astype(np.float64)
    np.testing.assert_allclose(cosine, -np.sort(-product, axis=1)[:, :6], atol=1e-6)
    np.testing.assert_allclose(cosine, np.take_along_axis(product, rows, axis=1), atol=1e-6)


def test_nearest_in_few_or_no_vectors():
    queries, base = faces(4, 2, 0.6), faces(3, 1, 0.6)
    rows, _ = nearest(queries, base, 10)
    assert np.sort(rows, axis=1).tolist() == [[0, 1, 2]] * 8
    rows, cosine = nearest(queries, base[:0], 10)
    assert rows.shape == cosine.shape == (8, 0)


def test_without_faiss_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(PackageMissingError, match=r"pip install 'facededup\[cpu\]'"):
        range_search(faces(2, 1, 0.1), faces(2, 1, 0.1), 0.5)
