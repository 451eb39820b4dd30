"""DeepFace's detectors through its real code; weights that cannot be had are made up."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from skimage import data

from facededup.errors import JobError, PackageMissingError, WeightsMissingError
from facededup.faces.deepface_client import DeepFaceClient
from facededup.faces.deepface_detectors import DeepFaceDetector
from facededup.faces.detect import DlibDetector, build_detector
from facededup.images.picture import Picture
from facededup.models.catalog import DETECTORS
from facededup.types import Box, Face


def bgr(image):
    return np.ascontiguousarray(image[..., ::-1])


def centre(box):
    return np.array([box.x + box.w / 2, box.y + box.h / 2])


@pytest.fixture(scope="module")
def exact():
    return build_detector("dlib", "deepface")


def test_the_name_and_the_alignment_decide(exact):
    assert type(exact) is DeepFaceDetector
    assert type(build_detector("dlib", "chip")) is type(build_detector("dlib", "arcface")) is DlibDetector


def test_dlib_is_found_where_deepface_finds_it(exact, astronaut, dlib_weights):
    from deepface.modules import modeling
    from deepface.modules.detection import detect_faces

    modeling.cached_models = {task: {} for task in modeling.AVAILABLE_MODELS}
    (theirs,) = [each.facial_area for each in detect_faces("dlib", bgr(astronaut), align=True)]
    (ours,) = exact.detect(Picture.of(astronaut))
    assert ours.box == Box(theirs.x, theirs.y, theirs.w, theirs.h)
    assert ours.landmarks == (tuple(map(float, theirs.right_eye)), tuple(map(float, theirs.left_eye)))
    assert ours.confidence == pytest.approx(theirs.confidence)


def test_dlib_agrees_with_our_own_detector(astronaut):
    (ours,) = DlibDetector().detect(Picture.of(astronaut[:300]))
    (theirs,) = DeepFaceDetector(DeepFaceClient("dlib")).detect(Picture.of(astronaut[:300]))
    assert np.linalg.norm(centre(ours.box) - centre(theirs.box)) < 15
    eyes = np.array(ours.landmarks[2:4]).mean(axis=0), np.array(ours.landmarks[:2]).mean(axis=0)
    assert np.abs(np.array(theirs.landmarks) - eyes).max() < 5


@pytest.mark.parametrize("exactly", [False, True])
def test_a_turned_face_is_found_and_mapped_back(astronaut, exactly):
    detector = DeepFaceDetector(DeepFaceClient("dlib"), exact=exactly)
    part = astronaut[:300, 60:420]  # 360 wide
    (upright,) = detector.detect(Picture.of(part))
    (turned,) = detector.detect(Picture.of(np.ascontiguousarray(np.rot90(part))))
    expected = [(y, 360 - 1 - x) for x, y in upright.landmarks]
    assert np.abs(np.array(turned.landmarks) - expected).max() < 6


def test_a_large_image_is_looked_at_in_a_copy(astronaut):
    detector = DeepFaceDetector(DeepFaceClient("dlib"))
    large = np.repeat(np.repeat(astronaut[:300], 4, axis=0), 4, axis=1)
    (small,), (face,) = detector.detect(Picture.of(astronaut[:300])), detector.detect(Picture.of(large))
    assert np.linalg.norm(centre(face.box) / 4 - centre(small.box)) < 15
    assert np.abs(np.array(face.landmarks) / 4 - small.landmarks).max() < 5


def test_pictures_without_a_face(exact):
    assert exact.detect(Picture.of(np.ascontiguousarray(data.coffee()))) == ()


def test_skip_takes_the_whole_image():
    image = np.zeros((30, 50, 3), np.uint8)
    assert build_detector("skip").detect(Picture.of(image)) == (Face(Box(0, 0, 50, 30), 0.0),)


def test_opencvs_own_code_with_another_cascade(astronaut, weights_folder):
    """scikit-image carries a cascade in OpenCV's format: it stands in for the one DeepFace downloads."""
    if not hasattr(cv2, "CascadeClassifier"):
        pytest.skip(f"OpenCV {cv2.__version__} is here without its contrib package, which has the cascades")
    with pytest.raises(
        WeightsMissingError, match=r"detector opencv needs the file haarcascade_.*download https"
    ):
        DeepFaceClient("opencv")
    cascade = Path(data.lbp_frontal_face_cascade_filename()).read_text()
    files = [weights_folder / f"haarcascade_{name}.xml" for name in ("frontalface_default", "eye")]
    for file in files:
        # A slip of the pen in it keeps OpenCV from reading it.
        file.write_text(cascade.replace("featuhreParams", "featureParams"))
    (face,) = DeepFaceDetector(DeepFaceClient("opencv")).detect(Picture.of(astronaut))
    assert np.linalg.norm(centre(face.box) - (222, 115)) < 20
    assert face.landmarks == ()  # a cascade of faces sees no eyes
    files[1].write_text(cascade.replace("featureParams", "featuhreParams"))
    with pytest.raises(JobError, match=r"could not open the detector opencv: .*damaged"):
        DeepFaceClient("opencv")


