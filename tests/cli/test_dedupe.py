"""`dedupe`: the proof of concept's command lines and files."""

from __future__ import annotations

import json
import os

import pytest
from typer.testing import CliRunner

import facededup
from facededup.cli.dedupe import app

NAMES = ("-p", "-t", "--threshold", "--queue", "--reset", "--report", "--progress", "--model-name")
NAMES += ("--detector-backend", "--dedupe-threshold", "--report-threshold", "--symmetric", "--edges")


def run(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result.output


def read(folder, what):
    with open(folder / f"_{what}_Dlib_dlib.json", encoding="utf-8") as file:
        return json.load(file)


def test_help_has_the_names_and_says_whose_scores_these_are():
    text = run("--help")
    assert all(name in text for name in NAMES)
    assert "Defaults and scores are facededup's" in text


def test_findings_metrics_and_report(pictures):
    text = run(pictures, "-p", "2", "--report", "--symmetric", "--edges", "5", "--report-threshold", "0.6")
    findings = read(pictures, "findings")
    one, other = str(pictures / "hopper-original.jpg"), str(pictures / "hopper-dark.jpg")
    assert other in dict(findings[one])
    assert dict(findings[other])[one] == dict(findings[one])[other] > 0.4
    assert findings[str(pictures / "no-face-cat.jpg")] == [["NO_FACE_DETECTED", 99]]
    sections = read(pictures, "perf")
    assert list(sections) == ["timing", "perfs", "info", "options"]
    assert sections["info"]["Total Files"] == 17
    assert (sections["options"]["model"], sections["options"]["threshold"]) == ("Dlib", 0.4)
    page = pictures / "_report_Dlib_dlib.html"
    assert page.read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert f"Report saved to {page}" in text
    again = run(pictures, "-p", "2", "-t", "0.9")
    assert read(pictures, "perf")["info"]["New Images"] == 0, again
    assert other not in dict(read(pictures, "findings").get(one, []))


def test_encodings_of_the_proof_of_concept_are_taken_over(pictures):
    store = str(pictures.parent / "as-deepface.h5")
    facededup.index([pictures], store=store, align="deepface", processes=2)
    with facededup.store.opener.open_store(store).snapshot() as snapshot:
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        encodings = {
            os.fsdecode(snapshot.images.path[row]): (7 * vector).tolist()
            for row, vector in zip(snapshot.faces.image.tolist(), vectors, strict=True)
        }
    encodings[str(pictures / "no-face-cat.jpg")] = "NO_FACE_DETECTED"
    (pictures / "_encoding_Dlib_dlib.json").write_text(json.dumps(encodings))
    expected = facededup.find(store=store, limit=0)
    text = run(pictures, "-p", "2", "--import-encodings", pictures)
    assert "Found 13 existing encodings" in text
    # The rest: two pictures without a face, the damaged one, and the copy of one that is known.
    assert read(pictures, "perf")["info"]["New Images"] == 4
    found = {
        frozenset((path, other[0])): other[1]
        for path, others in read(pictures, "findings").items()
        for other in others
        if other[1] != 99
    }
    for pair in expected.pairs:
        assert found[frozenset((pair.a.path, pair.b.path))] == pytest.approx(pair.similarity, abs=1e-5)


@pytest.mark.parametrize(
    "content",
    [
        "nonsense",
        "[1]",
        '{"a.jpg": [1, 2]}',
        '{"a.jpg": {"b": 1}}',
        f'{{"a.jpg": [1{"0" * 400}]}}',
        "[" * 100_000,
        '{"\\ud800": "NO FACE DETECTED"}',
        '{"a.jpg": "\\ud800"}',
        '{"a\\u0000.jpg": "NO FACE DETECTED"}',
        '{"": "NO FACE DETECTED"}',
    ],
)
def test_files_that_are_no_encodings(pictures, content):
    (pictures / "_encoding_Dlib_dlib.json").write_text(content)
    result = CliRunner().invoke(app, [str(pictures), "--import-encodings", str(pictures)])
    assert result.exit_code == 2
    assert "_encoding_Dlib_dlib.json" in result.output
    assert "Traceback" not in result.output


def test_no_encodings_of_this_model(pictures):
    (pictures / "_encoding_VGG-Face_retinaface.json").write_text("{}")
    result = CliRunner().invoke(app, [str(pictures), "--import-encodings", str(pictures)])
    assert result.exit_code == 2
    assert "there are _encoding_VGG-Face_retinaface.json" in result.output
