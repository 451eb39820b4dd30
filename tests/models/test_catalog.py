import importlib.util
import subprocess
import sys

import pytest
from deepface.config.threshold import thresholds
from deepface.modules import modeling

from facededup.errors import UsageError
from facededup.models.catalog import (
    DEFAULT_DETECTOR,
    DEFAULT_MODEL,
    DETECTORS,
    MODELS,
    describe_detector,
    describe_model,
)


def test_has_every_model_of_deepface():
    assert {model.name for model in MODELS} == set(modeling.AVAILABLE_MODELS["facial_recognition"])


def test_has_every_detector_of_deepface():
    known = {*modeling.AVAILABLE_MODELS["face_detector"], "skip"}
    assert {detector.name for detector in DETECTORS} == known


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_operating_cosine_is_deepfaces_threshold(model):
    assert model.operating_cosine == pytest.approx(1 - thresholds[model.name]["cosine"], abs=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_sizes_are_deepfaces(model):
    """Read from the source of DeepFace's client: building it would download weights."""
    sources = modeling.AVAILABLE_MODELS["facial_recognition"][model.name]
    module, _, client = (sources.get("onnx") or sources["any"]).rpartition(".")
    source = importlib.util.find_spec(module).loader.get_source(module)
    source = source[source.index(f"class {client}") :]
    assert source.split("self.input_shape = ")[1].startswith(f"{model.input_size}\n")
    assert source.split("self.output_shape = ")[1].startswith(f"{model.dimension}\n")


def test_ids_of_weights_are_unique():
    assert len({model.weights for model in MODELS}) == len(MODELS)


def test_names_are_found_in_any_case():
    assert describe_model("dLIB").name == DEFAULT_MODEL
    assert describe_detector("RetinaFace").name == "retinaface"
    assert describe_detector(DEFAULT_DETECTOR).package == "dlib-bin"


def test_unknown_names_list_the_known():
    with pytest.raises(UsageError, match=r"'Dlibb'.*Dlib.*Buffalo_L"):
        describe_model("Dlibb")
    with pytest.raises(UsageError, match=r"'hog'.*dlib.*yolov12l"):
        describe_detector("hog")


def test_catalogue_is_light():
    code = "import sys, facededup.models.catalog; print('numpy' in sys.modules, 'onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
