"""Which device searches: demands are met or refused with a sentence, never replaced."""

import numpy as np
import pytest

from facededup.devices import choose_gpus, count_gpus, list_gpus
from facededup.errors import JobError, NoGpuError, UsageError
from facededup.matching.gpu import _try_out, open_searches
from facededup.matching.products import ArrayProducts, ProductSearch

no_gpu = pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("engine", ["auto", "faiss", "torch", "cupy"])
def test_a_gpu_demanded_and_absent(engine):
    with pytest.raises(NoGpuError, match=r"none is seen by .*install facededup\[gpu\].*leave out --gpu"):
        open_searches(gpu=True, engine=engine)


@no_gpu
def test_only_a_demand_is_refused():
    assert (
        open_searches(gpu=None) == open_searches(gpu=False) == open_searches(gpu=None, engine="faiss") == ()
    )
    assert choose_gpus(None, ()) == choose_gpus(False, ()) == list_gpus() == ()
    with pytest.raises(NoGpuError, match="PyTorch"):
        open_searches(gpu=None, engine="torch")


def test_contradictions():
    with pytest.raises(UsageError, match="--search-engine or --cpu"):
        open_searches(gpu=False, engine="torch")
    with pytest.raises(UsageError, match="--devices names GPUs and --cpu forbids"):
        choose_gpus(False, (0,))
    with pytest.raises(UsageError, match="twice"):
        choose_gpus(None, (0, 0))
    with pytest.raises(NoGpuError, match=f"no GPU {count_gpus()}: the driver shows"):
        choose_gpus(None, (count_gpus(),))


class Coarse(ArrayProducts):
    """Products as a device in a reduced precision gives them, unasked."""

    def hits(self, left, right, least):
        return super().hits(*(np.float32(np.float16(x)) for x in (left, right)), least)


def test_a_device_that_calculates_coarsely_is_found_out():
    _try_out(ProductSearch(ArrayProducts(np), device="CPU", facts={}))
    _try_out(ProductSearch(ArrayProducts(np), device="CPU", facts={}, half=True))
    with pytest.raises(JobError, match="misses pairs in a trial"):
        _try_out(ProductSearch(Coarse(np), device="CPU", facts={}))
