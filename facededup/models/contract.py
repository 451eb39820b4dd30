"""What every engine gives, and how its failures are told."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from facededup.devices import is_out_of_memory
from facededup.errors import DeviceMemoryError, FacededupError, JobError, NoGpuError, first_line
from facededup.models.catalog import DEFAULT_MODEL, ModelDescription
from facededup.types import Floats, Pixels

GPU_DEVICE = "GPU"
CPU_DEVICE = "CPU"
GPU_LANES = 2
"""Batches under way on a GPU: one is copied there while the other is computed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a model runs, and how.

    Attributes:
        gpu: True demands a GPU, False forbids it, None takes one where it is usable.
        device: Number of the GPU.
        threads: CPU threads of a batch.
        memory_limit: Megabytes of the GPU's memory the framework may take; None for what it needs.
        half: Calculate in float16.
    """

    gpu: bool | None = None
    device: int = 0
    threads: int = 1
    memory_limit: int | None = None
    half: bool = False


class Engine(Protocol):
    """A model ready to run. `run` may be called from any thread and lets other threads work meanwhile."""

    @property
    def name(self) -> str:
        """`onnx`, `tensorflow` or `pytorch`."""

    @property
    def device(self) -> str:
        """`CPU` or `GPU`."""

    @property
    def lanes(self) -> int:
        """How many calls of `run` at once keep its devices busy; more gain nothing."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the packages that do the work, by name."""

    @property
    def model(self) -> ModelDescription:
        """What it runs."""

    def run(self, chips: Pixels) -> Floats:
        """Embeds faces in one batch.

        Args:
            chips: uint8 (n, height, width, 3) RGB, of the model's input size, n at least 1.

        Returns:
            float32 (n, dimension), not normalised.

        Raises:
            DeviceMemoryError: The batch is too large for the memory of the device; a smaller one may pass.
            JobError: The framework or the device failed.
        """


def cpu_lanes(model: ModelDescription) -> int:
    """Batches that a model embeds side by side on CPU cores, each on one thread.

    Embedding with the default model is about half of all the work of `index`; with fewer batches at once the
    workers would outrun it, and at the end, when they are done, one core would work alone. The other models
    are most of the work: they get all cores, and the workers wait for them.
    """
    cores = os.cpu_count() or 1
    return max(2, cores // 2 if model.name == DEFAULT_MODEL else cores)


def no_gpu_error(library: str, remedy: str) -> NoGpuError:
    """The error for a demand that a library cannot meet."""
    return NoGpuError(f"a GPU was demanded, but {library} sees none: {remedy}, or leave out --gpu")


def unseen_gpu_error(library: str, number: int, count: int) -> NoGpuError:
    """The error for a GPU that the driver shows and a library does not."""
    return NoGpuError(
        f"GPU {number} was chosen, but {library} sees {count} of the driver's GPUs: choose another with"
        " --devices"
    )


@contextmanager
def open_failures(library: str, model: ModelDescription) -> Iterator[None]:
    """Turns what a framework raises while a model is opened into a JobError."""
    try:
        yield
    except FacededupError:
        raise
    except Exception as exc:  # the frameworks' errors share no public base class
        raise JobError(
            f"{library} could not open the model {model.name}, check its weights with `facededup doctor`:"
            f" {first_line(exc)}"
        ) from exc


@contextmanager
def run_failures(library: str, count: int) -> Iterator[None]:
    """Turns what a framework raises over a batch of `count` faces into a JobError or DeviceMemoryError."""
    try:
        yield
    except Exception as exc:  # see above
        if is_out_of_memory(exc):
            raise DeviceMemoryError(
                f"{library} has no memory for a batch of {count} faces: free some of it, or raise"
                f" --gpu-memory-limit if it was given ({first_line(exc)})"
            ) from exc
        raise JobError(
            f"{library} failed on a batch of {count} faces; what is stored is kept: run the same command"
            f" again, with --cpu if a GPU fails again ({first_line(exc)})"
        ) from exc
