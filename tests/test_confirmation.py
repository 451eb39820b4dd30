"""A second model's word on the pairs near the threshold."""

import csv
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest
from random_weights import write_weights
from synthetic import record
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import UsageError
from facededup.models.catalog import describe_model
from facededup.models.scores import similarity
from facededup.store.base import Batch, Content
from facededup.store.opener import open_store
from facededup.types import Box, Face

SECOND = "SFace"
WIDE = 20.0
"""A band that holds every pair."""


@pytest.fixture(autouse=True)
def home(tmp_path_factory, monkeypatch):
    """DeepFace's folder, empty."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("DEEPFACE_HOME", str(folder))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory, all_pictures):
    """The folder with pictures of two people, and a store of them."""
    folder = tmp_path_factory.mktemp("confirmation")
    shutil.copytree(all_pictures, folder / "pictures")
    store = str(folder / "faces.h5")
    facededup.index([folder / "pictures"], store=store, processes=1)
    return folder / "pictures", store


@pytest.fixture
def photos(made, tmp_path):
    """The same, to be changed."""
    folder = tmp_path / "pictures"
    shutil.copytree(made[0], folder)
    store = str(tmp_path / "faces.h5")
    facededup.index([folder], store=store, processes=1)
    return folder, store


def cosines_of(folder, store, **options):
    """What a store made carefully from the start says of every pair, by names."""
    facededup.index([folder], store=store, processes=1, flip=True, crops=5, **options)
    found = facededup.find(store=store, threshold=-5.0, limit=0)
    return {names(pair): pair.cosine for pair in found.pairs}


def names(pair):
    return tuple((os.path.basename(face.path), face.face) for face in (pair.a, pair.b))


def find(*line):
    return CliRunner().invoke(app, ["find", *map(str, line)], catch_exceptions=False)


def test_the_default_model_looks_more_carefully(made, tmp_path):
    folder, store = made
    expected = cosines_of(folder, str(tmp_path / "careful.h5"))
    found = facededup.find(store=store, threshold=-1.0, confirm_model="Dlib", confirm_band=WIDE)
    said = found.confirmation
    assert (said.model, said.near, said.unread) == ("Dlib", len(found.pairs), 0)
    assert said.operating_cosine > describe_model("Dlib").operating_cosine
    for pair in found.pairs:
        wanted = similarity(expected[names(pair)], said.operating_cosine)
        assert pair.second_similarity == pytest.approx(wanted, abs=1e-4)
    reached = sum(expected[names(pair)] >= said.operating_cosine for pair in found.pairs)
    assert 0 < said.confirmed == reached < len(found.pairs)
    assert found.metrics.engine == "onnx"
    assert found.metrics.stages["embed"].items == 13 - 1  # copies are looked at once


def test_another_model_has_its_own_cut_and_scale(made, tmp_path):
    folder, store = made
    model = describe_model(SECOND)
    write_weights(model, "onnx")
    expected = cosines_of(folder, str(tmp_path / "second.h5"), model=SECOND, engine="onnx")
    found = facededup.find(store=store, confirm_model=SECOND, confirm_band=WIDE, engine="onnx")
    assert found.confirmation.operating_cosine == model.operating_cosine
    assert found.pairs
    for pair in found.pairs:
        wanted = similarity(expected[names(pair)], model.operating_cosine)
        assert pair.second_similarity == pytest.approx(wanted, abs=1e-4)


def test_only_pairs_near_the_threshold_are_scored_and_the_list_stays_what_it_is(made):
    _, store = made
    plain = facededup.find(store=store, threshold=0.5)
    scores = sorted({pair.similarity for pair in plain.pairs})
    band = scores[len(scores) // 2] - 0.5 + 1e-9
    found = facededup.find(store=store, threshold=0.5, confirm_model="Dlib", confirm_band=band)
    assert [(pair.a, pair.b, pair.similarity, pair.cosine) for pair in found.pairs] == [
        (pair.a, pair.b, pair.similarity, pair.cosine) for pair in plain.pairs
    ]
    near = [pair.similarity <= 0.5 + band for pair in found.pairs]
    assert [pair.second_similarity is not None for pair in found.pairs] == near
    assert 0 < found.confirmation.near == sum(near) < len(near)
    assert plain.confirmation is None
    assert all(pair.second_similarity is None for pair in plain.pairs)


def test_a_photo_and_its_copy_score_exactly_one(photos, tmp_path):
    folder, store = photos
    photo = min(path for path in folder.rglob("*") if path.is_file())
    shutil.copy(photo, folder / "again.png")
    facededup.index([folder], store=store, processes=1)
    found = facededup.find(store=store, confirm_model="Dlib", confirm_band=WIDE)
    twins = [pair for pair in found.pairs if pair.cosine == 1.0]
    assert twins
    assert {pair.second_similarity for pair in twins} == {1.0}


def test_photos_that_are_gone_or_changed_leave_their_pairs_without(photos, tmp_path):
    folder, store = photos
    (folder / "hopper-dark.jpg").unlink()
    (folder / "hopper-mirror.jpg").write_bytes((folder / "collins-original.jpg").read_bytes())
    files = {name: tmp_path / f"out.{name}" for name in ("json", "csv")}
    shown = find(
        *("--store", store, "--confirm-model", "Dlib", "--confirm-band", WIDE),
        *("--json", files["json"], "--csv", files["csv"]),
    )
    assert shown.exit_code == 0
    document = json.loads(files["json"].read_text())
    gone = [
        bool({"hopper-dark.jpg", "hopper-mirror.jpg"} & {os.path.basename(pair[s]["path"]) for s in "ab"})
        for pair in document["pairs"]
    ]
    assert 0 < sum(gone) < len(gone)
    assert [pair["second_similarity"] is None for pair in document["pairs"]] == gone
    said = document["confirmation"]
    assert (said["model"], said["near"], said["unread"]) == ("Dlib", len(gone), sum(gone))
    with open(files["csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["second_similarity"] for row in rows] == [
        "" if pair["second_similarity"] is None else repr(pair["second_similarity"])
        for pair in document["pairs"]
    ]
    line = (
        f"second model Dlib confirms {said['confirmed']} of {len(gone)} pairs near the threshold "
        f"(similarity 0.4 to 20.4); {sum(gone)} not looked at again: a photo is gone or changed"
    )
    assert line in " ".join(shown.stdout.split())


@pytest.mark.parametrize(
    "face",
    [
        Face(Box(0, 0, 0, 0), 0.0),
        Face(Box(40, 40, 99, 99), 0.0),
        Face(Box(40, 40, 99, 99), 0.0, ((1e9, 1.0),) * 5),
        Face(Box(40, 40, 99, 99), 0.0, ((50.0, 50.0),) * 5),
        Face(Box(9999, 40, 99, 99), 0.0, tuple((60.0 + k, 60.0 - k) for k in range(5))),
        Face(Box(40, 40, 99999, 99), 0.0, tuple((60.0 + k, 60.0 - k) for k in range(5))),
    ],
)
def test_numbers_that_are_no_face_are_not_cut_out(photos, face):
    folder, store = photos
    path = folder / "no-face-cat.jpg"
    digest = hashlib.sha256(path.read_bytes()).digest()
    with open_store(store).writer() as writer:
        vector = writer.snapshot.embeddings(0, 1)
        image = record(os.fsencode(path), digest)
        writer.commit(Batch(images=(image,), contents=(Content(digest, (face,), vector),)))
    found = facededup.find(store=store, confirm_model="Dlib", confirm_band=WIDE)
    made_up = ["cat" in os.path.basename(pair.a.path + pair.b.path) for pair in found.pairs]
    assert sum(made_up) > 0
    assert [pair.second_similarity is None for pair in found.pairs] == made_up


def test_missing_weights_end_the_run_before_the_search(photos, tmp_path):
    folder, store = photos
    shown = find("--store", store, "--confirm-model", SECOND)
    assert shown.exit_code == 1
    assert SECOND in shown.stderr
    with open_store(store).snapshot() as snapshot:
        assert snapshot.findings() is None
    new = str(tmp_path / "new.h5")
    line = ["run", str(folder), "--store", new, "--confirm-model", SECOND]
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 1
    assert not Path(new).exists()


def test_a_second_look_that_would_be_the_first_one_is_refused(made, tmp_path):
    folder, _ = made
    store = str(tmp_path / "careful.h5")
    facededup.index([folder / "hopper-dark.jpg"], store=store, processes=1, flip=True, crops=5)
    shown = find("--store", store, "--confirm-model", "Dlib")
    assert shown.exit_code == 2
    assert "another model" in shown.stderr
    assert find("--store", store, "--confirm-model", "NoSuch").exit_code == 2


@pytest.mark.parametrize("options", [{"confirm_model": "Dlib"}, {"normalize": True}])
def test_a_search_against_a_base_has_no_second_scores(made, tmp_path, options):
    _, store = made
    base = shutil.copy(store, tmp_path / "base.h5")
    with pytest.raises(UsageError, match="--against gives no second scores"):
        facededup.find(store=store, against=str(base), **options)


def test_where_nothing_is_near_there_is_nothing_to_confirm(made):
    _, store = made
    found = facededup.find(store=store, threshold=0.999999, confirm_model="Dlib", confirm_band=1e-9)
    assert (found.confirmation.near, found.confirmation.confirmed, found.confirmation.unread) == (0, 0, 0)
    shown = find("--store", store, "--threshold", 0.999999, "--confirm-model", "Dlib", "--confirm-band", 1e-9)
    assert "second model Dlib: no pair is near the threshold (similarity 1 to 1)" in shown.stdout
