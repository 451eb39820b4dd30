from __future__ import annotations

import json
import os

import pytest

from facededup.models.catalog import DETECTORS, MODELS
from facededup.report.json_report import (
    findings_document,
    models_document,
    search_document,
    status_document,
    write_findings,
    write_json,
)

FINDINGS_KEYS = [
    "schema",
    "store",
    "model",
    "detector",
    "threshold",
    "operating_cosine",
    "operating_cosine_source",
    "complete",
    "search",
    "images",
    "faces",
    "expected_false_pairs",
    "true_pairs_kept",
    "suppressed",
    "decisions",
    "clusters_total",
    "clusters",
    "pairs_total",
    "pairs",
    "unencoded",
    "group_by",
    "analytics",
    "confirmation",
    "metrics",
]


def test_findings_have_the_fields_of_their_schema_in_order(found):
    document = findings_document(found)
    assert list(document) == FINDINGS_KEYS
    assert document["schema"] == "facededup/findings/1"
    assert document["images"] == {"total": 12, "ok": 9, "no_face": 1, "multiple_faces": 0, "failed": 2}
    assert document["clusters"][1] == {
        "id": "ba9876543210",
        "size": 2,
        "min_similarity": 0.95,
        "new": False,
        "faces": [
            {"path": "/photos/a.jpg", "face": 0, "box": [10, -2, 30, 40]},
            {"path": "/photos/b/c.jpg", "face": 3, "box": [10, -2, 30, 40]},
        ],
        "mean_similarity": None,
        "medoid": None,
        "bridges": [],
        "decided": False,
    }
    assert document["pairs"][0] == {
        "a": {"path": "/photos/plain.jpg", "face": 0},
        "b": {"path": "/photos/with space and 'quotes\".jpg", "face": 1},
        "similarity": 0.987654321012345,
        "cosine": 0.998,
        "new": True,
        "decision": None,
        "same_photo": False,
        "normalized": None,
        "second_similarity": None,
    }
    assert document["unencoded"] == [
        {"path": "/photos/line\nbreak.jpg", "outcome": "FILE_ERROR", "reason": "it is not an image"}
    ]


def test_the_written_file_is_the_document(found, tmp_path):
    path = tmp_path / "findings.json"
    write_findings(found, str(path))
    written = json.loads(path.read_bytes())
    document = findings_document(found)
    for timed in (written, document):
        timed.pop("metrics")
    assert written == document
    assert list(written) == FINDINGS_KEYS[:-1]


def test_the_file_is_ascii_and_paths_survive_byte_for_byte(found, tmp_path):
    path = tmp_path / "findings.json"
    write_findings(found, str(path))
    text = path.read_bytes().decode("ascii")
    paths = [pair["b"]["path"] for pair in json.loads(text)["pairs"]]
    assert b"/photos/latin-\xe9.jpg" in [os.fsencode(name) for name in paths]


def test_empty_lists_are_written_as_such(tmp_path):
    path = tmp_path / "empty.json"
    write_json({"a": [], "b": iter(()), "c": iter([1, 2])}, str(path))
    assert json.loads(path.read_text()) == {"a": [], "b": [], "c": [1, 2]}


def test_numbers_json_does_not_know_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json({"a": float("nan")}, str(tmp_path / "a.json"))


def test_search_document(looked_up):
    document = search_document(looked_up)
    assert document["schema"] == "facededup/search/1"
    assert document["faces"][1] == {"face": 1, "box": [5, 6, 7, 8], "confidence": 0.5}
    assert document["matches"][0] == {
        "probe": 0,
        "path": "/photos/latin-\udce9.jpg",
        "face": 2,
        "box": [1, 2, 3, 4],
        "similarity": 0.9,
        "cosine": 0.9883,
    }


def test_status_document(status):
    document = status_document(status)
    assert document["schema"] == "facededup/status/1"
    assert document["fingerprint"]["model"] == "Dlib"
    assert document["last_run"]["images"] == 12
    assert document["findings"] is None


def test_models_document_can_be_written(tmp_path):
    path = tmp_path / "models.json"
    write_json(models_document(MODELS, DETECTORS), str(path))
    models = json.loads(path.read_text())["models"]
    assert [model["name"] for model in models] == [model.name for model in MODELS]
    assert models[0]["input_size"] == [150, 150]
