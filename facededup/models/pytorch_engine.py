"""Models in PyTorch: dlib's network from our description, DeepFace's others as DeepFace builds them."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from facededup.errors import JobError, PackageMissingError
from facededup.models.catalog import ModelDescription
from facededup.models.contract import (
    CPU_DEVICE,
    GPU_DEVICE,
    GPU_LANES,
    Placement,
    cpu_lanes,
    no_gpu_error,
    open_failures,
    run_failures,
    unseen_gpu_error,
)
from facededup.models.deepface_networks import build_network
from facededup.models.dlib_pytorch import build_dlib
from facededup.models.dlib_resnet import load_network
from facededup.types import Floats, Pixels

LEAST_COSINE = 0.9999
"""Of an embedding calculated in float16 and the same in float32."""


class PyTorchEngine:
    """A model in PyTorch. The number of threads is that of the whole process.

    On a GPU each calling thread has a stream of its own and hands its batch over in pinned memory: one batch
    is copied while another is computed.
    """

    name = "pytorch"

    def __init__(self, model: ModelDescription, placement: Placement) -> None:
        try:
            import torch
        except ImportError as exc:
            raise PackageMissingError(
                "PyTorch is not installed or does not load: run `pip install facededup[pytorch]`"
            ) from exc
        library = f"PyTorch {torch.__version__}"
        usable: bool = torch.cuda.is_available()
        gpu = placement.gpu
        if gpu and not usable:
            raise no_gpu_error(library, "install facededup[gpu-torch] with a build of PyTorch for CUDA")
        if usable and gpu is not False and placement.device >= torch.cuda.device_count():
            raise unseen_gpu_error(library, placement.device, torch.cuda.device_count())
        self.model = model
        self.versions = {"torch": str(torch.__version__)}
        self.device = GPU_DEVICE if usable and gpu is not False else CPU_DEVICE
        on_gpu = self.device == GPU_DEVICE
        self.lanes = GPU_LANES if on_gpu else cpu_lanes(model)
        self._torch = torch
        self._place = torch.device(f"cuda:{placement.device}" if on_gpu else "cpu")
        self._half = False
        self._streams = threading.local()
        torch.set_num_threads(placement.threads)
        # TF32 has 10 bits of mantissa: embeddings would differ from the CPU's in the third digit.
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        # Sums of a product in float16 are kept in float32.
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
        with open_failures(library, model):
            if on_gpu and placement.memory_limit is not None:
                total = torch.cuda.get_device_properties(self._place).total_memory
                share = min(1.0, placement.memory_limit * 1_000_000 / total)
                torch.cuda.set_per_process_memory_fraction(share, self._place)
            self._network = self._build()
            if on_gpu:
                torch.cuda.synchronize(self._place)  # the weights are there before another stream reads them
            if placement.half:
                self._take_half()

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        with run_failures("PyTorch", len(chips)), self._torch.inference_mode(), self._stream():
            pixels = self._load(chips)
            with self._torch.autocast(self._place.type, self._torch.float16, enabled=self._half):
                # (n, 3, height, width) in channels-last order: only the strides change.
                embeddings = self._network(pixels.permute(0, 3, 1, 2))
            rows: Floats = embeddings.float().cpu().numpy()
            return rows

    def _load(self, chips: Pixels) -> Any:
        """The faces on the device; copied on a CPU, too, as what is given may be read-only.

        On a GPU they go through pinned memory, from which the copy runs beside other work; PyTorch keeps that
        memory until the copy is through, and then for the next batch.
        """
        if self.device == CPU_DEVICE:
            return self._torch.tensor(chips)
        pinned = self._torch.empty(chips.shape, dtype=self._torch.uint8, pin_memory=True)
        np.copyto(pinned.numpy(), chips)
        return pinned.to(self._place, non_blocking=True)

    def _stream(self) -> Any:
        """The calling thread's own stream; on a CPU, which has none, an empty context."""
        if self.device == CPU_DEVICE:
            return contextlib.nullcontext()
        if not hasattr(self._streams, "own"):
            self._streams.own = self._torch.cuda.Stream(self._place)
        return self._torch.cuda.stream(self._streams.own)

    def _take_half(self) -> None:
        """Calculates in float16 from now on, if made-up faces come out the same.

        Raises:
            JobError: They do not.
        """
        width, height = self.model.input_size
        faces = np.random.default_rng(0).integers(0, 256, (8, height, width, 3), np.uint8)
        faces[:4] = faces[:4].mean(axis=(1, 2), keepdims=True)  # even faces next to noise: two extremes
        exact = self.run(faces).astype(np.float64)
        self._half = True
        half = self.run(faces).astype(np.float64)
        lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(half, axis=1)
        if not (np.einsum("ij,ij->i", exact, half) >= LEAST_COSINE * lengths).all():
            raise JobError(
                f"{self.model.name} gives other embeddings in float16 than in float32: leave --precision out"
            )

    def _build(self) -> Callable[[Any], Any]:
        """A network that takes RGB from 0 to 255, channels first."""
        if self.model.name == "Dlib":
            return build_dlib(load_network(), self._place)
        network = build_network(self.model, self.name).to(self._place)
        network = network.to(memory_format=self._torch.channels_last)
        # DeepFace's networks take BGR from 0 to 1.
        return lambda pixels: network(pixels.flip(1).float() / 255)
