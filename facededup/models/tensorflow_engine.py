"""Models in TensorFlow: dlib's network from our description, DeepFace's others as DeepFace builds them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from facededup.errors import JobError, NoGpuError, PackageMissingError
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
from facededup.models.dlib_resnet import load_network
from facededup.models.dlib_tensorflow import build_dlib
from facededup.types import Floats, Pixels


class TensorFlowEngine:
    """A model in TensorFlow, as one compiled graph.

    The number of threads is that of the whole process, and so is the GPU; TensorFlow keeps the first it was
    given.
    """

    name = "tensorflow"

    def __init__(self, model: ModelDescription, placement: Placement) -> None:
        tensorflow = _import_tensorflow()
        library = f"TensorFlow {tensorflow.__version__}"
        gpus = tensorflow.config.list_physical_devices("GPU")
        gpu = placement.gpu
        if gpu and not gpus:
            raise no_gpu_error(library, "install facededup[gpu]")
        if gpus and gpu is not False and placement.device >= len(gpus):
            raise unseen_gpu_error(library, placement.device, len(gpus))
        self.model = model
        self.versions = {"tensorflow": tensorflow.__version__}
        self.device = GPU_DEVICE if gpus and gpu is not False else CPU_DEVICE
        self.lanes = GPU_LANES if self.device == GPU_DEVICE else cpu_lanes(model)
        self._tensorflow = tensorflow
        self._place = f"/{self.device}:0"
        with contextlib.suppress(RuntimeError):  # TensorFlow has started: these can no longer be changed
            if self.device == GPU_DEVICE:
                _claim(tensorflow, gpus[placement.device], placement)
            else:
                # Left alone, TensorFlow takes the memory of all GPUs, though it calculates on the CPU.
                tensorflow.config.set_visible_devices([], "GPU")
            tensorflow.config.threading.set_intra_op_parallelism_threads(placement.threads)
            # A batch takes one of these, and the threads above within it.
            tensorflow.config.threading.set_inter_op_parallelism_threads(self.lanes)
        if self.device == GPU_DEVICE and not tensorflow.config.list_logical_devices("GPU"):
            raise NoGpuError(
                "TensorFlow was started for the CPU in this process and takes no GPU any more: use another"
                " process"
            )
        # TF32 has 10 bits of mantissa: embeddings would differ from the CPU's in the third digit.
        tensorflow.config.experimental.enable_tensor_float_32_execution(False)
        width, height = model.input_size
        with open_failures(library, model), tensorflow.device(self._place):
            # One signature for all batch sizes: otherwise each would be compiled anew.
            pixels = tensorflow.TensorSpec((None, height, width, 3), tensorflow.uint8)
            self._network = tensorflow.function(self._build(), input_signature=[pixels])
            self._network.get_concrete_function()

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        with run_failures("TensorFlow", len(chips)), self._tensorflow.device(self._place):
            rows: Floats = self._network(self._tensorflow.constant(chips)).numpy()
            return rows

    def _build(self) -> Callable[[Any], Any]:
        """A network that takes RGB from 0 to 255."""
        if self.model.name == "Dlib":
            return build_dlib(load_network())
        tensorflow = self._tensorflow
        try:
            keras: str = tensorflow.keras.Model.__module__
        except ImportError as exc:
            raise PackageMissingError(
                "tf-keras is not installed or does not load: run `pip install facededup[tensorflow]`"
            ) from exc
        if not keras.startswith("tf_keras"):
            raise JobError(
                "TensorFlow was imported with Keras 3, and DeepFace's networks are of Keras 2: set"
                " TF_USE_LEGACY_KERAS=1 before TensorFlow is imported"
            )
        network = build_network(self.model, self.name)
        # DeepFace's networks take BGR from 0 to 1.
        return lambda pixels: network(
            tensorflow.cast(tensorflow.reverse(pixels, [3]), tensorflow.float32) / 255, training=False
        )


def _claim(tensorflow: Any, chosen: Any, placement: Placement) -> None:
    """Takes one GPU and no more of its memory than needed; left alone, TensorFlow takes all of every GPU."""
    config = tensorflow.config
    config.set_visible_devices([chosen], "GPU")
    if placement.memory_limit is None:
        config.experimental.set_memory_growth(chosen, True)
    else:
        limit = config.LogicalDeviceConfiguration(memory_limit=placement.memory_limit)
        config.set_logical_device_configuration(chosen, [limit])


def _import_tensorflow() -> Any:
    # DeepFace's networks are of Keras 2, which TensorFlow takes from tf-keras if it is told so in time.
    os.environ["TF_USE_LEGACY_KERAS"] = "1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its log lines would tear the progress bar
    try:
        import tensorflow as tf
    except ImportError as exc:
        raise PackageMissingError(
            "TensorFlow is not installed or does not load: run `pip install facededup[tensorflow]`"
        ) from exc
    return tf
