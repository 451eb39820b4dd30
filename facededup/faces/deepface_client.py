"""DeepFace's own clients of its face detectors: opened without a download, on one thread or one GPU.

DeepFace would download weights while it opens a detector; here they are looked for first.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from facededup.environment import environment
from facededup.errors import FacededupError, JobError, NoGpuError, PackageMissingError, first_line
from facededup.faces.deepface_batches import Batches
from facededup.faces.hog import load_hog
from facededup.faces.weights import check_weights_files, missing_module
from facededup.models.catalog import DetectorDescription, describe_detector
from facededup.models.weights import find_weights
from facededup.types import Pixels

_ENVIRONMENT = {
    # retina-face takes its engine from it; onnxruntime is always there.
    "DEEPFACE_BACKEND_ENGINE": "onnx",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


@dataclass(frozen=True, slots=True)
class Region:
    """A face as DeepFace gives it, in pixels of the image that was shown.

    Attributes:
        x: Of its left edge.
        y: Of its upper edge.
        w: Its width.
        h: Its height.
        confidence: The detector's; 0 where it gives none.
        points: x and y of the eye on the left of an upright face's picture and the eye on the right, then,
            where there are five, of the nose and the left and right corner of the mouth; else empty.
    """

    x: float
    y: float
    w: float
    h: float
    confidence: float
    points: tuple[tuple[float, float], ...]


class Finder(Protocol):
    """Anything that finds faces as DeepFace's clients do."""

    def find(self, images: Sequence[Pixels]) -> list[list[Region]]:
        """The faces of each image, uint8 (h, w, 3) BGR."""


class DeepFaceClient:
    """One of DeepFace's detectors in this process; images of one size go to it together where it can.

    Args:
        name: From the catalogue, but not `skip`.
        gpu: Number of the GPU it runs on; None for the CPU. A process has all its detectors on one.

    Raises:
        UsageError: There is no such detector.
        NoGpuError: Its library sees no GPU, and was to use one.
        PackageMissingError: A package it needs is not installed.
        WeightsMissingError: Its weights are not on this machine.
        JobError: DeepFace could not open it.
    """

    def __init__(self, name: str, *, gpu: int | None = None) -> None:
        detector = describe_detector(name)
        client = _open_client(detector, gpu)
        self._batches = Batches(client, detector.modules[0])

    def find(self, images: Sequence[Pixels]) -> list[list[Region]]:
        """See `Finder`.

        Raises:
            MemoryError: There was not enough memory, of the GPU or the machine, for one of them alone.
        """
        return [[_region(each) for each in found] for found in self._batches.find(images)]


def _region(area: Any) -> Region:
    """From DeepFace's `FacialAreaRegion`."""
    # A person's right eye is on the left of the picture.
    points = [area.right_eye, area.left_eye, area.nose, area.mouth_right, area.mouth_left]
    if None in points:
        points = points[:2]
    if None in points:
        points = []
    return Region(
        x=float(area.x),
        y=float(area.y),
        w=float(area.w),
        h=float(area.h),
        confidence=float(area.confidence or 0),
        points=tuple((float(x), float(y)) for x, y in points),
    )


def check_detector(detector: DetectorDescription) -> None:
    """Makes sure that a detector's packages and weights are on this machine, without loading them.

    Raises:
        PackageMissingError: A package it needs is not installed.
        WeightsMissingError: Its weights are not on this machine.
    """
    if (module := missing_module(detector)) is not None:
        raise PackageMissingError(
            f"the detector {detector.name} needs the package {module}, which is not installed: run"
            f" `pip install {shlex.join(detector.package.split())}`"
        )
    check_weights_files(f"the detector {detector.name}", detector)


