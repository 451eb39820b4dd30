"""DeepFace's face detectors, run by DeepFace's own code and spoken to as ours are.

DeepFace gives boxes with two eyes, with no landmarks, or (retinaface) with eyes, nose and corners of the
mouth. It would download weights while it opens a detector; here they are looked for first, and nothing is
downloaded.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import shlex
from collections.abc import Callable
from typing import Any

import numpy as np

from facededup.environment import environment
from facededup.errors import FacededupError, JobError, NoGpuError, PackageMissingError, first_line
from facededup.faces.hog import load_hog
from facededup.faces.view import View
from facededup.faces.weights import check_weights_files, missing_module
from facededup.models.catalog import DetectorDescription, describe_detector
from facededup.models.weights import find_weights
from facededup.types import Box, Face, Pixels

# opencv, mtcnn, fastmtcnn and centerface take time in proportion to the pixels, retinaface up to 1980; the
# others scale down by themselves, to 640 or less.
_LONG_SIDE = 1000

# No face, and DeepFace's crop of it may come out empty.
_SMALLEST = 2

_ENVIRONMENT = {
    # retina-face takes its engine from it; onnxruntime is always there.
    "DEEPFACE_BACKEND_ENGINE": "onnx",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


class DeepFaceDetector:
    """One of DeepFace's detectors, or `skip`, for which the whole image is one face.

    Where the upright image shows no face it is turned by 90, 180 and 270 degrees, as for our own detector.
    Landmarks are the eye on the left of an upright face's picture and the eye on the right, then, where there
    are five, the nose and the left and right corner of the mouth.

    Args:
        name: From the catalogue.
        exact: Let it look at what DeepFace would show it: the image at full size with a black border half as
            wide as the image. Otherwise, at the image alone, its long side at most 1,000 pixels.
        gpu: Number of the GPU it runs on; None for the CPU. A process has all its detectors on one.

    Raises:
        UsageError: There is no such detector.
        NoGpuError: Its library sees no GPU, and was to use one.
        PackageMissingError: A package it needs is not installed.
        WeightsMissingError: Its weights are not on this machine.
        JobError: DeepFace could not open it.
    """

    def __init__(self, name: str, *, exact: bool = False, gpu: int | None = None) -> None:
        self._exact = exact
        self._client = None if name == "skip" else _open_client(describe_detector(name), gpu)

    def detect(self, image: Pixels) -> tuple[Face, ...]:
        """The faces of an upright RGB image, uint8 (h, w, 3), from left to right, then from the top down."""
        if self._client is None:
            height, width = image.shape[:2]
            return (Face(Box(0, 0, width, height), 0.0),)
        faces = self._look(image, 0) or max(
            (self._look(image, angle) for angle in (90, 180, 270)), key=_best_score
        )
        return tuple(sorted(faces, key=lambda face: (face.box.x, face.box.y)))

    def _look(self, image: Pixels, angle: int) -> list[Face]:
        long_side = max(image.shape) if self._exact else _LONG_SIDE
        view = View.of(image, 1.0, long_side, angle=angle)
        shown = np.ascontiguousarray(view.pixels[..., ::-1])
        left = top = 0
        if self._exact:
            shown, left, top = pad_as_deepface(shown)
        assert self._client is not None
        faces = [_face(view, region, left, top) for region in self._client.detect_faces(shown)]
        height, width = image.shape[:2]
        return [face for face in faces if _is_visible(face.box, width, height)]


def pad_as_deepface(image: Pixels) -> tuple[Pixels, int, int]:
    """The image within the black border that DeepFace puts around it.

    Returns:
        uint8 (2 h, 2 w, 3) or a pixel less, and the width of the border at the left and at the top.
    """
    height, width = image.shape[:2]
    left, top = int(0.5 * width), int(0.5 * height)
    return np.pad(image, ((top, top), (left, left), (0, 0))), left, top


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


def _face(view: View, region: Any, left: int, top: int) -> Face:
    """A face as DeepFace gives it, `left` and `top` the width of the border that it saw."""
    x, y = float(region.x) - left, float(region.y) - top
    # A person's right eye is on the left of the picture.
    points = [region.right_eye, region.left_eye, region.nose, region.mouth_right, region.mouth_left]
    if None in points:
        points = points[:2]
    if None in points:
        points = []
    return Face(
        box=view.to_image_box(x, y, x + float(region.w), y + float(region.h)),
        confidence=float(region.confidence or 0),
        landmarks=tuple(view.to_image(float(px) - left, float(py) - top) for px, py in points),
    )


def _is_visible(box: Box, width: int, height: int) -> bool:
    """Whether enough of it lies within the image."""
    inside_x = min(width, box.x + box.w) - max(0, box.x)
    inside_y = min(height, box.y + box.h) - max(0, box.y)
    return min(inside_x, inside_y) >= _SMALLEST


def _best_score(faces: list[Face]) -> float:
    return max((face.confidence for face in faces), default=float("-inf"))
