"""The batch size that suits a device: found by trying, and remembered."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np

from facededup.errors import DeviceMemoryError
from facededup.models.contract import Engine
from facededup.models.weights import cache_directory
from facededup.types import Floats, Pixels

FIRST = 32
MOST = 4096
LEAST_GAIN = 1.05
"""A batch twice as large must be so much faster a face to be worth its memory."""

_FILE = "batch-sizes.json"


def find_batch_size(
    run: Callable[[Pixels], Floats],
    input_size: tuple[int, int],
    *,
    first: int = FIRST,
    most: int = MOST,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Doubles a batch while that makes a face cheaper and the memory allows; halves one that never fitted.

    Args:
        run: Embeds uint8 (n, height, width, 3).
        input_size: Width and height of a face.
        first: Faces tried first.
        most: Faces tried last.
        clock: Gives seconds.

    Returns:
        Faces.

    Raises:
        DeviceMemoryError: Not even one face fits.
        JobError: `run` failed otherwise.
    """
    width, height = input_size
    best, best_rate, size = 0, 0.0, first
    while size <= most:
        faces = np.zeros((size, height, width, 3), np.uint8)
        try:
            run(faces)  # the first time a framework tunes itself to the shape
            started = clock()
            run(faces)
            rate = size / max(clock() - started, 1e-9)
        except DeviceMemoryError:
            if best:
                return best
            if size == 1:
                raise
            size = most = size // 2
            continue
        if best and rate < LEAST_GAIN * best_rate:
            return best
        best, best_rate = size, rate
        size *= 2
    return best


class BatchSizes:
    """What was found out, in a file in the cache folder; one that cannot be read or written holds nothing.

    Args:
        key: Of what the size depends on.
    """

    def __init__(self, key: str) -> None:
        self._key = key
        self._path = os.path.join(cache_directory(), _FILE)

    def get(self) -> int | None:
        """The size remembered, if there is one."""
        size = self._read().get(self._key)
        return size if type(size) is int and size > 0 else None

    def put(self, size: int) -> None:
        """Remembers a size."""
        sizes = self._read() | {self._key: size}
        with contextlib.suppress(OSError):
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=os.path.dirname(self._path), prefix="batch-")
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(sizes, file, indent=1, sort_keys=True)
            os.replace(temporary, self._path)

    def _read(self) -> dict[str, object]:
        try:
            with open(self._path, encoding="utf-8") as file:
                sizes = json.load(file)
        except (OSError, ValueError):
            return {}
        return sizes if isinstance(sizes, dict) else {}


def batch_key(engine: Engine, device: str, *, half: bool, memory_limit: int | None) -> str:
    """What a batch size depends on, as one line.

    Args:
        engine: Runs the network.
        device: Name of the GPU.
        half: Calculates in float16.
        memory_limit: Megabytes of the GPU's memory the engine may take.
    """
    versions = " ".join(f"{name} {version}" for name, version in engine.versions.items())
    precision = "float16" if half else "float32"
    return f"{engine.model.name}, {versions}, {device}, {precision}, limit {memory_limit}"
