"""`kill -9` of workers while `facededup index --queue` runs: identical results, no chunk lost or doubled.

A kill waits until the worker holds the lease of a unit that has not ended, and counts only if the lease was
still held when the worker was dead. Each killed worker is followed by a new one, as a supervisor would do.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import report
from kills import assert_same, result_of, write_images
from queue_speed import redis_server

PATIENCE = 300.0


def start_worker(url: str, log: Path) -> subprocess.Popen[bytes]:
    """A worker with one process."""
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "facededup", "worker", "--cpu", "-c", "1"],
            env={**os.environ, "FACEDEDUP_BROKER_URL": url},
            stdout=file,
            stderr=file,
        )


def held_by(url: str, pid: int) -> list[bytes]:
    """The units that a worker is at."""
    import redis

    with redis.Redis.from_url(url) as client:
        keys = list(client.scan_iter("facededup:*:lease:*"))
        holders = client.mget(keys) if keys else []
        return [
            key
            for key, holder in zip(keys, holders, strict=True)
            if holder is not None and holder.endswith(b":%d" % pid)
        ]


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--kills", type=int, default=30)
    arguments.add_argument("--chunks", type=int, default=300)
    arguments.add_argument("--chunk-images", type=int, default=4)
    arguments.add_argument("--workers", type=int, default=2)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--json", help="write the figures here, too")
    given = arguments.parse_args()
    chance = random.Random(given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        pictures = os.path.join(scratch, "images")
        os.mkdir(pictures)
        write_images(pictures, given.chunks * given.chunk_images)
        index = [sys.executable, "-m", "facededup", "index", pictures, "--cpu", "--quiet", "--store"]
        local, queued = os.path.join(scratch, "local.h5"), os.path.join(scratch, "queued.h5")
        subprocess.run([*index, local], check=True)
        log = Path(scratch, "workers.log")
        with redis_server(scratch) as url:
            running = [start_worker(url, log) for _ in range(given.workers)]
            coordinator = subprocess.Popen(
                [*index, queued, "--queue", "--chunk-images", str(given.chunk_images)],
                env={**os.environ, "FACEDEDUP_BROKER_URL": url},
            )
            kills = 0
            started = time.perf_counter()
            while kills < given.kills and coordinator.poll() is None:
                time.sleep(chance.uniform(0, 1))
                victim = chance.choice(running)
                deadline = time.monotonic() + PATIENCE
                while not held_by(url, victim.pid) and coordinator.poll() is None:
                    if time.monotonic() > deadline:
                        sys.exit("the job hangs")
                    time.sleep(0.01)
                victim.send_signal(signal.SIGKILL)
                victim.wait()
                kills += bool(held_by(url, victim.pid))
                running[running.index(victim)] = start_worker(url, log)
            coordinator.wait(PATIENCE * 10)
            seconds = time.perf_counter() - started
            for worker in running:
                worker.terminate()
            for worker in running:
                worker.wait()
        assert coordinator.returncode == 0, f"the coordinator ended with {coordinator.returncode}"
        assert kills >= given.kills, f"the job was over after {kills} kills: take more images"
        assert_same(result_of(queued), result_of(local))
    report(
        {"kills in a chunk": kills, "chunks": given.chunks, "seconds": seconds, "result": "identical"},
        given.json,
    )


if __name__ == "__main__":
    main()
