"""Models in onnxruntime: dlib's network as our own graph, DeepFace's others as the graphs it downloads."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np

from facededup.errors import PackageMissingError
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
)
from facededup.models.dlib_resnet import load_graph
from facededup.models.weights import find_weights
from facededup.types import Array, Floats, Pixels

_CUDA = "CUDAExecutionProvider"


def _plain(chips: Pixels) -> Array:
    return chips


def _bgr_fractions(chips: Pixels) -> Array:
    """As DeepFace's own exports take them: (n, height, width, 3) BGR from 0 to 1."""
    return np.divide(chips[..., ::-1], 255, dtype=np.float32)


def _channels_first(chips: Pixels) -> Array:
    """As OpenCV's zoo feeds SFace: (n, 3, height, width) RGB from 0 to 255."""
    return np.ascontiguousarray(chips.transpose(0, 3, 1, 2), dtype=np.float32)


def _centred_channels_first(chips: Pixels) -> Array:
    """As InsightFace feeds its models: (n, 3, height, width) RGB from -1 to 1."""
    return (_channels_first(chips) - np.float32(127.5)) / np.float32(127.5)


_PREPARATIONS: dict[str, Callable[[Pixels], Array]] = {
    "Dlib": _plain,
    "SFace": _channels_first,
    "Buffalo_L": _centred_channels_first,
}


class OnnxEngine:
    """A model in onnxruntime.

    Attributes:
        takes_batches: False where the graph holds a batch size of one and runs once a face.
    """

    name = "onnx"

    def __init__(self, model: ModelDescription, placement: Placement) -> None:
        try:
            import onnxruntime
        except ImportError as exc:
            raise PackageMissingError(
                "onnxruntime is not installed or does not load: run `pip install onnxruntime`"
            ) from exc
        library = f"onnxruntime {onnxruntime.__version__}"
        remedy = "install onnxruntime-gpu in place of onnxruntime"
        self.model = model
        self.versions = {"onnxruntime": onnxruntime.__version__}
        gpu = placement.gpu
        cuda = gpu is not False and _CUDA in onnxruntime.get_available_providers()
        if gpu and not cuda:
            raise no_gpu_error(library, remedy)
        if cuda and hasattr(onnxruntime, "preload_dlls"):  # from 1.21 on
            # CUDA as pip installs it is found only so; what is missing shows below, and need not be printed.
            with contextlib.redirect_stdout(None):
                onnxruntime.preload_dlls()

        def start(graph: bytes | str) -> Any:
            return onnxruntime.InferenceSession(
                graph, _options(onnxruntime, placement.threads), providers=_providers(placement, cuda=cuda)
            )

        graph = load_graph() if model.name == "Dlib" else find_weights(model.weights_file)
        self._prepare = _PREPARATIONS.get(model.name, _bgr_fractions)
        with open_failures(library, model):
            self._session = start(graph)
            self.takes_batches = True
            if isinstance(graph, str) and _takes_one_face(self._session):
                self._open_for_batches(start, graph)
        # onnxruntime falls back to the CPU where the CUDA libraries do not load.
        self.device = GPU_DEVICE if _CUDA in self._session.get_providers() else CPU_DEVICE
        self.lanes = GPU_LANES if self.device == GPU_DEVICE else cpu_lanes(model)
        if gpu and self.device == CPU_DEVICE:
            raise no_gpu_error(library, remedy)

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        with run_failures("onnxruntime", len(chips)):
            return self._embed(self._session, self._prepare(chips), together=self.takes_batches)

    def _open_for_batches(self, start: Callable[[bytes], Any], path: str) -> None:
        """Opens a graph exported for one face so that it takes many, where that gives the same."""
        width, height = self.model.input_size
        faces = np.random.default_rng(0).integers(0, 256, (3, height, width, 3), np.uint8)
        prepared = self._prepare(faces)
        singles = self._embed(self._session, prepared, together=False)
        try:
            session = start(_graph_for_batches(path))
            together = self._embed(session, prepared, together=True)
            same = np.allclose(together, singles, rtol=1e-4, atol=1e-5 * float(np.abs(singles).max()))
        except Exception:  # a graph that holds its batch size elsewhere, too
            same = False
        if same:
            self._session = session
        self.takes_batches = same

    @staticmethod
    def _embed(session: Any, prepared: Array, *, together: bool) -> Floats:
        name = session.get_inputs()[0].name
        parts = [prepared] if together else np.split(prepared, len(prepared))
        rows: Floats = np.concatenate([session.run(None, {name: part})[0] for part in parts])
        return rows


def _options(onnxruntime: Any, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin while they wait take the cores from the workers that detect faces.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 4  # what matters is raised; lines on stderr would tear the progress bar
    return options


def _providers(placement: Placement, *, cuda: bool) -> list[Any]:
    if not cuda:
        return ["CPUExecutionProvider"]
    options = {
        "device_id": str(placement.device),
        # TF32 has 10 bits of mantissa: embeddings would differ from the CPU's in the third digit.
        "use_tf32": "0",
        # Else the memory taken doubles each time a little more is needed.
        "arena_extend_strategy": "kSameAsRequested",
    }
    if placement.memory_limit is not None:
        options["gpu_mem_limit"] = str(placement.memory_limit * 1_000_000)
    return [(_CUDA, options), "CPUExecutionProvider"]


def _takes_one_face(session: Any) -> bool:
    first: object = session.get_inputs()[0].shape[0]
    return first == 1


def _graph_for_batches(path: str) -> bytes:
    """The graph with a free batch size."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    # Old exports list their constants as inputs, which keeps onnxruntime from folding them.
    inputs = [value for value in graph.input if value.name not in constants]
    del graph.input[:]
    graph.input.extend(inputs)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    serialised: bytes = model.SerializeToString()
    return serialised
