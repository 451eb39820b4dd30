"""Range search by matrix products in tiles, on any library that multiplies matrices on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

import numpy as np

from facededup.errors import DeviceMemoryError
from facededup.matching.selfjoin import MARGIN
from facededup.matching.tiles import HALF_SLACK, Candidates
from facededup.types import Array, Floats

TILE_ROWS = 8192
TILE_COLUMNS = 16_384
"""A tile's products take 512 MiB in float32, and its pairs sixteen bytes each."""

VERIFIED_AT_ONCE = 1 << 20
"""Candidates of a search in half precision looked at again at once."""


class Products(Protocol):
    """A library that multiplies matrices on one device."""

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """The vectors on the device, in float32 or float16."""

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """Rows of `left` and of `right` whose product is at least `least`, on the device.

        Raises:
            DeviceMemoryError: The tile is too large.
        """

    def dots(self, left: Any, right: Any) -> Any:
        """Products row by row, on the device."""

    def fetch(self, values: Any) -> Array:
        """An array of the device as numpy's."""


class TorchProducts:
    """PyTorch.

    Args:
        place: `cuda:0`, or `cpu`.
    """

    def __init__(self, place: str) -> None:
        import torch

        self._torch = torch
        self._place = torch.device(place)

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """See `Products.load`."""
        with _memory_errors(self._torch.OutOfMemoryError):
            # Copied, as what a store gives may be read-only.
            loaded = self._torch.tensor(vectors, device=self._place)
            return loaded.half() if half else loaded

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """See `Products.hits`."""
        with _memory_errors(self._torch.OutOfMemoryError), self._torch.inference_mode():
            found = (left @ right.T >= least).nonzero()
            return found[:, 0], found[:, 1]

    def dots(self, left: Any, right: Any) -> Any:
        """See `Products.dots`."""
        return (left * right).sum(1)

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
        # numpy's own for both: CuPy's is not derived from it.
        self._error = MemoryError if device is None else module.cuda.memory.OutOfMemoryError

    def load(self, vectors: Floats, *, half: bool) -> Any:
        """See `Products.load`."""
        with self._on_device(), _memory_errors(self._error):
            return self._module.asarray(vectors, dtype=np.float16 if half else np.float32)

    def hits(self, left: Any, right: Any, least: float) -> tuple[Any, Any]:
        """See `Products.hits`."""
        with self._on_device(), _memory_errors(self._error):
            i, j = self._module.nonzero(left @ right.T >= least)
            return i, j

    def dots(self, left: Any, right: Any) -> Any:
        """See `Products.dots`."""
        with self._on_device():
            return (left * right).sum(axis=1)

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
def _memory_errors(kind: type[BaseException]) -> Iterator[None]:
    """Turns a library's own error for want of memory into ours."""
    try:
        yield
    except kind as exc:
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
        least = cut - 2 * MARGIN
        coarse = least - HALF_SLACK if self._half else least
        left = self._products.load(queries, half=self._half)
        right = left if diagonal else self._products.load(base, half=self._half)
        verify = self._verification(queries, base, least, diagonal=diagonal) if self._half else None
        for first in range(0, len(queries), self._rows):
            last = min(first + self._rows, len(queries))
            # Below the diagonal there is nothing to find.
            begin = first if diagonal else 0
            while begin < len(base):
                stop = min(begin + self._columns, len(base))
                try:
                    i, j = self._products.hits(left[first:last], right[begin:stop], coarse)
                except DeviceMemoryError:
                    if self._columns == 1:
                        raise
                    self._columns = -(-self._columns // 2)
                    continue
                i, j = i + first, j + begin
                for p, q in [(i, j)] if verify is None else verify(i, j):
                    yield self._products.fetch(p), self._products.fetch(q)
                begin = stop

    def _verification(
        self, queries: Floats, base: Floats, least: float, *, diagonal: bool
    ) -> Callable[[Any, Any], Iterator[tuple[Any, Any]]]:
        """Gives a function that keeps those candidates whose product in float32 is at least `least`."""
        left = self._products.load(queries, half=False)
        right = left if diagonal else self._products.load(base, half=False)

        def verify(i: Any, j: Any) -> Iterator[tuple[Any, Any]]:
            for start in range(0, len(i), VERIFIED_AT_ONCE):
                p, q = i[start : start + VERIFIED_AT_ONCE], j[start : start + VERIFIED_AT_ONCE]
                kept = self._products.dots(left[p], right[q]) >= least
                yield p[kept], q[kept]

        return verify
