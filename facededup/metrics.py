"""Stage timers and counters. They are values that add up over processes and machines."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

STAGES = ("scan", "decode", "detect", "align", "embed", "store", "search", "cluster")


def process_seconds() -> float:
    """Wall seconds since this process was started, interpreter start-up included where the system tells."""
    try:
        with open("/proc/self/stat", "rb") as file:
            started_ticks = int(file.read().rpartition(b")")[2].split()[19])
        with open("/proc/uptime", "rb") as file:
            uptime = float(file.read().split()[0])
        return uptime - started_ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.perf_counter() - _IMPORTED


_IMPORTED = time.perf_counter()
_from_process_start = False


def measure_from_process_start() -> None:
    """Counts every command's time from the start of the process; for programs that run one command."""
    global _from_process_start  # noqa: PLW0603 - a property of the process, like its start time
    _from_process_start = True


def _origin() -> float:
    """The `perf_counter` reading from which a new command counts."""
    now = time.perf_counter()
    return now - process_seconds() if _from_process_start else now


@dataclass(slots=True)
class StageTime:
    """Seconds spent in one stage (summed over parallel workers) and items done."""

    seconds: float = 0.0
    items: int = 0

    def add(self, seconds: float, items: int) -> None:
        """Counts some more work."""
        self.seconds += seconds
        self.items += items

    def to_dict(self) -> dict[str, float | int | None]:
        """Plain values, with the rate; the rate is None where nothing was timed."""
        rate = self.items / self.seconds if self.seconds > 0 else None
        return {"seconds": round(self.seconds, 6), "items": self.items, "per_second": rate and round(rate, 3)}


@dataclass(slots=True)
class Metrics:
    """The timing of one command.

    Attributes:
        command: Its name.
        stages: All eight stages, always.
        devices: The device of each stage that chose one, e.g. {"embed": "CPU"}.
        engine: What runs the network, e.g. `onnx`; None where none was opened.
        versions: Of the packages that did the work.
        images: Images read in this run.
        faces: Faces embedded in this run.
        origin: The `time.perf_counter` reading from which `seconds` counts.
        startup_seconds: From process start to the first decode (or the first block searched).
        gpu: What the driver says of the GPUs used, None without.
    """

    command: str
    stages: dict[str, StageTime] = field(default_factory=lambda: {name: StageTime() for name in STAGES})
    devices: dict[str, str] = field(default_factory=dict)
    engine: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    images: int = 0
    faces: int = 0
    startup_seconds: float | None = None
    gpu: dict[str, Any] | None = None
    origin: float = field(default_factory=_origin)

    @property
    def seconds(self) -> float:
        """Wall seconds so far."""
        return time.perf_counter() - self.origin

    @contextmanager
    def timed(self, stage: str, items: int = 0) -> Iterator[StageTime]:
        """Times a block; more items may be added to what it yields."""
        started = time.perf_counter()
        try:
            yield self.stages[stage]
        finally:
            self.stages[stage].add(time.perf_counter() - started, items)

    def add(self, seconds: Mapping[str, float], items: int = 1) -> None:
        """Adds what a worker measured for `items` items, by stage."""
        for stage, spent in seconds.items():
            self.stages[stage].add(spent, items)

    def mark_started(self, ago: float = 0.0) -> None:
        """Start-up was over `ago` seconds before now; later calls change nothing."""
        if self.startup_seconds is None:
            self.startup_seconds = max(0.0, self.seconds - ago)

    def to_dict(self) -> dict[str, Any]:
        """The document of `--metrics`, schema facededup/metrics/1."""
        seconds = self.seconds
        startup = self.startup_seconds if self.startup_seconds is not None else seconds
        working = seconds - startup
        return {
            "schema": "facededup/metrics/1",
            "command": self.command,
            "devices": dict(self.devices),
            "engine": self.engine,
            "versions": dict(self.versions),
            "stages": {name: self.stages[name].to_dict() for name in STAGES},
            "seconds": round(seconds, 6),
            "startup_seconds": round(startup, 6),
            "images_per_second": round(self.images / working, 3) if working > 0 else 0.0,
            "faces_per_second": round(self.faces / working, 3) if working > 0 else 0.0,
            "peak_rss_bytes": peak_rss_bytes(),
            "gpu": self.gpu,
        }


_children_peak = 0


def note_children(pids: Iterable[int]) -> None:
    """Looks at the memory of live children; the largest sum seen counts into the peak of all processes."""
    global _children_peak  # noqa: PLW0603 - one peak a process, like the kernel's own
    total = 0
    for pid in pids:
        total += _high_water(f"/proc/{pid}/status")
    _children_peak = max(_children_peak, total)


def peak_rss_bytes() -> int:
    """Peak resident memory: this process's high water mark plus the largest sum seen of its workers'."""
    return _high_water("/proc/self/status") + _children_peak


def _high_water(path: str) -> int:
    try:
        with open(path, "rb") as file:
            for line in file:
                if line.startswith(b"VmHWM:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 0
