"""What every engine gives, and how its failures are told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

from facededup.errors import FacededupError, JobError, NoGpuError
from facededup.models.catalog import ModelDescription
from facededup.types import Floats, Pixels

GPU_DEVICE = "GPU"
CPU_DEVICE = "CPU"


class Engine(Protocol):
    """A model ready to run. `run` may be called from any thread and lets other threads work meanwhile."""

    @property
    def name(self) -> str:
        """`onnx`, `tensorflow` or `pytorch`."""

    @property
    def device(self) -> str:
        """`CPU` or `GPU`."""

    @property
    def runs_in_parallel(self) -> bool:
        """Whether `run` called from several threads at once uses several cores."""

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
            JobError: The framework failed, for example for want of memory.
        """


def no_gpu_error(library: str, remedy: str) -> NoGpuError:
    """The error for a demand that a library cannot meet."""
    return NoGpuError(f"a GPU was demanded, but {library} sees none: {remedy}, or leave out --gpu")


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
            f" {_first_line(exc)}"
        ) from exc


@contextmanager
def run_failures(library: str, count: int) -> Iterator[None]:
    """Turns what a framework raises over a batch of `count` faces into a JobError."""
    try:
        yield
    except Exception as exc:  # see above
        raise JobError(
            f"{library} failed on a batch of {count} faces, try a smaller --batch-size: {_first_line(exc)}"
        ) from exc


def _first_line(exc: Exception) -> str:
    return next(iter(str(exc).splitlines()), type(exc).__name__)
