"""Models in PyTorch: dlib's network from our description, DeepFace's others as DeepFace builds them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from facededup.errors import PackageMissingError
from facededup.models.catalog import ModelDescription
from facededup.models.contract import CPU_DEVICE, GPU_DEVICE, no_gpu_error, open_failures, run_failures
from facededup.models.deepface_networks import build_network
from facededup.models.dlib_pytorch import build_dlib
from facededup.models.dlib_resnet import load_network
from facededup.types import Floats, Pixels


class PyTorchEngine:
    """A model in PyTorch. The number of threads is that of the whole process."""

    name = "pytorch"
    runs_in_parallel = False

    def __init__(self, model: ModelDescription, *, gpu: bool | None, threads: int) -> None:
        try:
            import torch
        except ImportError as exc:
            raise PackageMissingError(
                "PyTorch is not installed or does not load: run `pip install facededup[pytorch]`"
            ) from exc
        library = f"PyTorch {torch.__version__}"
        usable: bool = torch.cuda.is_available()
        if gpu and not usable:
            raise no_gpu_error(library, "install facededup[gpu-torch] with a build of PyTorch for CUDA")
        self.model = model
        self.versions = {"torch": str(torch.__version__)}
        self.device = GPU_DEVICE if usable and gpu is not False else CPU_DEVICE
        self._torch = torch
        self._place = torch.device("cuda" if self.device == GPU_DEVICE else "cpu")
        torch.set_num_threads(threads)
        # TF32 has 10 bits of mantissa: embeddings would differ from the CPU's in the third digit.
        torch.backends.cudnn.allow_tf32 = False
        with open_failures(library, model):
            self._network = self._build()

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        with run_failures("PyTorch", len(chips)), self._torch.inference_mode():
            pixels = self._torch.tensor(chips, device=self._place)
            # (n, 3, height, width) in channels-last order: only the strides change.
            rows: Floats = self._network(pixels.permute(0, 3, 1, 2)).cpu().numpy()
            return rows

    def _build(self) -> Callable[[Any], Any]:
        """A network that takes RGB from 0 to 255, channels first."""
        if self.model.name == "Dlib":
            return build_dlib(load_network(), self._place)
        network = build_network(self.model, self.name).to(self._place)
        network = network.to(memory_format=self._torch.channels_last)
        # DeepFace's networks take BGR from 0 to 1.
        return lambda pixels: network(pixels.flip(1).float() / 255)
