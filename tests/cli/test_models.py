"""`models`: the table, and weights brought by hand."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from facededup.cli.app import app
from facededup.models.catalog import MODELS


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
    for arguments, code, words in (
        (["import", tmp_path / "nowhere"], 2, "there is no file"),
        (["import", unknown], 2, "no model has a weights file named 'unknown.onnx'"),
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


def test_fetch_of_what_is_here_says_where():
    result = models("fetch", "Dlib")
    assert result.exit_code == 0
    assert "dlib_face_recognition_resnet_model_v1.dat" in result.output
