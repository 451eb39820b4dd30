"""Searches on devices give the pairs of brute force: nearest neighbours that overflow, products in tiles."""

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_vectors import Rows, brute_force, faces, normalised

from facededup.errors import DeviceMemoryError, JobError
from facededup.matching.device_join import join_on_devices
from facededup.matching.flat import exact_cosine
from facededup.matching.nearest_range import NearestSearch
from facededup.matching.products import ArrayProducts, ProductSearch, TorchProducts
from facededup.matching.selfjoin import self_join
from facededup.matching.strategy import PairSearch
from facededup.matching.tiles import device_cut
from facededup.progress import SilentProgress


def flat_index(base):
    index = faiss.IndexFlatIP(base.shape[1])
    index.add(np.ascontiguousarray(base))
    return index


def nearest(first=2, most=16):
    return NearestSearch(flat_index, device="CPU", facts={"engine": "faiss"}, first=first, most=most)


def products(tile=(7, 11), half=False):
    return ProductSearch(ArrayProducts(np), device="CPU", facts={"engine": "numpy"}, tile=tile, half=half)


def torch_products(half=False):
    return ProductSearch(TorchProducts("cpu"), device="CPU", facts={}, tile=(16, 32), half=half)


SEARCHES = {
    "nearest": nearest,
    "one neighbour": lambda: nearest(first=1, most=1),
    "products": products,
    "products in half precision": lambda: products(half=True),
    "torch": torch_products,
    "torch in half precision": lambda: torch_products(half=True),
}


@pytest.fixture(params=SEARCHES)
def make_search(request, require):
    if request.param.startswith("torch"):
        require("pytorch")
    return SEARCHES[request.param]


def joined(vectors, cut, searches, *, group=None, since=0, until=None, block=None):
    group = np.arange(len(vectors)) if group is None else group
    blocks = list(
        join_on_devices(
            Rows(vectors), cut, group=group, searches=searches, since=since, until=until, block=block
        )
    )
    found = [(a, b, c) for x in blocks for a, b, c in zip(x.a, x.b, x.cosine, strict=True)]
    assert not any(block.new.any() for block in blocks)
    return sorted(found)


def expected(vectors, cut, group=None, since=0, until=None):
    pairs = brute_force(vectors, cut, group)
    kept = (pairs.b >= since) & (pairs.a < (len(vectors) if until is None else until))
    return list(zip(pairs.a[kept], pairs.b[kept], pairs.cosine[kept], strict=True))


@pytest.mark.parametrize("cut", [-1.0, 0.3, 0.7, 0.95, 1.0])
def test_pairs_are_those_of_brute_force(make_search, cut):
    vectors = np.concatenate([faces(12, 9, 0.5), faces(3, 1, 0.0)[[0] * 5]])
    assert joined(vectors, cut, [make_search()], block=50) == expected(vectors, cut)


@pytest.mark.parametrize(("since", "until"), [(40, None), (40, 40), (0, None), (113, None), (30, 20)])
def test_what_was_compared_before_and_groups_are_left_out(make_search, since, until):
    vectors, group = faces(12, 9, 0.5), np.arange(108) // 3
    found = joined(vectors, 0.5, [make_search()], group=group, since=since, until=until, block=32)
    assert found == expected(vectors, 0.5, group, since, until)


