"""What the benchmark scripts share: the faces, the machine, the output."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


def parser(description: str) -> argparse.ArgumentParser:
    """A parser with the folder of faces and `--json`."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("faces", nargs="?", default=os.environ.get("FACEDEDUP_LFW", "../shared/lfw"))
    made.add_argument("--json", help="write the figures here, too")
    return made


def images_of(folder: str) -> list[str]:
    """All images of a folder with one sub-folder a person, sorted."""
    images = sorted(str(path) for path in Path(folder).glob("*/*.jpg"))
    if not images:
        sys.exit(f"no images under {folder}: give a folder laid out NAME/NAME_0001.jpg")
    return images


def spread(images: Sequence[str], count: int) -> list[str]:
    """`count` images evenly spread over the list, so that no name or letter dominates."""
    return [images[place * len(images) // count] for place in range(min(count, len(images)))]


def processor() -> str:
    """The processor's name as Linux tells it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def median(values: Sequence[float]) -> float:
    """The middle value."""
    return statistics.median(values)


def document(figures: dict[str, Any]) -> dict[str, Any]:
    """The figures with date, machine and command."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, {processor()}, Python {platform.python_version()}",
        "command": " ".join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        **figures,
    }


def report(figures: dict[str, Any], path: str | None) -> None:
    """Prints the figures with date, machine and command, and writes them as JSON.

    Rows of a table (a list of dictionaries) only go into the JSON.
    """
    made = document(figures)
    for name, value in made.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            continue
        print(f"{name:32} {value:.4g}" if isinstance(value, float) else f"{name:32} {value}")
    if path:
        Path(path).write_text(json.dumps(made, indent=1) + "\n")


def table(heading: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    for row in (heading, ["---"] * len(heading), *rows):
        print("|", " | ".join(map(str, row)), "|")
    print(flush=True)
