"""How well a GPU is used by the network alone, and whether its memory stays flat.

    python benchmarks/gpu_load.py --model Dlib --precision float16

The rate of embedding, in the network's own multiplications and additions (counted by PyTorch), is set against
the rate of a large matrix product on the same card in the same precision, and against one CPU core. Then 200
calls of uneven sizes are embedded; from the 20th on, the memory that the framework holds may not grow by more
than 1%, or the script exits with 1. Without a GPU it says so, measures the same on the CPU, and looks at the
memory of the process.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from common import median, report
from torch.utils.flop_counter import FlopCounterMode

from facededup.devices import list_gpus
from facededup.models.batching import find_batch_size
from facededup.models.catalog import describe_model
from facededup.models.contract import CPU_DEVICE, Placement
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.models.weights import locate_weights

SETTLED = 20
MOST_GROWTH = 0.01


def main() -> None:
    given = _arguments()
    model = describe_model(given.model)
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from random_weights import write_weights

    random_weights = locate_weights(model.weights_files["pytorch"]) is None
    with tempfile.TemporaryDirectory() as home:
        if random_weights:
            os.environ["DEEPFACE_HOME"] = home
            write_weights(model, "pytorch")
        half = given.precision == "float16"
        engine = open_engine(model, engine="pytorch", placement=Placement(half=half))
        on_gpu = engine.device != CPU_DEVICE
        width, height = model.input_size
        size = given.batch_size or (find_batch_size(engine.run, model.input_size) if on_gpu else 16)
        faces = np.random.default_rng(0).integers(0, 256, (size, height, width, 3), np.uint8)
        with FlopCounterMode(display=False) as counted:
            engine.run(faces[:1])
        operations = counted.get_total_flops()
        rate = size / median([_seconds(lambda: engine.run(faces)) for _ in range(given.rounds)])
        matrix = matrix_rate(engine.device, half=half, size=given.matrix)
        one = open_engine(model, engine="pytorch", placement=Placement(gpu=False, threads=1))
        core = 8 / median([_seconds(lambda: one.run(faces[:8])) for _ in range(3)])
        held = memory_over_calls(Encoder(engine, batch_size=size), faces, given.calls)
    growth = max(held[SETTLED:]) / held[SETTLED] - 1
    report(
        {
            "gpus": [gpu.name for gpu in list_gpus()] or "no GPU",
            "device": engine.device,
            "model": model.name,
            "weights": "random" if random_weights else "real",
            "precision": given.precision,
            "batch_size": size,
            "faces_per_second": rate,
            "operations_per_face": operations,
            "tera_operations_per_second": rate * operations / 1e12,
            "matrix_tera_operations_per_second": matrix / 1e12,
            "share_of_matrix_rate": rate * operations / matrix,
            "times_one_core": rate / core,
            "calls": given.calls,
            "memory_bytes": held[-1],
            "memory_growth": growth,
        },
        given.json,
    )
    if growth > MOST_GROWTH:
        sys.exit(f"memory grew by {growth:.1%} after call {SETTLED}")


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    made.add_argument("--model", default="Dlib")
    made.add_argument("--precision", default="float32", choices=("float32", "float16"))
    made.add_argument("--batch-size", type=int)
    made.add_argument("--rounds", type=int, default=10)
    made.add_argument("--calls", type=int, default=200)
    made.add_argument("--matrix", type=int, default=8192, help="rows of the matrices multiplied")
    made.add_argument("--json", help="write the figures here, too")
    return made.parse_args()


def matrix_rate(device: str, *, half: bool, size: int) -> float:
    """Multiplications and additions a second of the product of two square matrices."""
    place = torch.device("cpu" if device == CPU_DEVICE else "cuda")
    values = torch.randn(size, size, device=place, dtype=torch.float16 if half else torch.float32)

    def multiply() -> None:
        (values @ values)[0, 0].item()  # which waits for the device

    multiply()
    return 2 * size**3 / median([_seconds(multiply) for _ in range(5)])


def memory_over_calls(encoder: Encoder, faces: np.ndarray, calls: int) -> list[int]:
    """Bytes held after each of some calls with uneven numbers of faces."""
    random, held = np.random.default_rng(1), []
    for _ in range(calls):
        encoder.encode(faces[: int(random.integers(1, len(faces) + 1))])
        held.append(_memory(encoder.engine.device))
    return held


def _memory(device: str) -> int:
    if device != CPU_DEVICE:
        return torch.cuda.memory_reserved()
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
