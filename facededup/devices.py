"""GPUs as the driver sees them, asked before any framework is imported."""

from __future__ import annotations

import ctypes
import os


def count_gpus() -> int:
    """How many NVIDIA GPUs the driver shows this process, 0 without a driver.

    CUDA_VISIBLE_DEVICES hides GPUs from it, as it does from the frameworks.
    """
    try:
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value