def test_several_devices_share_the_blocks(make_search):
    vectors = faces(20, 10, 0.5)
    searches = [make_search() for _ in range(3)]
    assert joined(vectors, 0.6, searches, block=30) == expected(vectors, 0.6)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(0, 30), st.integers(1, 12)),
    cut=st.floats(-1, 1),
    block=st.integers(8, 120),
    most=st.integers(1, 9),
    seed=st.integers(0, 2**31),
)
def test_no_pair_is_lost_whatever_overflows(shape, cut, block, most, seed):
    """Duplicates, ties at the cut (it is the cosine of a pair), more neighbours than the index can give."""
    random = np.random.default_rng(seed)
    vectors = faces(*shape, 0.4, 8, seed) if shape[0] else np.empty((0, 8), np.float32)
    vectors = np.repeat(vectors, random.integers(1, 4, len(vectors)), axis=0)[:100]
    if len(vectors) > 1:
        cosines = brute_force(vectors, -1.0).cosine
        cut = float(cosines[np.argmin(np.abs(cosines - cut))])
    pairs = expected(vectors, cut)
    for search in (nearest(first=int(random.integers(1, most + 1)), most=most), products(tile=(most, block))):
        assert joined(vectors, cut, [search], block=block) == pairs


@pytest.mark.parametrize(("dimension", "most"), [(16, 64), (64, 16), (4096, 1)])
def test_candidates_looked_at_again_are_fewer_the_longer_vectors_are(dimension, most, monkeypatch):
    monkeypatch.setattr("facededup.matching.products.VERIFIED_COORDINATES", 1024)
    near, looked_at = ArrayProducts.near, []

    def counted(*arguments):
        looked_at.append(len(arguments[3]))
        return near(*arguments)

    monkeypatch.setattr(ArrayProducts, "near", counted)
    vectors = faces(1, 20, 0.2, dimension)
    assert joined(vectors, 0.8, [products(tile=(20, 20), half=True)]) == expected(vectors, 0.8)
    assert max(looked_at) == most


def test_queries_beyond_the_index_are_counted_and_searched_by_range():
    vectors = np.repeat(faces(1, 1, 0.0), 40, axis=0)
    search = nearest(first=2, most=16)
    assert len(joined(vectors, 0.9, [search])) == 40 * 39 // 2
    assert search.facts == {"engine": "faiss", "queries_on_cpu": 40}
    few = nearest(first=2, most=64)
    assert len(joined(vectors, 0.9, [few])) == 40 * 39 // 2
    assert few.facts["queries_on_cpu"] == 0


def test_blocks_and_engines_give_the_self_joins_own_pairs():
    vectors = faces(200, 5, 0.5, 128)
    group = np.arange(1000) // 2
    own = sorted(
        (a, b, c)
        for x in self_join(Rows(vectors), 0.75, group=group)
        for a, b, c in zip(x.a, x.b, x.cosine, strict=True)
    )
    assert joined(vectors, 0.75, [nearest(), products((64, 100))], group=group, block=128) == own
    assert own


class SmallMemory:
    """numpy's products on a device of limited memory."""

    def __init__(self, most):
        self._own, self.most, self.refused = ArrayProducts(np), most, 0

    def __getattr__(self, name):
        return getattr(self._own, name)

    def hits(self, left, right, least):
        if len(left) * len(right) > self.most:
            self.refused += 1
            raise DeviceMemoryError("the tile is too large")
        return self._own.hits(left, right, least)


def test_a_tile_too_large_is_halved_for_good_and_the_smallest_reported():
    vectors, small = faces(20, 5, 0.5), SmallMemory(100)
    search = ProductSearch(small, device="CPU", facts={}, tile=(10, 64))
    assert joined(vectors, 0.5, [search], block=50) == expected(vectors, 0.5)
    assert small.refused == 3
    hopeless = ProductSearch(SmallMemory(0), device="CPU", facts={}, tile=(10, 64))
    with pytest.raises(DeviceMemoryError):
        joined(vectors, 0.5, [hopeless])


class SmallIndex:
    """FAISS's index on a device that holds so many vectors, and says so in FAISS's words."""

    def __init__(self, base, most):
        if len(base) > most:
            raise RuntimeError(
                "Error: 'err == cudaSuccess' failed: StandardGpuResources: alloc fail type"
                " FlatData dev 0 space Device (cudaMalloc error out of memory [2])"
            )
        self._own = flat_index(base)

    def search(self, x, k):
        return self._own.search(x, k)


