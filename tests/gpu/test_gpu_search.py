"""Every library that sees a GPU gives the pairs of the CPU."""

import numpy as np
import pytest

from facededup.errors import NoGpuError
from facededup.matching.device_join import join_on_devices
from facededup.matching.gpu import open_searches
from facededup.matching.selfjoin import self_join
from facededup.matching.source import InMemory

pytestmark = pytest.mark.gpu


@pytest.fixture(params=["faiss", "torch", "cupy"])
def library(request):
    try:
        open_searches(gpu=True, engine=request.param)
    except NoGpuError as exc:
        pytest.skip(str(exc))
    return request.param


def people(count, each, dimension, seed=0):
    """Noisy pictures of random people, in float32, of length 1."""
    random = np.random.default_rng(seed)
    centres = random.standard_normal((count, 1, dimension))
    vectors = (centres + 0.5 * random.standard_normal((count, each, dimension))).reshape(-1, dimension)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def keys(blocks, count):
    found = [(block.a * count + block.b, block.cosine) for block in blocks]
    order = np.argsort(np.concatenate([key for key, _ in found]))
    return tuple(np.concatenate(column)[order] for column in zip(*found, strict=True))


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("dimension", [128, 512])
@pytest.mark.parametrize("cut", [0.3, 0.78])
def test_the_pairs_are_those_of_the_cpu(library, half, dimension, cut):
    vectors = people(2_000, 5, dimension)
    count, group = len(vectors), np.arange(len(vectors)) // 2
    searches = open_searches(gpu=True, engine=library, half=half)
    on_gpu = keys(join_on_devices(InMemory(vectors), cut, group=group, searches=searches, block=4096), count)
    on_cpu = keys(self_join(InMemory(vectors), cut, group=group), count)
    assert len(on_cpu[0]) > 10_000
    np.testing.assert_array_equal(on_gpu[0], on_cpu[0])
    np.testing.assert_array_equal(on_gpu[1], on_cpu[1])


def test_more_neighbours_than_an_index_gives_lose_no_pair(library):
    vectors = np.repeat(people(2, 1, 128), 3_000, axis=0)
    searches = open_searches(gpu=True, engine=library)
    group = np.arange(len(vectors))
    blocks = join_on_devices(InMemory(vectors), 0.99, group=group, searches=searches)
    assert sum(map(len, blocks)) == 2 * 3_000 * 2_999 // 2


def test_the_device_is_named(library):
    for search in open_searches(gpu=True, engine=library):
        assert search.device
        assert search.facts["engine"] == library
