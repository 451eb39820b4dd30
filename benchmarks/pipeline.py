"""How near `facededup index` comes to what the processor allows.

    python benchmarks/pipeline.py LFW --images 3000
    python benchmarks/pipeline.py LFW --images 600 --size 1600x1200

Each stage of the default encoder (decode, detect, align, embed) is timed alone on one core, by the functions
the pipeline itself calls, over all images: a few in which faces are hard to see may take most of the time. N
cores can then do N images in the sum of these times: the bound, of which no start-up, no reading of folders,
no store and no waiting is taken off. Then the pipeline runs over all images, in turn with a loop of
`DeepFace.represent`. `--memory` adds the peak memory of runs over growing parts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from common import images_of, median, parser, report, spread
from index_speed import copy_images, index_seconds, link_weights, represent_seconds, size_of

from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.workers.steps import Analyser, AnalysisSettings, ImageTask

MAX_PIXELS = 178_956_970


def stage_seconds(paths: list[str]) -> dict[str, float]:
    """Seconds an image of each stage, alone on one core."""
    analyse = Analyser(AnalysisSettings(detector="dlib", align="chip", faces="all", max_pixels=MAX_PIXELS))
    encoder = Encoder(open_engine(describe_model("Dlib"), threads=1))
    analyse(ImageTask(paths[0], ""))
    analyses = [analyse(ImageTask(path, "")) for path in paths]
    seconds = {
        stage: sum(each.seconds.get(stage, 0.0) for each in analyses) / len(paths)
        for stage in ("decode", "detect", "align")
    }
    chips = np.concatenate([each.chips for each in analyses if len(each.chips)])
    encoder.encode(chips[: encoder.batch_size])
    started = time.perf_counter()
    encoder.encode(chips)
    return {**seconds, "embed": (time.perf_counter() - started) / len(paths)}


def index_run(folder: str, processes: int) -> dict[str, Any]:
    """The metrics of one `facededup index`, and the wall seconds of the whole command."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "metrics.json"
        seconds = index_seconds(folder, "-p", str(processes), "--metrics", str(path))
        return {**json.loads(path.read_text()), "command_seconds": seconds}


def peak_memory(images: list[str], processes: int, size: tuple[int, int] | None) -> dict[str, float]:
    """MB over all processes, by number of images."""
    peaks = {}
    for count in (len(images) // 8, len(images) // 4, len(images) // 2, len(images)):
        with tempfile.TemporaryDirectory() as folder:
            copy_images(images[:count], folder, size)
            peaks[str(count)] = round(index_run(folder, processes)["peak_rss_bytes"] / 1e6)
    return peaks


def main() -> None:
    arguments = parser(__doc__.partition("\n")[0])
    arguments.add_argument("--images", type=int, default=3000)
    arguments.add_argument("--alone", type=int, help="images that the stages are timed on, in place of all")
    arguments.add_argument("--represent", type=int, default=30, help="images of DeepFace's loop")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("-p", "--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--size", type=size_of, help="scale the images up first, as in 1600x1200")
    arguments.add_argument("--memory", action="store_true", help="peak memory against the number of images")
    arguments.add_argument("--at-least", type=float, help="fail below this share of the bound")
    given = arguments.parse_args()
    images = spread(images_of(given.faces), given.images)
    cores = os.cpu_count() or 1
    rounds = []
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as folder:
        link_weights(home)
        copy_images(images, folder, given.size)
        paths = sorted(entry.path for entry in os.scandir(folder))
        for _ in range(given.rounds):
            alone = stage_seconds(spread(paths, given.alone or len(paths)))
            theirs = represent_seconds(spread(paths, given.represent), home)
            ours = index_run(folder, given.processes)
            bound = cores / sum(alone.values())
            rounds.append(
                {
                    **{f"{stage} alone, ms": 1e3 * seconds for stage, seconds in alone.items()},
                    f"bound of {cores} cores, images/s": bound,
                    "pipeline, images/s": ours["images_per_second"],
                    "share of the bound": ours["images_per_second"] / bound,
                    "start-up, seconds": ours["startup_seconds"],
                    "whole command, seconds": ours["command_seconds"],
                    "DeepFace.represent, images/s": 1 / theirs,
                    "ratio, whole command": theirs * len(images) / ours["command_seconds"],
                }
            )
    shares = [figures["share of the bound"] for figures in rounds]
    figures: dict[str, Any] = {
        "images": f"{len(images)}" + (" at {}x{}".format(*given.size) if given.size else ""),
        "processes": given.processes,
        "rounds": given.rounds,
        **{name: median([each[name] for each in rounds]) for name in rounds[0]},
        "shares": [round(share, 3) for share in shares],
        "ratios": [round(each["ratio, whole command"], 1) for each in rounds],
    }
    if given.memory:
        figures["peak memory in MB by images"] = peak_memory(images, given.processes, given.size)
    report(figures, given.json)
    if given.at_least and median(shares) < given.at_least:
        sys.exit(f"the pipeline fell below {given.at_least} of the bound")


if __name__ == "__main__":
    main()