def test_an_index_too_large_for_the_memory_is_made_in_parts():
    vectors = np.repeat(faces(20, 5, 0.5), 2, axis=0)
    made = []

    def make_index(base, most=30):
        made.append(len(base))
        return SmallIndex(base, most)

    search = NearestSearch(make_index, device="GPU", facts={}, first=2, most=4)
    assert joined(vectors, 0.5, [search], block=70) == expected(vectors, 0.5)
    assert made[:4] == [70, 35, 18, 18]
    assert max(made[3:]) <= 18
    hopeless = NearestSearch(lambda base: make_index(base, 0), device="GPU of a kind", facts={})
    with pytest.raises(JobError, match=r"GPU of a kind failed.*out of memory"):
        joined(vectors, 0.5, [hopeless])


@settings(max_examples=60, deadline=None)
@given(
    dimension=st.sampled_from([2, 3, 64, 128, 512, 2048, 4096]),
    spread=st.floats(0, 12),
    nearness=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_no_pair_is_below_what_a_device_looks_for(dimension, spread, nearness, seed):
    """Sums taken one by one, the worst order, of coordinates from large ones to those that float16 loses."""
    random = np.random.default_rng(seed)
    sizes = np.exp(-spread * random.random(dimension))
    x = random.choice([-1, 1], (8, dimension)) * sizes * random.random((8, dimension))
    x = normalised(x)
    y = normalised(nearness * x + (1 - nearness) * normalised(random.standard_normal(x.shape)))
    exact = exact_cosine(x, y)
    half_x, half_y = (v.astype(np.float16).astype(np.float32) for v in (x, y))
    single = np.cumsum(x * y, axis=1, dtype=np.float32)[:, -1]
    half = np.float16(np.cumsum(half_x * half_y, axis=1, dtype=np.float32)[:, -1])
    for row, cut in enumerate(exact.tolist()):
        assert single[row] >= device_cut(cut, dimension)
        assert half[row] >= np.float16(device_cut(cut, dimension, half=True))


class Lost:
    """An index whose device goes away."""

    def __init__(self, base):
        self.base = base

    def search(self, *_):
        raise RuntimeError("Error in proc: 'err == cudaSuccess' failed: CUDA error 46\nStacktrace:")


def test_a_device_that_fails_is_a_sentence():
    search = NearestSearch(Lost, device="GPU of a kind", facts={})
    with pytest.raises(JobError, match=r"GPU of a kind failed; the findings .* kept.*\(.*CUDA error 46\)$"):
        joined(faces(5, 2, 0.5), 0.5, [search])


def test_progress_counts_every_comparison_once():
    class Count:
        total = done = 0

        def start(self, step, total):
            assert step == "search"
            self.total = total

        def advance(self, amount=1):
            self.done += amount

        def finish(self):
            pass

    count, vectors = Count(), normalised(np.ones((75, 4)))
    list(
        join_on_devices(
            Rows(vectors), 1.0, group=np.zeros(75, int), searches=[nearest()], block=20, progress=count
        )
    )
    assert count.done == count.total == 75 * 76 // 2


@pytest.mark.parametrize("since", [0, 300])
def test_the_search_of_find_on_devices_is_that_of_the_cpu(since):
    vectors = faces(80, 5, 0.5, 128)
    options = {"group": np.arange(400), "since": since, "index": "auto", "recall": 0.9}
    own, other = (
        PairSearch(Rows(vectors), 0.75, **options, progress=SilentProgress(), searches=searches)
        for searches in ((), (nearest(most=2), nearest(most=2)))
    )
    found = [
        sorted((a, b, c) for x in search.blocks() for a, b, c in zip(x.a, x.b, x.cosine, strict=True))
        for search in (own, other)
    ]
    assert found[0] == found[1] != []
    assert other.complete
    assert other.since == since
    assert other.facts["device"] == "GPU"
    assert other.facts["devices"] == ["CPU", "CPU"]
    assert other.facts["queries_on_cpu"] > 0
