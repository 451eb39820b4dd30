"""`models`: the table, and weights brought by hand."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace

import pytest
from typer.testing import CliRunner

from facededup.cli.app import app
from facededup.faces.weights import fetch_detector, missing_weights
from facededup.models.catalog import MODELS, describe_detector
from facededup.progress import SilentProgress


@pytest.fixture(autouse=True)
def weights(tmp_path, monkeypatch):
    """DeepFace's folder of weights, an empty one."""
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    return tmp_path / ".deepface" / "weights"


def models(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_the_list(tmp_path):
    document = tmp_path / "models.json"
    result = models("--json", document)
    assert result.exit_code == 0
    content = json.loads(document.read_text())
    assert content["schema"] == "facededup/models/1"
    assert [model["name"] for model in content["models"]] == [model.name for model in MODELS]
    by_name = {model["name"]: model for model in content["models"]}
    assert by_name["Dlib"]["weights_here"][0]["bytes"] == by_name["Dlib"]["weights_bytes"]
    assert [file["path"] for file in by_name["SFace"]["weights_here"]] == [None]
    assert by_name["SFace"]["align"] == "arcface"
    assert "22.5 MB" in result.output
    detectors = {detector["name"]: detector for detector in content["detectors"]}
    assert by_name["Dlib"]["weights_here"][0]["sources"] == []
    assert by_name["SFace"]["weights_here"][0]["sources"][0].startswith("https://")
    assert detectors["mtcnn"]["missing"] == []
    assert detectors["dlib"]["missing_module"] is None
    absent = {name for name in ("mtcnn", "mediapipe") if importlib.util.find_spec(name) is None}
    assert {name for name in ("mtcnn", "mediapipe") if detectors[name]["missing_module"]} == absent
    assert detectors["yunet"]["missing"] == ["face_detection_yunet_2023mar.onnx"]
    assert "yolov12l" in result.output


def test_import_puts_a_file_where_deepface_looks(tmp_path, weights):
    carried = tmp_path / "arcface_weights.onnx"
    carried.write_bytes(b"x" * 1234)
    result = models("import", carried)
    assert (result.exit_code, "ArcFace" in result.output) == (0, True)
    assert (weights / carried.name).read_bytes() == carried.read_bytes()
    assert "onnx 1.2 kB" in models().output


def test_what_cannot_be_done_is_one_sentence(tmp_path):
    unknown = tmp_path / "unknown.onnx"
    unknown.write_bytes(b"x")
    misspelt = tmp_path / "arcface_wieghts.onnx"
    misspelt.write_bytes(b"x")
    for arguments, code, words in (
        (["import", tmp_path / "nowhere"], 2, "there is no file"),
        (["import", unknown], 2, "no model or detector has a weights file named 'unknown.onnx':"),
        (["import", misspelt], 2, "named 'arcface_wieghts.onnx' (is it 'arcface_weights.onnx'?)"),
        (["fetch", "Nosuch"], 2, "there is no model 'Nosuch'"),
        (
            ["fetch", "SFace", "--engine", "pytorch"],
            2,
            "there are no weights of SFace for the engine 'pytorch'",
        ),
    ):
        result = models(*arguments)
        assert result.exit_code == code
        assert result.output.startswith("error: ")
        assert words in result.output
        assert len(result.output.splitlines()) == 1


def test_the_files_of_a_detector_are_fetched(weights, monkeypatch):
    """From a folder in place of the network; what is here already is left alone."""
    source = weights.parent.parent / "published"
    source.mkdir()
    weights.mkdir(parents=True)
    (weights / "deploy.prototxt").write_bytes(b"here already")
    name = "res10_300x300_ssd_iter_140000.caffemodel"
    (source / name).write_bytes(b"weights")
    files = {file: f"{source.as_uri()}/{file}" for file in ("deploy.prototxt", name)}
    ssd = replace(describe_detector("ssd"), weights_files=files)
    folder = fetch_detector(ssd, SilentProgress())
    assert folder == str(weights)
    assert (weights / name).read_bytes() == b"weights"
    assert (weights / "deploy.prototxt").read_bytes() == b"here already"
    assert missing_weights(ssd) == ()


def test_fetch_of_what_is_here_says_where():
    result = models("fetch", "Dlib")
    assert result.exit_code == 0
    assert "dlib_face_recognition_resnet_model_v1.dat" in result.output
