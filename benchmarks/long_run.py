"""A long run of `index`: memory and open files of every process, sampled from first image to last.

    python benchmarks/long_run.py --images 100000

indexes small generated images (one in a hundred shows a face) and fails where a process's memory, or its
number of open files, grows with the number of images beyond what the store's tables need.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from common import report
from PIL import Image, ImageEnhance

from facededup.cli.demo import write_pictures

FACE_EVERY = 100
BYTES_AN_IMAGE = 3000
"""What the main process may keep for an image on the list: its path, its record, its row."""
ALLOWED = 1.1
"""How much more memory a worker may have at the end than in the first third, for what it caches."""
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FOLDER = 1000


def write_images(folder: str, count: int) -> None:
    """Different pictures of 64 pixels in sub-folders, some with a face of a real person in 160 pixels."""
    chance = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as originals:
        write_pictures(originals)
        sources = sorted(Path(originals).glob("*hopper*.jpg"))
        for number in range(count):
            place = os.path.join(folder, f"{number // _FOLDER:03d}")
            os.makedirs(place, exist_ok=True)
            target = os.path.join(place, f"{number:06d}.jpg")
            if number % FACE_EVERY:
                small = chance.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(small).resize((64, 64)).save(target, quality=80)
                continue
            with Image.open(sources[number // FACE_EVERY % len(sources)]) as image:
                face = image.convert("RGB").resize((160, 160 * image.height // image.width))
            light = 0.6 + 0.8 * number / count
            ImageEnhance.Brightness(face).enhance(light).save(target)


@dataclass(frozen=True)
class Sample:
    """One look at one process: resident bytes and open files."""

    memory: int
    files: int


def look(pid: int) -> Sample | None:
    """At a process; None when it is gone."""
    with suppress(OSError, IndexError):
        memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        return Sample(memory, len(os.listdir(f"/proc/{pid}/fd")))
    return None


def below(pid: int) -> Iterator[int]:
    """A process and all it has started."""
    yield pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    with suppress(OSError):
        for child in children.read_text().split():
            yield from below(int(child))


def run(images: str, store: str, seconds: float) -> dict[int, list[Sample]]:
    """Indexes a folder; by process, a sample each `seconds`. The first process is the main one."""
    command = [sys.executable, "-m", "facededup", "index", images, "--store", store, "--quiet"]
    samples: dict[int, list[Sample]] = defaultdict(list)
    process = subprocess.Popen([*command, "-p", "2"])
    while process.poll() is None:
        for pid in below(process.pid):
            found = look(pid)
            if found is not None:
                samples[pid].append(found)
        time.sleep(seconds)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed with {process.returncode}")
    return samples


def growth(samples: list[Sample]) -> tuple[int, int, int]:
    """Median memory of the second sixth and of the last sixth of a run, and how many more files are open."""
    sixth = max(1, len(samples) // 6)
    early, late = samples[sixth : 2 * sixth], samples[-2 * sixth : -sixth]
    return (
        int(statistics.median(sample.memory for sample in early)),
        int(statistics.median(sample.memory for sample in late)),
        max(sample.files for sample in late) - max(sample.files for sample in early),
    )


def main() -> None:
    """Runs, prints and judges."""
    made = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    made.add_argument("--images", type=int, default=100_000)
    made.add_argument("--every", type=float, default=0.5, help="seconds between two samples")
    made.add_argument("--folder", help="where the images are made; kept, and used again if it is there")
    made.add_argument("--json", help="write the figures here, too")
    given = made.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or os.path.join(scratch, "images")
        if not os.path.isdir(folder):
            os.makedirs(folder)
            write_images(folder, given.images)
        started = time.perf_counter()
        samples = run(folder, os.path.join(scratch, "s.h5"), given.every)
        seconds = time.perf_counter() - started
    main_process, *others = (growth(some) for some in samples.values() if len(some) >= 12)
    figures = {
        "images": given.images,
        "seconds": round(seconds, 1),
        "samples of the main process": len(next(iter(samples.values()))),
        "main process, MB early and late": [round(value / 1e6, 1) for value in main_process[:2]],
        "workers, MB early and late": [[round(value / 1e6, 1) for value in one[:2]] for one in others],
        "files opened and kept": [one[2] for one in (main_process, *others)],
    }
    report(figures, given.json)
    faults = [f"{late / early:.2f} times the memory" for early, late, _ in others if late > ALLOWED * early]
    if main_process[1] - main_process[0] > 32e6 + BYTES_AN_IMAGE * given.images:
        faults.append("the main process grew")
    if any(one[2] > 2 for one in (main_process, *others)):
        faults.append("files stay open")
    if faults:
        sys.exit("; ".join(faults))


if __name__ == "__main__":
    main()
