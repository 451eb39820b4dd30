"""The recognition models and face detectors as data. Nothing here loads a model or a framework."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from facededup.errors import UsageError

DEFAULT_MODEL = "Dlib"
DEFAULT_DETECTOR = "dlib"

_DEEPFACE_THRESHOLD = "DeepFace's tuned cosine threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """One recognition model.

    Attributes:
        name: DeepFace's name of it.
        dimension: Length of an embedding.
        input_size: Width and height of a face as the network takes it, in pixels.
        operating_cosine: The cosine that similarity 0.40 stands for, the model's one-to-one operating point.
        operating_cosine_source: Where that number comes from.
        licence: Of the weights as far as their own licence says, else of the code they come with.
        commercial_use: Whether the licence of the weights allows it; None where it does not say.
        weights: Catalogue id of the weights, one for all engines' file formats.
        weights_files: Name of the file by engine, for the engines that run the model, as DeepFace names it in
            its folder of weights.
        weights_bytes: Its size, None where it is not recorded.
        align: How a face is cut out by default, where the detector's landmarks allow it: `chip` is dlib's
            five-point chip, `arcface` five landmarks put where ArcFace was trained to find them, `deepface`
            the detector's box turned by the eyes, just as DeepFace does it.
    """

    name: str
    dimension: int
    input_size: tuple[int, int]
    operating_cosine: float
    operating_cosine_source: str = _DEEPFACE_THRESHOLD
    licence: str
    commercial_use: bool | None
    weights: str
    weights_files: Mapping[str, str]
    weights_bytes: int | None = None
    align: str = "deepface"

    @property
    def weights_file(self) -> str:
        """The file for onnxruntime, which runs every model."""
        return self.weights_files["onnx"]


def _files(stem: str, *, tensorflow: str | None = None) -> Mapping[str, str]:
    """The formats in which DeepFace has most models."""
    return MappingProxyType(
        {"onnx": f"{stem}.onnx", "pytorch": f"{stem}.pth", "tensorflow": tensorflow or f"{stem}.h5"}
    )


def _onnx_only(file_name: str) -> Mapping[str, str]:
    return MappingProxyType({"onnx": file_name})


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorDescription:
    """One face detector.

    Attributes:
        name: DeepFace's name of it.
        package: The distribution to install for it (`pip install PACKAGE`).
        modules: What is imported of it and of what it needs.
        licence: A note on its licence.
        landmarks: What it tells of a face: `dlib` (dlib's five points), `five` (eyes, nose, corners of the
            mouth), `eyes`, or `none`.
        weights_files: Files it reads out of DeepFace's folder of weights, with the address where each is
            published; empty where its package brings them.
    """

    name: str
    package: str
    modules: tuple[str, ...]
    licence: str
    landmarks: str
    weights_files: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


MODELS = (
    ModelDescription(
        name="Dlib",
        dimension=128,
        input_size=(150, 150),
        operating_cosine=0.93,
        licence="CC0 1.0",
        commercial_use=True,
        weights="dlib_face_recognition_resnet_model_v1",
        weights_files=MappingProxyType(
            dict.fromkeys(("onnx", "pytorch", "tensorflow"), "dlib_face_recognition_resnet_model_v1.dat")
        ),
        weights_bytes=22_466_066,
        align="chip",
    ),
    ModelDescription(
        name="VGG-Face",
        dimension=4096,
        input_size=(224, 224),
        operating_cosine=0.32,
        licence="CC BY-NC",
        commercial_use=False,
        weights="vgg_face",
        weights_files=_files("vgg_face_weights"),
    ),
    ModelDescription(
        name="Facenet",
        dimension=128,
        input_size=(160, 160),
        operating_cosine=0.60,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="facenet",
        weights_files=_files("facenet_weights"),
    ),
    ModelDescription(
        name="Facenet512",
        dimension=512,
        input_size=(160, 160),
        operating_cosine=0.70,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="facenet512",
        weights_files=_files("facenet512_weights"),
    ),
    ModelDescription(
        name="OpenFace",
        dimension=128,
        input_size=(96, 96),
        operating_cosine=0.90,
        licence="unknown",
        commercial_use=None,
        weights="openface",
        weights_files=_files("openface_weights"),
    ),
    ModelDescription(
        name="DeepFace",
        dimension=4096,
        input_size=(152, 152),
        operating_cosine=0.77,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="deepface_vggface2",
        weights_files=_files("VGGFace2_DeepFace_weights_val-0.9034"),
    ),
    ModelDescription(
        name="DeepID",
        dimension=160,
        input_size=(47, 55),
        operating_cosine=0.985,
        licence="unknown",
        commercial_use=None,
        weights="deepid",
        weights_files=_files("deepid_weights", tensorflow="deepid_keras_weights.h5"),
    ),
    ModelDescription(
        name="ArcFace",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.32,
        licence="MIT (code); InsightFace's models are for non-commercial research only",
        commercial_use=False,
        weights="arcface",
        weights_files=_files("arcface_weights"),
        align="arcface",
    ),
    ModelDescription(
        name="SFace",
        dimension=128,
        input_size=(112, 112),
        operating_cosine=0.407,
        licence="Apache 2.0",
        commercial_use=True,
        weights="face_recognition_sface_2021dec",
        weights_files=_onnx_only("face_recognition_sface_2021dec.onnx"),
        align="arcface",
    ),
    ModelDescription(
        name="GhostFaceNet",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.35,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="ghostfacenet_v1",
        weights_files=_files("ghostfacenet_v1"),
        align="arcface",
    ),
    ModelDescription(
        name="Buffalo_L",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.45,
        licence="InsightFace: non-commercial research only",
        commercial_use=False,
        weights="buffalo_l_webface_r50",
        weights_files=_onnx_only("buffalo_l/webface_r50.onnx"),
        align="arcface",
    ),
)

_OPENCV = "opencv-contrib-python-headless"
_HAAR = "https://github.com/opencv/opencv/raw/4.9.0/data/haarcascades/"
_OPENCV_CODE = "https://github.com/opencv/opencv"
_YAPALAB = "https://github.com/YapaLab/yolo-face/releases/download/1.0.0/"
_AKANAMETOV = "https://github.com/akanametov/yolo-face/releases/download/1.0.0/"

HAAR_FILES = MappingProxyType(
    {name: _HAAR + name for name in ("haarcascade_frontalface_default.xml", "haarcascade_eye.xml")}
)
"""OpenCV's cascades, with which DeepFace also looks for the eyes that another detector does not give."""


