"""The recognition models and face detectors as data. Nothing here loads a model or a framework."""

from __future__ import annotations

from dataclasses import dataclass

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
        weights_file: Name of the file, in the ONNX format where DeepFace has several formats.
        weights_bytes: Its size, None where it is not recorded.
        align: How a face is cut out by default: `chip` is dlib's five-point chip, `box` the detector's box
            turned by the eyes as DeepFace does it.
        impostors: (cosine, false match rate) points of a measured curve, by rising cosine; empty if none was
            measured.
    """

    name: str
    dimension: int
    input_size: tuple[int, int]
    operating_cosine: float
    operating_cosine_source: str = _DEEPFACE_THRESHOLD
    licence: str
    commercial_use: bool | None
    weights: str
    weights_file: str
    weights_bytes: int | None = None
    align: str = "box"
    impostors: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorDescription:
    """One face detector.

    Attributes:
        name: DeepFace's name of it.
        package: The distribution to install for it (`pip install PACKAGE`).
        licence: A note on its licence.
    """

    name: str
    package: str
    licence: str


MODELS = (
    ModelDescription(
        name="Dlib",
        dimension=128,
        input_size=(150, 150),
        operating_cosine=0.93,
        licence="CC0 1.0",
        commercial_use=True,
        weights="dlib_face_recognition_resnet_model_v1",
        weights_file="dlib_face_recognition_resnet_model_v1.dat",
        weights_bytes=22_466_066,
        align="chip",
        impostors=((0.93, 6e-4), (0.941, 1e-4), (0.953, 1e-5), (0.963, 1e-6)),
    ),
    ModelDescription(
        name="VGG-Face",
        dimension=4096,
        input_size=(224, 224),
        operating_cosine=0.32,
        licence="CC BY-NC",
        commercial_use=False,
        weights="vgg_face",
        weights_file="vgg_face_weights.onnx",
    ),
    ModelDescription(
        name="Facenet",
        dimension=128,
        input_size=(160, 160),
        operating_cosine=0.60,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="facenet",
        weights_file="facenet_weights.onnx",
    ),
    ModelDescription(
        name="Facenet512",
        dimension=512,
        input_size=(160, 160),
        operating_cosine=0.70,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="facenet512",
        weights_file="facenet512_weights.onnx",
    ),
    ModelDescription(
        name="OpenFace",
        dimension=128,
        input_size=(96, 96),
        operating_cosine=0.90,
        licence="unknown",
        commercial_use=None,
        weights="openface",
        weights_file="openface_weights.onnx",
    ),
    ModelDescription(
        name="DeepFace",
        dimension=4096,
        input_size=(152, 152),
        operating_cosine=0.77,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="deepface_vggface2",
        weights_file="VGGFace2_DeepFace_weights_val-0.9034.onnx",
    ),
    ModelDescription(
        name="DeepID",
        dimension=160,
        input_size=(47, 55),
        operating_cosine=0.985,
        licence="unknown",
        commercial_use=None,
        weights="deepid",
        weights_file="deepid_weights.onnx",
    ),
    ModelDescription(
        name="ArcFace",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.32,
        licence="MIT (code); InsightFace's models are for non-commercial research only",
        commercial_use=False,
        weights="arcface",
        weights_file="arcface_weights.onnx",
    ),
    ModelDescription(
        name="SFace",
        dimension=128,
        input_size=(112, 112),
        operating_cosine=0.407,
        licence="Apache 2.0",
        commercial_use=True,
        weights="face_recognition_sface_2021dec",
        weights_file="face_recognition_sface_2021dec.onnx",
    ),
    ModelDescription(
        name="GhostFaceNet",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.35,
        licence="MIT (code); of the weights unknown",
        commercial_use=None,
        weights="ghostfacenet_v1",
        weights_file="ghostfacenet_v1.onnx",
    ),
    ModelDescription(
        name="Buffalo_L",
        dimension=512,
        input_size=(112, 112),
        operating_cosine=0.45,
        licence="InsightFace: non-commercial research only",
        commercial_use=False,
        weights="buffalo_l_webface_r50",
        weights_file="buffalo_l/webface_r50.onnx",
    ),
)

_OPENCV = "opencv-contrib-python-headless"

DETECTORS = (
    DetectorDescription(
        name="dlib", package="dlib-bin", licence="Boost 1.0 (code), CC0 1.0 (five-point landmarks)"
    ),
    DetectorDescription(name="opencv", package=_OPENCV, licence="Apache 2.0"),
    DetectorDescription(name="ssd", package=f"{_OPENCV}<5", licence="Apache 2.0 (code)"),
    DetectorDescription(name="mtcnn", package="mtcnn", licence="MIT"),
    DetectorDescription(name="fastmtcnn", package="facenet-pytorch", licence="MIT"),
    DetectorDescription(name="retinaface", package="retina-face", licence="MIT (code)"),
    DetectorDescription(name="mediapipe", package="mediapipe", licence="Apache 2.0"),
    DetectorDescription(name="yunet", package=_OPENCV, licence="MIT"),
    DetectorDescription(name="centerface", package=_OPENCV, licence="MIT"),
    *(
        DetectorDescription(name=f"yolo{version}", package="ultralytics", licence="AGPL-3.0 (ultralytics)")
        for version in (
            *("v8n", "v8m", "v8l"),
            *("v11n", "v11s", "v11m", "v11l"),
            *("v12n", "v12s", "v12m", "v12l"),
        )
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
