"""Opens a recognition model on one of the frameworks that can run it."""

from __future__ import annotations

import contextlib
import importlib.util
from dataclasses import replace
from typing import Protocol

from facededup.devices import count_gpus
from facededup.errors import NoGpuError, UsageError
from facededup.models.catalog import ModelDescription
from facededup.models.contract import Engine, Placement
from facededup.models.onnx_engine import OnnxEngine
from facededup.models.pytorch_engine import PyTorchEngine
from facededup.models.tensorflow_engine import TensorFlowEngine
from facededup.models.weights import locate_weights


class _Opener(Protocol):
    def __call__(self, model: ModelDescription, placement: Placement) -> Engine: ...


# By preference: onnxruntime is the fastest on a CPU and starts in a tenth of the others' time.
_ENGINES: dict[str, _Opener] = {"onnx": OnnxEngine, "pytorch": PyTorchEngine, "tensorflow": TensorFlowEngine}
_PACKAGES = {"onnx": "onnxruntime", "pytorch": "torch", "tensorflow": "tensorflow"}
ENGINES = ("auto", *_ENGINES)
HALF_ENGINE = "pytorch"
"""The one that can calculate in float16: the others' networks come in float32 as they are."""


def open_engine(
    model: ModelDescription,
    *,
    engine: str = "auto",
    gpu: bool | None = None,
    threads: int | None = None,
    placement: Placement | None = None,
) -> Engine:
    """Opens a model.

    Args:
        model: From the catalogue.
        engine: One of `ENGINES`; `auto` takes one that is installed and has the model's weights here, with a
            GPU the first that sees it; what it took is in the engine's `name`.
        gpu: True demands a GPU, False forbids it, None takes one where it is usable.
        threads: CPU threads of a batch; None for 1.
        placement: All of that and more, instead of `gpu` and `threads`.

    Raises:
        UsageError: No such engine, or it does not run this model, or not in float16.
        NoGpuError: A GPU was demanded and the framework sees none.
        PackageMissingError: The framework is not installed.
        WeightsMissingError: The model's weights are not on this machine.
        JobError: The framework refused the model.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    placement = placement or Placement(gpu=gpu, threads=threads or 1)
    if engine == "auto" and placement.half:
        engine = HALF_ENGINE
    if engine == "auto":
        return _open_best(model, placement)
    if placement.half and engine != HALF_ENGINE:
        raise UsageError(
            f"{engine} runs in float32 only: use --engine {HALF_ENGINE}, or leave --precision out"
        )
    if engine not in model.weights_files:
        raise UsageError(
            f"the model {model.name} does not run on {engine}: use --engine"
            f" {' or '.join(model.weights_files)}, or leave --engine out"
        )
    return _ENGINES[engine](model, placement)


def _open_best(model: ModelDescription, placement: Placement) -> Engine:
    gpu = placement.gpu
    installed = [
        name
        for name, package in _PACKAGES.items()
        if name in model.weights_files and importlib.util.find_spec(package)
    ]
    ready = [name for name in installed if locate_weights(model.weights_files[name])]
    if ready and (gpu or (gpu is None and count_gpus())):
        for name in ready:
            with contextlib.suppress(NoGpuError):
                return _ENGINES[name](model, replace(placement, gpu=True))
        if gpu:
            raise NoGpuError(
                f"a GPU was demanded, but no engine that can run {model.name} here sees one"
                f" ({', '.join(ready)}): install facededup[gpu] or facededup[gpu-torch], or leave out --gpu"
            )
    # Without any weights the first engine says which are missing.
    best = next(iter(ready or installed), "onnx")
    return _ENGINES[best](model, placement)
