"""GPUs as the driver sees them, asked before any framework is imported, and the choice among them.

Also which of the frameworks' errors say that a device has no memory left: they share no class.
"""

from __future__ import annotations

import ctypes
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from facededup.errors import NoGpuError, UsageError


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU.

    Attributes:
        number: As `--devices` and the frameworks count.
        name: As the driver calls it.
        memory_bytes: All it has.
        uuid: Its own name, `GPU-` and a UUID, as nvidia-smi prints it.
    """

    number: int
    name: str
    memory_bytes: int
    uuid: str


def count_gpus() -> int:
    """How many NVIDIA GPUs the driver shows this process, 0 without a driver.

    CUDA_VISIBLE_DEVICES hides GPUs from it, as it does from the frameworks.
    """
    driver = _open_driver()
    return 0 if driver is None else _count(driver)


def list_gpus() -> tuple[Gpu, ...]:
    """The GPUs that `count_gpus` counts. What the driver does not tell is "" or 0."""
    driver = _open_driver()
    return () if driver is None else tuple(_describe(driver, number) for number in range(_count(driver)))


def choose_gpus(gpu: bool | None, devices: Sequence[int]) -> tuple[int, ...]:
    """The numbers of the GPUs that a run may use; none where it is to use the CPU.

    Args:
        gpu: True demands a GPU, False forbids it, None takes what is there.
        devices: The GPUs wanted; empty for all. To name some is to demand them.

    Raises:
        NoGpuError: The driver does not show what was demanded.
        UsageError: GPUs are named and forbidden, or named twice.
    """
    if gpu is False:
        if devices:
            raise UsageError("--devices names GPUs and --cpu forbids them: leave one of them out")
        return ()
    if len(set(devices)) < len(devices):
        raise UsageError(f"--devices {','.join(map(str, devices))} names a GPU twice")
    count = count_gpus()
    if missing := [number for number in devices if number >= count]:
        shown = f"GPUs 0 to {count - 1}" if count > 1 else "GPU 0 alone" if count else "no GPU"
        raise NoGpuError(
            f"there is no GPU {missing[0]}: the driver shows {shown}; change or leave out --devices"
        )
    return tuple(devices) or tuple(range(count))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a library's error says that the memory of its device is full.

    PyTorch, TensorFlow and CuPy have classes of their own for it, but not wherever it happens; onnxruntime,
    FAISS, cuBLAS and cuDNN say it in words.
    """
    if isinstance(error, MemoryError) or type(error).__name__ in _MEMORY_ERRORS:
        return True
    message = str(error).lower()
    return any(words in message for words in _MEMORY_WORDS)


_MEMORY_ERRORS = ("OutOfMemoryError", "ResourceExhaustedError")
_MEMORY_WORDS = (
    "out of memory",  # CUDA, and FAISS in a sentence that begins with "alloc fail"
    "allocate memory",
    "not enough memory",
    "alloc_failed",  # CUBLAS_STATUS_ALLOC_FAILED, CUDNN_STATUS_ALLOC_FAILED
    "smaller than requested bytes",  # onnxruntime at its gpu_mem_limit
    "unable to find a valid cudnn algorithm",  # PyTorch: none whose workspace could be had
)


def _open_driver() -> Any:
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None


def _count(driver: Any) -> int:
    count = ctypes.c_int()
    return count.value if driver.cuDeviceGetCount(ctypes.byref(count)) == 0 else 0


def _describe(driver: Any, number: int) -> Gpu:
    handle, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    memory, unique = ctypes.c_size_t(), (ctypes.c_ubyte * 16)()
    driver.cuDeviceGet(ctypes.byref(handle), number)
    driver.cuDeviceGetName(name, len(name), handle)
    driver.cuDeviceTotalMem_v2(ctypes.byref(memory), handle)
    known = driver.cuDeviceGetUuid(ctypes.byref(unique), handle) == 0
    return Gpu(
        number=number,
        name=name.value.decode("utf-8", "replace"),
        memory_bytes=memory.value,
        uuid=f"GPU-{uuid.UUID(bytes=bytes(unique))}" if known else "",
    )