# Landmarks of the made-up network, in boxes of 512 pixels around (528, 528) of an image of 1024.
POINTS = np.array([[-0.2, -0.1], [0.2, -0.12], [0.01, 0.05], [-0.15, 0.2], [0.15, 0.22]])


def write_retinaface(path):
    """A graph with retina-face's outputs that sees one and the same face in every image of 1024 x 1024."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, outputs = [], []
    for stride in (32, 16, 8):
        side = 1024 // stride
        values = [np.zeros((1, side, side, depth), np.float32) for depth in (4, 8, 20)]
        if stride == 32:
            values[0][0, 16, 16, 2] = 0.97
            values[2][0, 16, 16, :10] = POINTS.ravel()
        for value, kind in zip(values, ("cls", "bbox", "landmark"), strict=True):
            name = f"{kind}{stride}"
            nodes.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value)))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, "h", "w", 3])
    graph = helper.make_graph(nodes, "g", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)


@pytest.mark.filterwarnings("ignore")
def test_retinaface_gives_five_landmarks_in_the_standard_order(weights_folder):
    """In a process of its own: retina-face settles on an engine when it is imported."""
    if importlib.util.find_spec("retinaface") is None:
        pytest.skip("retina-face is not installed")
    write_retinaface(weights_folder / "retinaface.onnx")
    code = (
        "import numpy as np\n"
        "from facededup.faces.detect import build_detector\n"
        "from facededup.images.picture import Picture\n"
        "picture = Picture.of(np.full((256, 256, 3), 99, np.uint8))\n"
        "(face,) = build_detector('retinaface').detect(picture)\n"
        "print([*map(float, np.ravel(face.landmarks))], face.box, face.confidence)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    landmarks, rest = done.stdout.split("]")
    expected = ((512 + 7.5) + POINTS * 512) / 4
    assert np.abs(np.fromstring(landmarks[1:], sep=",").reshape(5, 2) - expected).max() < 1
    assert rest.strip().startswith("Box(x=66, y=66, w=127, h=127) 0.97")


@pytest.mark.parametrize("detector", DETECTORS, ids=lambda detector: detector.name)
def test_what_is_missing_is_said_and_nothing_is_downloaded(detector, weights_folder, monkeypatch):
    """Whatever is installed here: each detector opens, or says in one sentence what to do."""
    monkeypatch.setattr("socket.socket.connect", lambda *_: pytest.fail("it went to the network"))
    if detector.name in ("dlib", "skip"):
        build_detector(detector.name, "deepface")
        return
    missing = [module for module in detector.modules if importlib.util.find_spec(module) is None]
    if missing:
        with pytest.raises(PackageMissingError, match=f"needs the package {missing[0]}.*pip install"):
            build_detector(detector.name)
    elif detector.weights_files:
        name = next(iter(detector.weights_files))
        with pytest.raises(WeightsMissingError, match=f"needs the file {name}.*https://") as caught:
            build_detector(detector.name)
        assert str(weights_folder) in str(caught.value)
    else:
        pytest.skip(f"{detector.name} is installed, with its weights")
    assert list(weights_folder.iterdir()) == []


def test_what_is_looked_for_is_what_deepface_reads():
    """The names of the catalogue stand in DeepFace's own code."""
    from deepface.modules import modeling

    for detector in DETECTORS:
        if detector.name in ("skip", "retinaface"):
            continue
        module = modeling.AVAILABLE_MODELS["face_detector"][detector.name]["any"].rpartition(".")[0]
        source = importlib.util.find_spec(module).loader.get_source(module)
        for name, address in detector.weights_files.items():
            assert f'"{name}"' in source
            assert address in source or "haarcascade" in name


def test_damaged_weights_are_one_sentence(weights_folder):
    (weights_folder / "face_detection_yunet_2023mar.onnx").write_bytes(b"not a graph")
    with pytest.raises(JobError, match="DeepFace could not open the detector yunet: "):
        DeepFaceClient("yunet")


def test_the_environment_is_left_as_it_was(monkeypatch):
    monkeypatch.setenv("DEEPFACE_BACKEND_ENGINE", "tensorflow")
    monkeypatch.delenv("TF_USE_LEGACY_KERAS", raising=False)
    before = dict(os.environ)
    DeepFaceClient("dlib")
    assert dict(os.environ) == before
