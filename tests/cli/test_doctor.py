"""`doctor` on this machine, and on broken ones."""

from __future__ import annotations

import json
import os
import sys

import pytest
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.devices import count_gpus
from facededup.errors import UsageError


def doctor(*arguments):
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def states(result):
    return {(check.area, check.name): check.state for check in result.checks}


def test_this_machine_works(store, tmp_path):
    document = tmp_path / "out.json"
    result = doctor("--store", store, "--json", document)
    assert result.exit_code == 0, result.output
    content = json.loads(document.read_text())
    assert (content["schema"], content["works"]) == ("facededup/diagnosis/1", True)
    found = {(check["area"], check["name"]): check for check in content["checks"]}
    assert found["packages", "facededup"]["detail"] == facededup.__version__
    assert found["libraries", "onnx"]["state"] == found["libraries", "faiss"]["state"] == "ok"
    assert "CPUExecutionProvider" in found["libraries", "onnx"]["detail"]
    assert found["folders", "store file"]["state"] == "absent"
    told = found["self-test", "Dlib on auto"]["detail"]
    assert "as dlib (cosine 1.0000" in told
    assert "of two people" in told
    assert "self-test" in result.output
    assert not os.path.exists(store)


def test_what_is_asked_for_and_not_there_is_exit_code_1(store, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    result = doctor("--store", store, "--model", "sface")
    assert result.exit_code == 1
    assert (
        "error: self-test, SFace on auto: the weights file face_recognition_sface_2021dec.onnx"
        in result.output
    )
    if not count_gpus():
        result = doctor("--store", store, "--gpu")
        assert result.exit_code == 1
        assert "error: gpu, driver: sees no GPU" in result.output
    assert doctor("--model", "Nosuch").exit_code == 2


def test_a_store_that_is_none_is_a_problem(tmp_path):
    path = tmp_path / "faces.h5"
    path.write_bytes(b"something else entirely")
    result = facededup.diagnose(store=str(path))
    assert [(check.area, check.name) for check in result.problems] == [("folders", "store file")]


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs a folder in which nobody may write")
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEDUP_CACHE", "/proc/self/cache")
    result = facededup.diagnose(store="/proc/self/faces.h5")
    found = states(result)
    assert found["folders", "cache"] == found["folders", "store"] == "failed"
    assert [check.name for check in result.problems] == ["store"]  # without a cache it is only slower


def test_a_library_that_takes_its_process_down(store, tmp_path, monkeypatch):
    """Not doctor's own: it goes on and says so."""
    (tmp_path / "faiss.py").write_text(
        "import os, sys\nprint('noise')\nsys.stderr.write('boom')\nos.abort()\n"
    )
    (tmp_path / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    result = facededup.diagnose(store=store)
    found = {(check.area, check.name): check for check in result.checks}
    assert found["libraries", "faiss"].state == "failed"
    assert "the test process ended with code -" in found["libraries", "faiss"].detail
    assert found["libraries", "pytorch"].detail == "OSError: libcudart.so.13: cannot open shared object file"
    # PyTorch was not asked for; without FAISS nothing is found.
    assert [check.name for check in result.problems] == ["faiss"]
    assert found["self-test", "Dlib on auto"].state == "ok"


def test_an_unknown_model_is_a_usage_error(store):
    with pytest.raises(UsageError, match="no model 'Nosuch'"):
        facededup.diagnose(store=store, model="Nosuch")
