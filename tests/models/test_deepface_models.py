"""Every model on every engine, through DeepFace's own loading code, against DeepFace's own answer.

The weights are random numbers: what is tested is that the same pixels give the same embedding.
"""

import importlib.util
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from random_weights import deepface_client, write_onnx, write_weights
from skimage import data

from facededup.errors import JobError, WeightsMissingError
from facededup.faces.align import build_aligner
from facededup.faces.detect import build_detector
from facededup.images.picture import Picture
from facededup.models.catalog import MODELS, describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.models.weights import find_weights

LARGE = {"VGG-Face", "DeepFace", "Facenet", "Facenet512", "ArcFace"}
SLOW = {(name, engine) for name in LARGE for engine in ("pytorch", "tensorflow")} | {
    ("OpenFace", "tensorflow"),
    ("GhostFaceNet", "tensorflow"),
}
PAIRS = [
    pytest.param(
        model,
        engine,
        id=f"{model.name}-{engine}",
        # TensorFlow takes half a minute to trace a locally connected layer, and does it three times here.
        marks=[pytest.mark.slow, pytest.mark.timeout(900)] if (model.name, engine) in SLOW else [],
    )
    for model in MODELS
    if model.name != "Dlib"
    for engine in model.weights_files
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    return tmp_path


def faces_for(model, count=5):
    """uint8 (count, height, width, 3): patches of colour with some noise, no symmetry, no two alike."""
    width, height = model.input_size
    numbers = np.random.default_rng(1)
    patches = numbers.integers(0, 224, (count, 4, 4, 3)).repeat(-(-height // 4), 1).repeat(-(-width // 4), 2)
    noise = numbers.integers(0, 32, (count, height, width, 3))
    return (patches[:, :height, :width] + noise).astype(np.uint8)


def deepface_represent(model, engine, faces, monkeypatch, detector="skip"):
    """float64 (n, dimension): what `DeepFace.represent` gives for images with one face each."""
    deepface_client(model, engine)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from deepface import DeepFace
        from deepface.commons import backend_utils
        from deepface.modules import modeling

        monkeypatch.setattr(backend_utils, "_backend_engine", engine)
        monkeypatch.setattr(
            modeling, "cached_models", {task: {} for task in modeling.AVAILABLE_MODELS}, raising=False
        )
        images = [np.ascontiguousarray(face[..., ::-1]) for face in faces]
        results = DeepFace.represent(images, model_name=model.name, detector_backend=detector)
    return np.array([result["embedding"] for (result,) in results])


@pytest.mark.parametrize(("model", "engine"), PAIRS)
@pytest.mark.filterwarnings("ignore")
def test_equals_deepface(model, engine, require, monkeypatch):
    require(engine)
    if model.name == "Buffalo_L" and importlib.util.find_spec("insightface") is None:
        pytest.skip("insightface is not installed, which DeepFace needs for Buffalo_L")
    write_weights(model, engine)
    faces = faces_for(model)
    opened = open_engine(model, engine=engine)
    assert (opened.name, opened.model) == (engine, model)
    rows = opened.run(faces)
    assert (rows.shape, rows.dtype) == ((5, model.dimension), np.float32)
    expected = deepface_represent(model, engine, faces, monkeypatch)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.ptp(expected, axis=0).max() > 1e-2, "the faces must differ for the test to say anything"
    np.testing.assert_allclose(Encoder(opened).encode(faces), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "engine"),
    [("Facenet512", "onnx"), ("ArcFace", "onnx"), ("SFace", "onnx"), ("DeepID", "pytorch")],
)
@pytest.mark.filterwarnings("ignore")
def test_align_deepface_equals_deepface_on_a_photo(name, engine, require, home, monkeypatch):
    """From the photo to the embedding: found, turned, cut and embedded as DeepFace does it.

    Chips have whole values where DeepFace has fractions: hence 1e-3, half a step of 255 being 2e-3.
    """
    require(engine)
    model = describe_model(name)
    photo = np.ascontiguousarray(data.astronaut()[:300, 40:440])
    for file in ("shape_predictor_5_face_landmarks.dat", "dlib_face_recognition_resnet_model_v1.dat"):
        packaged = find_weights(file)
        os.makedirs(home / ".deepface" / "weights", exist_ok=True)
        os.symlink(packaged, home / ".deepface" / "weights" / file)
    write_weights(model, engine)
    faces = build_detector("dlib", "deepface").detect(Picture.of(photo))
    chips = build_aligner("deepface", "dlib", name)(photo, faces)
    ours = Encoder(open_engine(model, engine=engine)).encode(chips)
    # DeepFace answers to one image in another form than to several.
    expected = deepface_represent(model, engine, [photo, photo], monkeypatch, detector="dlib")[:1]
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-3)


def test_buffalo_runs_without_insightface():
    """Its own preparation: RGB from -1 to 1, channels first."""
    import onnxruntime

    model = describe_model("Buffalo_L")
    path = write_weights(model, "onnx")
    faces = faces_for(model)
    blob = ((faces.astype(np.float32) - 127.5) / 127.5).transpose(0, 3, 1, 2)
    (expected,) = onnxruntime.InferenceSession(path).run(None, {"chips": blob})
    embeddings = open_engine(model).run(faces)
    np.testing.assert_allclose(embeddings, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("held", [False, True])
def test_a_graph_for_one_face_takes_many(held):
    """In one batch where that gives the same, else one by one."""
    model = describe_model("SFace")
    write_onnx(model, write_weights(model, "onnx"), held=held)
    engine = open_engine(model)
    faces = faces_for(model, 20)
    together = engine.run(faces)
    assert together.shape == (20, 128)
    for number in (0, 7, 19):
        np.testing.assert_allclose(engine.run(faces[number : number + 1])[0], together[number], rtol=1e-4)
    assert engine.takes_batches is not held


@pytest.mark.parametrize(("model", "engine"), PAIRS)
def test_missing_weights_name_file_command_and_folder(model, engine, require, home):
    require(engine)
    with pytest.raises(WeightsMissingError) as caught:
        open_engine(model, engine=engine)
    message = str(caught.value)
    assert model.weights_files[engine] in message
    assert f"facededup models fetch {model.name} --engine {engine}" in message
    assert str(home) in message
    assert not os.path.exists(home / ".deepface"), "DeepFace was not asked, so nothing was downloaded"


@pytest.mark.parametrize("engine", ["onnx", "pytorch", "tensorflow"])
@pytest.mark.filterwarnings("ignore")
def test_weights_that_are_none(engine, require):
    require(engine)
    model = describe_model("DeepID")
    path = write_weights(model, engine)
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(JobError, match="could not open the model DeepID"):
        open_engine(model, engine=engine)


@pytest.mark.parametrize("engine", ["pytorch", "tensorflow"])
@pytest.mark.filterwarnings("ignore")
def test_auto_takes_the_engine_whose_weights_are_here(engine, require):
    require(engine)
    model = describe_model("DeepID")
    write_weights(model, engine)
    assert open_engine(model).name == engine
    write_weights(model, "onnx")
    assert open_engine(model, gpu=False).name == "onnx"


def test_auto_without_weights_asks_for_the_first_engines():
    with pytest.raises(WeightsMissingError, match=r"arcface_weights\.onnx"):
        open_engine(describe_model("ArcFace"))


@pytest.mark.slow
def test_tensorflow_imported_with_keras_3_is_told(require):
    require("tensorflow")
    write_weights(describe_model("DeepID"), "tensorflow")
    code = (
        "import os; os.environ.pop('TF_USE_LEGACY_KERAS', None)\n"
        "import tensorflow; tensorflow.keras.layers\n"
        "from facededup.models.catalog import describe_model\n"
        "from facededup.models.engine import open_engine\n"
        "open_engine(describe_model('DeepID'), engine='tensorflow')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "JobError: TensorFlow was imported with Keras 3" in done.stderr
