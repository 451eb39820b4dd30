"""Opens a recognition model on one of the frameworks that can run it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from facededup.errors import JobError, NoGpuError, PackageMissingError, UsageError
from facededup.models.catalog import ModelDescription
from facededup.models.dlib_resnet import load_graph
from facededup.types import Floats, Pixels

ENGINES = ("auto", "onnx", "tensorflow", "pytorch")
GPU_DEVICE = "GPU"
CPU_DEVICE = "CPU"

_CUDA = "CUDAExecutionProvider"


class Engine(Protocol):
    """A model ready to run. `run` may be called from any thread and lets other threads work meanwhile."""

    @property
    def name(self) -> str:
        """`onnx`, `tensorflow` or `pytorch`."""

    @property
    def device(self) -> str:
        """`CPU` or `GPU`."""

    @property
    def versions(self) -> Mapping[str, str]:
        """Of the packages that do the work, by name."""

    @property
    def model(self) -> ModelDescription:
        """What it runs."""

    def run(self, chips: Pixels) -> Floats:
        """Embeds faces in one batch.

        Args:
            chips: uint8 (n, height, width, 3) RGB, of the model's input size.

        Returns:
            float32 (n, dimension), not normalised.

        Raises:
            JobError: The framework failed, for example for want of memory.
        """


def open_engine(
    model: ModelDescription, *, engine: str = "auto", gpu: bool | None = None, threads: int | None = None
) -> Engine:
    """Opens a model.

    Args:
        model: From the catalogue.
        engine: One of `ENGINES`; `auto` takes what is there.
        gpu: True demands a GPU, False forbids it, None takes one where it is usable.
        threads: CPU threads of a batch; None for 1.

    Raises:
        UsageError: No such engine, or none that runs this model.
        NoGpuError: A GPU was demanded and the framework sees none.
        PackageMissingError: The framework is not installed.
        WeightsMissingError: The model's weights are not on this machine.
        JobError: The framework refused the model.
    """
    if engine not in ENGINES:
        raise UsageError(f"there is no engine {engine!r}; choose one of {', '.join(ENGINES)}")
    if engine not in ("auto", "onnx"):
        raise UsageError(f"this version runs models on onnxruntime only: use --engine onnx, not {engine}")
    if model.name != "Dlib":
        raise UsageError(f"this version runs the model Dlib only, not {model.name}: use --model Dlib")
    return OnnxEngine(model, gpu=gpu, threads=threads or 1)


class OnnxEngine:
    """dlib's network in onnxruntime."""

    name = "onnx"

    def __init__(self, model: ModelDescription, *, gpu: bool | None, threads: int) -> None:
        try:
            import onnxruntime
        except ImportError as exc:
            raise PackageMissingError(
                "onnxruntime is not installed or does not load: run `pip install onnxruntime`"
            ) from exc
        self.model = model
        self.versions = {"onnxruntime": onnxruntime.__version__}

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that spin while they wait take the cores from the workers that detect faces.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # what matters is raised; lines on stderr would tear the progress bar
        providers: list[Any] = ["CPUExecutionProvider"]
        if gpu is not False and _CUDA in onnxruntime.get_available_providers():
            # TF32 has 10 bits of mantissa: embeddings would differ from the CPU's in the third digit.
            providers.insert(0, (_CUDA, {"use_tf32": "0"}))
        graph = load_graph()
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=providers)
        except Exception as exc:  # onnxruntime's errors share no public base class
            raise JobError(f"onnxruntime could not open the model {model.name}: {exc}") from exc
        # onnxruntime falls back to the CPU where the CUDA libraries do not load.
        self.device = GPU_DEVICE if _CUDA in self._session.get_providers() else CPU_DEVICE
        if gpu and self.device == CPU_DEVICE:
            raise NoGpuError(
                f"a GPU was demanded, but onnxruntime {onnxruntime.__version__} sees none:"
                " install onnxruntime-gpu in place of onnxruntime, or leave out --gpu"
            )

    def run(self, chips: Pixels) -> Floats:
        """See `Engine.run`."""
        try:
            (embeddings,) = self._session.run(None, {"chips": chips})
        except Exception as exc:  # see above
            raise JobError(
                f"onnxruntime failed on a batch of {len(chips)} faces, try a smaller --batch-size: {exc}"
            ) from exc
        floats: Floats = embeddings
        return floats
