"""Which library searches on which GPU: FAISS, PyTorch or CuPy."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from facededup.devices import choose_gpus, list_gpus
from facededup.errors import JobError, NoGpuError, UsageError
from facededup.matching.device_join import find_candidates
from facededup.matching.flat import load_faiss
from facededup.matching.nearest_range import NearestSearch
from facededup.matching.products import ArrayProducts, ProductSearch, TorchProducts
from facededup.matching.tiles import TileSearch
from facededup.types import Floats


def open_searches(
    *, gpu: bool | None, devices: Sequence[int] = (), engine: str = "auto", half: bool = False
) -> tuple[TileSearch, ...]:
    """A search on each GPU that a run may use; none where it is to search on the CPU.

    Each is tried on made-up vectors first: a device whose products are wrong is found out here.

    Args:
        gpu: True demands a GPU, False forbids it, None takes one where it is usable.
        devices: Numbers of the GPUs wanted; empty for all.
        engine: `faiss`, `torch` or `cupy`; `auto` takes the first of them that sees a GPU.
        half: Calculate in float16; what may be a pair is looked at again in float32 or better.

    Raises:
        NoGpuError: A GPU was demanded and the library sees none.
        UsageError: The library searches on GPUs only, and they were forbidden.
        JobError: A GPU failed its trial.
    """
    # FAISS is what searches on the CPU, too; to name another library is to demand a GPU.
    demanded = bool(gpu or devices or engine not in ("auto", "faiss"))
    if gpu is False and engine not in ("auto", "faiss"):
        raise UsageError(f"{engine} searches on GPUs only: leave out --search-engine or --cpu")
    numbers = choose_gpus(gpu, devices)
    if not numbers and not demanded:
        return ()
    seen = {}
    for name in _LIBRARIES if engine == "auto" else (engine,):
        count, library = _LIBRARIES[name][0]()
        if count and count > max(numbers, default=0):
            searches = tuple(_LIBRARIES[name][1](number, half) for number in numbers or range(count))
            for search in searches:
                _try_out(search)
            return searches
        seen[name] = library
    if not demanded:
        return ()
    raise NoGpuError(
        f"a GPU was demanded for the search, but none is seen by {', '.join(seen.values())}:"
        " install facededup[gpu] or facededup[gpu-torch], or leave out --gpu"
    )


def _count_faiss() -> tuple[int, str]:
    if importlib.util.find_spec("faiss") is None:
        return 0, "FAISS (not installed)"
    faiss = load_faiss()
    # A build for the CPU has no such class; one for GPUs counts none where there is none.
    count = faiss.get_num_gpus() if hasattr(faiss, "StandardGpuResources") else 0
    return count, f"FAISS {faiss.__version__}"


def _count_torch() -> tuple[int, str]:
    if importlib.util.find_spec("torch") is None:
        return 0, "PyTorch (not installed)"
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0, f"PyTorch {torch.__version__}"


def _count_cupy() -> tuple[int, str]:
    if importlib.util.find_spec("cupy") is None:
        return 0, "CuPy (not installed)"
    import cupy

    try:
        return cupy.cuda.runtime.getDeviceCount(), f"CuPy {cupy.__version__}"
    except cupy.cuda.runtime.CUDARuntimeError:
        return 0, f"CuPy {cupy.__version__}"


def _open_faiss(number: int, half: bool) -> TileSearch:
    faiss = load_faiss()
    resources, config = faiss.StandardGpuResources(), faiss.GpuIndexFlatConfig()
    config.device, config.useFloat16 = number, half

    def make_index(base: Floats) -> Any:
        index = faiss.GpuIndexFlatIP(resources, base.shape[1], config)
        index.add(np.ascontiguousarray(base))
        return index

    return NearestSearch(
        make_index,
        device=_name(number),
        facts={"engine": "faiss", "index": "GpuIndexFlatIP", "precision": _precision(half)},
        half=half,
    )


def _open_torch(number: int, half: bool) -> TileSearch:
    facts = {"engine": "torch", "index": "products", "precision": _precision(half)}
    return ProductSearch(TorchProducts(f"cuda:{number}"), device=_name(number), facts=facts, half=half)


def _open_cupy(number: int, half: bool) -> TileSearch:
    import cupy

    facts = {"engine": "cupy", "index": "products", "precision": _precision(half)}
    return ProductSearch(ArrayProducts(cupy, number), device=_name(number), facts=facts, half=half)


_LIBRARIES: dict[str, tuple[Callable[[], tuple[int, str]], Callable[[int, bool], TileSearch]]] = {
    "faiss": (_count_faiss, _open_faiss),
    "torch": (_count_torch, _open_torch),
    "cupy": (_count_cupy, _open_cupy),
}


def _name(number: int) -> str:
    names = {known.number: known.name for known in list_gpus()}
    return names.get(number) or f"GPU {number}"


def _precision(half: bool) -> str:
    return "float16" if half else "float32"


def _try_out(search: TileSearch) -> None:
    """Demands of a device all pairs of made-up vectors, each of them at the cut.

    All coordinates have one magnitude, so that the errors of a lower precision add up instead of cancelling.
    """
    people, pictures, dimension = 64, 8, 128
    signs = np.random.default_rng(0).choice([-1.0, 1.0], (people, 1, dimension)).repeat(pictures, axis=1)
    for picture in range(pictures):
        # Four coordinates of its own: two pictures of one person differ in eight of 128.
        signs[:, picture, 4 * picture : 4 * picture + 4] *= -1
    vectors = (signs.reshape(-1, dimension) / np.sqrt(dimension)).astype(np.float32)
    cut = 1 - 2 * 8 / dimension
    found: set[tuple[int, int]] = set()
    for i, j in find_candidates(search, vectors, vectors, cut, diagonal=True):
        found.update(zip(i.tolist(), j.tolist(), strict=True))
    rows = range(people * pictures)
    if any((i, j) not in found for i in rows for j in rows[i + 1 : i - i % pictures + pictures]):
        raise JobError(
            f"the search on {search.device} misses pairs in a trial on made-up vectors: it does not calculate"
            " precisely enough; search with --cpu"
        )