def _yolo(version: str, address: str, landmarks: str = "none") -> DetectorDescription:
    return DetectorDescription(
        name=f"yolo{version}",
        package="ultralytics",
        modules=("ultralytics", "torch"),
        licence="AGPL-3.0 (ultralytics)",
        landmarks=landmarks,
        weights_files=MappingProxyType({f"yolo{version}-face.pt": address}),
    )


DETECTORS = (
    DetectorDescription(
        name="dlib",
        package="dlib-bin",
        modules=("dlib",),
        licence="Boost 1.0 (code), CC0 1.0 (five-point landmarks)",
        landmarks="dlib",
    ),
    DetectorDescription(
        name="opencv",
        package=_OPENCV,
        modules=("cv2",),
        licence="Apache 2.0",
        landmarks="eyes",
        weights_files=HAAR_FILES,
    ),
    DetectorDescription(
        name="ssd",
        package=f"{_OPENCV}<5",
        modules=("cv2",),
        licence="Apache 2.0 (code)",
        landmarks="none",
        weights_files=MappingProxyType(
            {
                "deploy.prototxt": f"{_OPENCV_CODE}/raw/3.4.0/samples/dnn/face_detector/deploy.prototxt",
                "res10_300x300_ssd_iter_140000.caffemodel": (
                    f"{_OPENCV_CODE}_3rdparty/raw/dnn_samples_face_detector_20170830/"
                    "res10_300x300_ssd_iter_140000.caffemodel"
                ),
            }
        ),
    ),
    DetectorDescription(
        name="mtcnn",
        package="mtcnn tensorflow",
        modules=("mtcnn", "tensorflow"),
        licence="MIT",
        landmarks="eyes",
    ),
    DetectorDescription(
        name="fastmtcnn",
        package="facenet-pytorch",
        modules=("facenet_pytorch", "torch"),
        licence="MIT",
        landmarks="eyes",
    ),
    DetectorDescription(
        name="retinaface",
        package="retina-face",
        modules=("retinaface", "onnxruntime"),
        licence="MIT (code)",
        landmarks="five",
        weights_files=MappingProxyType(
            {
                "retinaface.onnx": (
                    "https://github.com/serengil/deepface_models/releases/download/v1.0/retinaface.onnx"
                )
            }
        ),
    ),
    DetectorDescription(
        name="mediapipe",
        package="mediapipe",
        modules=("mediapipe",),
        licence="Apache 2.0",
        landmarks="eyes",
    ),
    DetectorDescription(
        name="yunet",
        package=_OPENCV,
        modules=("cv2",),
        licence="MIT",
        landmarks="eyes",
        weights_files=MappingProxyType(
            {
                "face_detection_yunet_2023mar.onnx": (
                    "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/"
                    "face_detection_yunet_2023mar.onnx"
                )
            }
        ),
    ),
    DetectorDescription(
        name="centerface",
        package=_OPENCV,
        modules=("cv2",),
        licence="MIT",
        landmarks="eyes",
        weights_files=MappingProxyType(
            {
                "centerface.onnx": "https://github.com/Star-Clouds/CenterFace/raw/master/models/onnx/centerface.onnx"
            }
        ),
    ),
    _yolo("v8n", "https://drive.google.com/uc?id=1qcr9DbgsX3ryrz2uU8w4Xm3cOrRywXqb", landmarks="eyes"),
    *(_yolo(version, f"{_YAPALAB}yolo{version}-face.pt") for version in ("v8m", "v8l")),
    *(_yolo(version, f"{_AKANAMETOV}yolo{version}-face.pt") for version in ("v11n", "v11s", "v11m")),
    *(
        _yolo(version, f"{_YAPALAB}yolo{version}-face.pt")
        for version in ("v11l", "v12n", "v12s", "v12m", "v12l")
    ),
    DetectorDescription(
        name="skip",
        package="deepface",
        modules=(),
        licence="none needed: a whole image is a face",
        landmarks="none",
    ),
)


def describe_model(name: str) -> ModelDescription:
    """The model of that name, in any letter case.

    Raises:
        UsageError: There is none.
    """
    for model in MODELS:
        if model.name.lower() == name.lower():
            return model
    known = ", ".join(model.name for model in MODELS)
    raise UsageError(f"there is no model {name!r}; choose one of {known}")


def describe_detector(name: str) -> DetectorDescription:
    """The detector of that name, in any letter case.

    Raises:
        UsageError: There is none.
    """
    for detector in DETECTORS:
        if detector.name.lower() == name.lower():
            return detector
    known = ", ".join(detector.name for detector in DETECTORS)
    raise UsageError(f"there is no detector {name!r}; choose one of {known}")
