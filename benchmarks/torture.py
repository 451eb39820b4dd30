"""Kills, power losses, failing disks and hostile input, until something breaks or the numbers are reached.

    python benchmarks/torture.py --kills 500 --errors 200 --cuts 2000 --inputs 5000

prints the tables of docs/reliability.md. A fault ends it with an AssertionError that says what was found.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import faults
import fuzz
import kills
import powerloss
import safety_cost
from common import report


def main() -> None:
    made = argparse.ArgumentParser(description="torture the store and the runs")
    made.add_argument("--kills", type=int, default=500, help="kill -9 of live processes")
    made.add_argument("--images", type=int, default=68, help="images a killed run has to index")
    made.add_argument("--errors", type=int, default=200, help="requests to the disk that fail")
    made.add_argument("--cuts", type=int, default=2000, help="power losses")
    made.add_argument("--inputs", type=int, default=5000, help="mutated images and stores")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--json", help="write the figures here, too")
    options = made.parse_args()
    figures: dict[str, Any] = {}
    rows: list[tuple[str, str, float]] = []

    def measure(name: str, call: Callable[[], Any]) -> None:
        started = time.perf_counter()
        result = call()
        rows.append((name, _shown(result), time.perf_counter() - started))
        figures[name] = dict(result) if isinstance(result, dict) else result
        print(f"{name}: {_shown(result)}", flush=True)

    if options.kills:
        measure("kill -9", lambda: kills.run_kills(options.kills, options.seed, options.images))
    for encrypted in (False, True):
        note = " of encrypted stores" * encrypted
        if options.cuts:
            measure(
                f"power losses{note}",
                lambda: powerloss.power_losses(4, -(-options.cuts // 2), options.seed, encrypted=encrypted),  # noqa: B023
            )
        if options.errors:
            measure(
                f"failed requests to the disk{note}",
                lambda: faults.write_errors(4, -(-options.errors // 2), encrypted=encrypted),  # noqa: B023
            )
    if options.cuts:
        fewer = max(4, options.cuts // 5)
        measure("power losses between keys", lambda: powerloss.losses_between_keys(fewer, options.seed))
        measure("power losses in a repair", lambda: powerloss.losses_in_a_repair(fewer, options.seed))
        measure("power losses in a search", lambda: powerloss.losses_in_a_search(fewer, options.seed))
    if options.errors:
        measure("looks of a reader at a store on a slow disk", lambda: faults.slow_disk(4, 0.005))
    if options.inputs:
        measure("mutated inputs", lambda: fuzz.run(options.inputs, options.seed))
    measure("verify, times the speed of BLAKE2", lambda: _verify_speed(1 << 16))
    print("\n| What | Done | Lost, hung or crashed | Seconds |\n|---|---|---|---|")
    for name, text, seconds in rows:
        print(f"| {name} | {text} | 0 | {seconds:.0f} |")
    print()
    report(figures, options.json)


def _shown(result: Any) -> str:
    if isinstance(result, dict):
        return ", ".join(f"{name} {count:,}" for name, count in sorted(result.items()))
    return f"{result:,}" if isinstance(result, int) else f"{result:.2f}"


def _verify_speed(count: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        return safety_cost.verify_speed(
            safety_cost.make_store(str(Path(folder, "s.h5")), count, encrypted=False)
        )


if __name__ == "__main__":
    main()