def _open_client(detector: DetectorDescription, gpu: int | None) -> Any:
    check_detector(detector)
    if gpu is not None:
        _choose_gpu(detector, gpu)
    elif multiprocessing.parent_process() is not None:
        # The GPU belongs to the process that embeds.
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    try:
        with environment(_ENVIRONMENT):
            own = _OPENERS.get(detector.name)
            if detector.name == "retinaface":
                return _open_retinaface(on_gpu=gpu is not None)
            return own() if own else _open_registered(detector.name)
    except FacededupError:
        raise
    except Exception as exc:  # DeepFace's errors and those of the frameworks share no base class
        reason = first_line(exc)
        raise JobError(f"DeepFace could not open the detector {detector.name}: {reason}") from exc


def _choose_gpu(detector: DetectorDescription, gpu: int) -> None:
    """Shows this process one GPU alone, on which DeepFace's detectors then run by themselves.

    Raises:
        NoGpuError: The detector's library sees none.
    """
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = visible.split(",")[gpu] if visible else str(gpu)
    # Else TensorFlow takes all of the memory in the first process that asks.
    os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] = "true"
    library = next(module for module in detector.modules if module in GPU_LIBRARIES)
    if not GPU_LIBRARIES[library]():
        raise NoGpuError(
            f"faces were to be found on a GPU, but the library of {detector.name}, {library}, sees none:"
            " install its build for CUDA, or leave out --detect-gpu"
        )


def _torch_sees_gpu() -> bool:
    import torch

    seen: bool = torch.cuda.is_available()
    return seen


def _tensorflow_sees_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _onnxruntime_sees_gpu() -> bool:
    import onnxruntime

    return _CUDA in onnxruntime.get_available_providers()


_CUDA = "CUDAExecutionProvider"
GPU_LIBRARIES: dict[str, Callable[[], bool]] = {
    "torch": _torch_sees_gpu,
    "tensorflow": _tensorflow_sees_gpu,
    "onnxruntime": _onnxruntime_sees_gpu,
}
"""What runs detectors on a GPU, and whether it sees one."""


def _open_registered(name: str) -> Any:
    """What DeepFace's `build_model` gives, without settling DeepFace on one framework for this process."""
    import cv2
    from deepface.modules import modeling

    cv2.setNumThreads(1)  # processes are the parallelism
    module, _, client = modeling.AVAILABLE_MODELS["face_detector"][name][modeling.ANY].rpartition(".")
    return getattr(importlib.import_module(module), client)()


def _open_dlib() -> Any:
    """DeepFace's client of dlib with the landmark model out of the package that carries it."""
    import dlib
    from deepface.models.face_detection.Dlib import DlibClient

    client = DlibClient.__new__(DlibClient)
    client.model = {
        "face_detector": load_hog(),
        "sp": dlib.shape_predictor(find_weights("shape_predictor_5_face_landmarks.dat")),
    }
    return client


def _open_opencv() -> Any:
    client = _open_registered("opencv")
    if any(cascade.empty() for cascade in client.model.values()):
        # DeepFace would take it for a picture without a face, each time.
        raise ValueError("one of its cascade files is damaged; delete it and download it again")
    return client


def _open_retinaface(*, on_gpu: bool) -> Any:
    """DeepFace's client of retina-face on one thread; by itself it takes every core in every worker."""
    import onnxruntime
    from deepface.models.face_detection.RetinaFace import RetinaFaceClient
    from retinaface.model.retinaface_onnx_model import RetinaFace  # type: ignore[import-untyped]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # its graph has harmless warnings
    session = onnxruntime.InferenceSession(
        find_weights("retinaface.onnx"), options, providers=[_CUDA] * on_gpu + ["CPUExecutionProvider"]
    )
    if on_gpu and _CUDA not in session.get_providers():  # its libraries do not load
        raise NoGpuError("onnxruntime could not run retinaface on the GPU: leave out --detect-gpu")
    client = RetinaFaceClient.__new__(RetinaFaceClient)
    client.model = RetinaFace(session)
    return client


_OPENERS: dict[str, Callable[[], Any]] = {
    "dlib": _open_dlib,
    "opencv": _open_opencv,
}
