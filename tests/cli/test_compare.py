"""`compare` on real pictures, as a command and as a function."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import PathNotFoundError, SettingMismatchError
from facededup.types import Outcome


def compare(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_the_same_person_matches_and_another_does_not(pictures, store):
    same = facededup.compare(pictures / "hopper-original.jpg", pictures / "hopper-turned.jpg", store=store)
    assert same.matches
    (pair,) = same.pairs
    assert (pair.a, pair.b, pair.matches) == (0, 0, True)
    assert pair.similarity > 0.7
    assert pair.cosine > same.cosine_cut == pytest.approx(0.93)
    other = facededup.compare(pictures / "hopper-original.jpg", pictures / "collins-dark.jpg", store=store)
    assert not other.matches
    assert other.pairs[0].similarity < 0.2
    assert other.a.chips.shape == (1, 150, 150, 3)
    assert other.fingerprint.align == "chip"
    assert {stage for stage, work in other.metrics.stages.items() if work.items} == {
        "decode",
        "detect",
        "align",
        "embed",
    }


def test_an_image_with_itself_is_identical(pictures, store):
    path = pictures / "collins-original.jpg"
    (pair,) = facededup.compare(path, path, store=store).pairs
    assert pair.similarity == pair.cosine == 1


def test_without_a_face_there_is_a_reason(pictures, store):
    result = facededup.compare(pictures / "no-face-cat.jpg", pictures / "damaged-file.jpg", store=store)
    assert (result.a.outcome, result.b.outcome) == (Outcome.NO_FACE_DETECTED, Outcome.FILE_ERROR)
    assert (result.pairs, result.matches) == ((), False)
    shown = compare(pictures / "no-face-cat.jpg", pictures / "damaged-file.jpg", "--store", store)
    assert shown.exit_code == 0
    assert "NO_FACE_DETECTED (no face was found)" in shown.output
    assert "FILE_ERROR (truncated image)" in shown.output


def test_the_scores_are_those_of_the_store(pictures, store):
    files = [pictures / "hopper-half-size.jpg", pictures / "hopper-low-quality.jpg"]
    facededup.index(files, store=store, processes=1, align="deepface", flip=True, crops=2)
    result = facededup.compare(*files, store=store)
    assert (result.fingerprint.align, result.fingerprint.flip) == ("deepface", True)
    assert result.fingerprint.crops == 2
    found = facededup.find(store=store, threshold=0.0)
    (stored,) = [pair.cosine for pair in found.pairs]
    assert result.pairs[0].cosine == pytest.approx(stored, abs=1e-5)
    with pytest.raises(SettingMismatchError, match="align"):
        facededup.compare(result.a.path, result.b.path, store=store, align="chip")


def test_the_document_and_the_sheet(pictures, store, tmp_path):
    sheet, document = tmp_path / "sheet.png", tmp_path / "out.json"
    both = tmp_path / "both.png"
    parts = {"hopper": (160, 100, 400, 400), "collins": (100, 40, 280, 220)}
    people = [
        np.asarray(Image.open(pictures / f"{name}-original.jpg").crop(part).resize((300, 300)))
        for name, part in parts.items()
    ]
    Image.fromarray(np.concatenate(people, axis=1)).save(both)
    result = compare(
        *(pictures / "collins-original.jpg", both, "--store", store),
        *("--threshold", "0.5", "--sheet", sheet, "--json", document),
    )
    assert result.exit_code == 0, result.output
    content = json.loads(document.read_text())
    assert content["schema"] == "facededup/comparison/1"
    assert [len(image["faces"]) for image in content["images"]] == [1, 2]
    assert [(pair["b"], pair["matches"]) for pair in content["pairs"]] == [(1, True), (0, False)]
    assert content["pairs"][0]["similarity"] > content["threshold"] == 0.5
    drawn = np.asarray(Image.open(sheet).convert("RGB"))
    half = len(drawn) // 2
    # The better pair above the other, each with two faces: the left ones are the same.
    faces = [drawn[top + 50 : top + 240, 20:230] for top in (0, half)]
    assert np.array_equal(*faces)
    assert faces[0].std() > 30
    assert not np.array_equal(drawn[50:240, 260:460], drawn[half + 50 : half + 240, 260:460])


def test_what_cannot_be_done_is_one_sentence(pictures, store, tmp_path):
    with pytest.raises(PathNotFoundError):
        facededup.compare("nowhere.jpg", "nowhere.jpg", store=store)
    hopper, cat = pictures / "hopper-original.jpg", pictures / "no-face-cat.jpg"
    result = compare(hopper, cat, "--store", store, "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "no sheet to draw" in result.output
    result = compare(hopper, hopper, "--store", store, "--sheet", tmp_path / "sheet.nosuch")
    assert (result.exit_code, list(tmp_path.glob("sheet*"))) == (1, [])
    assert "name a .png file" in result.output
    result = compare(hopper, hopper, "--store", store, "--detector", "yolov8n", "--align", "arcface")
    assert result.exit_code == 2
    assert "arcface needs landmarks that the detector yolov8n does not give" in result.output
