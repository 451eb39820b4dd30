"""Range search by matrix products in tiles, on any library that multiplies matrices on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np

from facededup.devices import is_out_of_memory
from facededup.errors import DeviceMemoryError
from facededup.matching.tiles import Candidates, device_cut
from facededup.types import Array, Floats

TILE_ROWS = 8192
TILE_COLUMNS = 16_384
"""A tile's products take 512 MiB in float32, and its pairs sixteen bytes each."""

VERIFIED_COORDINATES = 1 << 27
"""Of each end of the candidates of a search in half precision that are looked at again at once: 512 MiB."""


class Products(Protocol):
    """A library that multiplies matrices on one device."""

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """The vectors on the device, in float32 or float16."""

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """Rows of `left` and of `right` whose product is at least `least`, on the device.

        Raises:
            DeviceMemoryError: The tile is too large.
        """

    def near(self, left: Any, right: Any, i: Any, j: Any, least: float) -> tuple[Any, Any]:
        """Of rows i of `left` and j of `right`, those pairs whose product is at least `least`, on the device.

        Raises:
            DeviceMemoryError: They are too many.
        """

    def fetch(self, values: Any) -> Array:
        """An array of the device as numpy's."""


class TorchProducts:
    """PyTorch.

    Args:
        place: `cuda:0`, or `cpu`.
    """

    def __init__(self, place: str) -> None:
        import torch

        # A product in float32 must not be taken in TF32, nor the sums of one in float16 in float16.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        self._torch = torch
        self._place = torch.device(place)

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """See `Products.load`."""
        with _memory_errors():
            # Copied, as what a store gives may be read-only.
            loaded = self._torch.tensor(vectors, device=self._place)
            return loaded.half() if half else loaded

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """See `Products.hits`."""
        with _memory_errors(), self._torch.inference_mode():
            found = (left @ right.T >= least).nonzero()
            return found[:, 0], found[:, 1]

    def near(self, left: Any, right: Any, i: Any, j: Any, least: float) -> tuple[Any, Any]:
        """See `Products.near`."""
        with _memory_errors(), self._torch.inference_mode():
            kept = (left[i] * right[j]).sum(1) >= least
            return i[kept], j[kept]

    def fetch(self, values: Any) -> Array:
        """See `Products.fetch`."""
        fetched: Array = values.cpu().numpy()
        return fetched


class ArrayProducts:
    """CuPy, or numpy, whose names are the same.

    Args:
        module: `cupy` or `numpy`.
        device: Number of the GPU for CuPy, None for numpy.
    """

    def __init__(self, module: Any, device: int | None = None) -> None:
        self._module = module
        self._device = device

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """See `Products.load`."""
        with self._on_device(), _memory_errors():
            return self._module.asarray(vectors, dtype=np.float16 if half else np.float32)

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """See `Products.hits`."""
        with self._on_device(), _memory_errors():
            i, j = self._module.nonzero(left @ right.T >= least)
            return i, j

    def near(self, left: Any, right: Any, i: Any, j: Any, least: float) -> tuple[Any, Any]:
        """See `Products.near`."""
        with self._on_device(), _memory_errors():
            kept = (left[i] * right[j]).sum(axis=1) >= least
            return i[kept], j[kept]

    def fetch(self, values: Any) -> Array:
        """See `Products.fetch`."""
        if self._device is None:
            return np.asarray(values)
        with self._on_device():
            fetched: Array = self._module.asnumpy(values)
        return fetched

    def _on_device(self) -> AbstractContextManager[Any]:
        if self._device is None:
            return nullcontext()
        device: AbstractContextManager[Any] = self._module.cuda.Device(self._device)
        return device


@contextmanager
def _memory_errors() -> Iterator[None]:
    """Turns a library's own errors for want of memory into ours."""
    try:
        yield
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise DeviceMemoryError(
            "a tile of the search does not fit into the memory of its device: free some of it, or search with"
            " --cpu"
        ) from exc


class ProductSearch:
    """A `TileSearch` by matrix products.

    A tile that does not fit into the memory of the device is halved, and so are all after it.

    Args:
        products: Multiplies.
        device: Its name.
        facts: Plain values for the findings.
        half: Multiply in float16, and look again in float32 at what may be a pair.
        tile: Rows and columns of a tile at first.
    """

    def __init__(
        self,
        products: Products,
        *,
        device: str,
        facts: dict[str, Any],
        half: bool = False,
        tile: tuple[int, int] = (TILE_ROWS, TILE_COLUMNS),
    ) -> None:
        self._products = products
        self.device = device
        self.facts = facts
        self._half = half
        self._rows, self._columns = tile

    def candidates(
        self, queries: Floats, base: Floats, cut: float, *, diagonal: bool
    ) -> Iterator[Candidates]:
        """See `TileSearch.candidates`."""
        dimension = base.shape[1]
        least, coarse = device_cut(cut, dimension), device_cut(cut, dimension, half=self._half)
        load = self._products.load
        left = load(queries, half=self._half)
        right = left if diagonal else load(base, half=self._half)
        exact_left = load(queries, half=False) if self._half else left
        exact_right = right if not self._half else exact_left if diagonal else load(base, half=False)
        for first in range(0, len(queries), self._rows):
            rows = slice(first, first + self._rows)
            # Below the diagonal there is nothing to find.
            begin = first if diagonal else 0
            while begin < len(base):
                columns = slice(begin, begin + self._columns)
                try:
                    found = [self._products.hits(left[rows], right[columns], coarse)]
                    if self._half:
                        found = [*self._verified(exact_left[rows], exact_right[columns], *found[0], least)]
                except DeviceMemoryError:
                    if self._columns == 1:
                        raise
                    self._columns = -(-self._columns // 2)
                    continue
                for i, j in found:
                    yield self._products.fetch(i) + first, self._products.fetch(j) + begin
                begin = columns.stop

    def _verified(self, left: Any, right: Any, i: Any, j: Any, least: float) -> Iterator[tuple[Any, Any]]:
        """Those candidates of a tile whose product in float32 is at least `least`, some at once."""
        step = max(1, VERIFIED_COORDINATES // left.shape[1])
        for start in range(0, len(i), step):
            some = slice(start, start + step)
            yield self._products.near(left, right, i[some], j[some], least)
