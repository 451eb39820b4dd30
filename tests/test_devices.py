"""What the libraries say when the memory of a device is full."""

import pytest

from facededup.devices import is_out_of_memory


class OutOfMemoryError(RuntimeError):
    """Named as PyTorch's and CuPy's own."""


class ResourceExhaustedError(Exception):
    """Named as TensorFlow's own."""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OutOfMemoryError("Tried to allocate 2.00 GiB."),
        ResourceExhaustedError("OOM when allocating tensor with shape[4096,32,75,75]"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("Unable to find a valid cuDNN algorithm to run convolution"),
        RuntimeError(
            "[ONNXRuntimeError] : 1 : FAIL : Failed to allocate memory for requested buffer of size 7"
        ),
        RuntimeError("BFCArena::Extend Available memory of 10 is smaller than requested bytes of 256"),
        RuntimeError("StandardGpuResources: alloc fail type X (cudaMalloc error out of memory [2])"),
    ],
)
def test_a_full_memory_is_told_by_its_kind_or_its_words(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        RuntimeError("CUDA error: no kernel image is available for execution on the device"),
        ValueError("shapes do not match"),
    ],
)
def test_other_failures_are_none(error):
    assert not is_out_of_memory(error)
