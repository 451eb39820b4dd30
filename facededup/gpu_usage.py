"""How busy GPUs are during a command and how much of their memory is taken, sampled through NVML."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from facededup.devices import Gpu, choose_gpus, list_gpus
from facededup.metrics import Metrics
from facededup.settings import Settings

SAMPLE_SECONDS = 0.2
"""NVML itself averages over a sixth of a second to a second."""

Reading = tuple[float, int]
"""The share of time in which the GPU was busy, 0 to 1, and bytes of its memory taken, by all processes."""


@dataclass(slots=True)
class _Usage:
    samples: int = 0
    busy: float = 0.0
    peak: int = 0


class Sampler:
    """Reads GPUs on a thread of its own, from its start to its stop.

    Args:
        readers: For each GPU, a function that reads it; None where it cannot be read just now.
        seconds: Between two readings.
    """

    def __init__(
        self, readers: Mapping[Gpu, Callable[[], Reading | None]], seconds: float = SAMPLE_SECONDS
    ) -> None:
        self._readers = readers
        self._seconds = seconds
        self._usage = {gpu: _Usage() for gpu in readers}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu sampler", daemon=True)
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        """Ends the sampling and gives what it found, as the metrics' `gpu` has it."""
        self._stopping.set()
        self._thread.join()
        return {
            "devices": [
                {
                    "number": gpu.number,
                    "name": gpu.name,
                    "memory_bytes": gpu.memory_bytes,
                    "busy_share": round(usage.busy / usage.samples, 4) if usage.samples else None,
                    "peak_memory_bytes": usage.peak if usage.samples else None,
                    "samples": usage.samples,
                }
                for gpu, usage in self._usage.items()
            ]
        }

    def _run(self) -> None:
        while True:
            for gpu, read in self._readers.items():
                reading = read()
                if reading is not None:
                    usage = self._usage[gpu]
                    usage.samples += 1
                    usage.busy += reading[0]
                    usage.peak = max(usage.peak, reading[1])
            if self._stopping.wait(self._seconds):
                return


@contextmanager
def gpus_watched(settings: Settings, metrics: Metrics) -> Iterator[None]:
    """Puts the usage of the GPUs into the metrics of a command, if it turns out to use them.

    Where nvidia-ml-py is not installed, nothing is put there.

    Args:
        settings: Of the run; says which GPUs.
        metrics: Of the command.

    Raises:
        NoGpuError: A GPU is named that the driver does not show.
        UsageError: GPUs are named and forbidden, or named twice.
    """
    numbers = choose_gpus(settings.gpu, settings.devices)
    readers = _open_readers([gpu for gpu in list_gpus() if gpu.number in numbers]) if numbers else {}
    sampler = Sampler(readers) if readers else None
    try:
        yield
    finally:
        usage = None if sampler is None else sampler.stop()
        if "GPU" in metrics.devices.values():
            metrics.gpu = usage


def add_usage(a: dict[str, Any] | None, b: dict[str, Any] | None) -> dict[str, Any] | None:
    """The usage over two commands in a row."""
    if a is None or b is None:
        return a or b
    later = {device["number"]: device for device in b["devices"]}
    both = []
    for one in a["devices"]:
        other = later.pop(one["number"], None)
        both.append(one if other is None else _add_device(one, other))
    return {"devices": [*both, *later.values()]}


def _add_device(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any]:
    if not a["samples"] or not b["samples"]:
        return a if a["samples"] else b
    samples = a["samples"] + b["samples"]
    busy = (a["busy_share"] * a["samples"] + b["busy_share"] * b["samples"]) / samples
    peak = max(a["peak_memory_bytes"], b["peak_memory_bytes"])
    return {**a, "busy_share": round(busy, 4), "peak_memory_bytes": peak, "samples": samples}


def _open_readers(gpus: Sequence[Gpu]) -> dict[Gpu, Callable[[], Reading | None]]:
    """Through NVML, which knows all GPUs of the machine, whatever CUDA_VISIBLE_DEVICES hides: by UUID."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, or no driver: nothing is measured
        return {}

    def reader(handle: Any) -> Callable[[], Reading | None]:
        def read() -> Reading | None:
            try:
                busy = pynvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
                return busy, int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            except pynvml.NVMLError:  # a slice of a GPU (MIG) has no utilisation
                return None

        return read

    readers = {}
    for gpu in gpus:
        try:
            readers[gpu] = reader(pynvml.nvmlDeviceGetHandleByUUID(gpu.uuid))
        except pynvml.NVMLError:
            continue
    return readers
