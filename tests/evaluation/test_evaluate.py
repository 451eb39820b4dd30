"""`evaluate` from end to end, on the pictures of two people and on LFW."""

import csv
import json
import re
import shutil

import pytest
from typer.testing import CliRunner

import facededup
from facededup.calibration import read_calibration
from facededup.cli.app import app
from facededup.errors import PathNotFoundError, SettingMismatchError, UsageError
from facededup.evaluation.labels import person_of, read_groups, read_pairs
from facededup.evaluation.pipeline import keep_calibration
from facededup.report.evaluation import evaluation_document, write_markdown


@pytest.fixture(scope="module")
def labelled(all_pictures, tmp_path_factory):
    """A folder a person; one image has no face."""
    folder = tmp_path_factory.mktemp("labelled")
    for person in ("hopper", "collins"):
        (folder / person).mkdir()
        for picture in all_pictures.glob(f"{person}*"):
            shutil.copy(picture, folder / person)
    shutil.copy(next(all_pictures.glob("no-face-cat*")), folder / "hopper" / "turned-away.jpg")
    return folder


@pytest.fixture(scope="module")
def kept(labelled, tmp_path_factory):
    """A store with their embeddings."""
    store = str(tmp_path_factory.mktemp("store") / "faces.h5")
    facededup.evaluate(labelled, store=store, processes=2)
    return store


def write_csv(path, *rows):
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows(rows)
    return str(path)


def test_two_people_are_told_apart(labelled, kept):
    result = facededup.evaluate(labelled, store=kept)
    overall = result.overall
    assert result.metrics.images == 0, "nothing is embedded twice"
    assert (overall.images, overall.people) == (13, 2)
    assert overall.detection.value == pytest.approx(12 / 13)
    assert (overall.genuine_pairs, overall.impostor_pairs) == (30, 36)
    assert overall.operating[0].fmr.value == overall.operating[0].fnmr.value == 0
    assert overall.equal_error_rate == 0
    at_default = next(quality for quality in overall.clusters if quality.threshold == 0.4)
    assert at_default.clusters == 2
    assert at_default.pairwise.precision == 1
    assert at_default.pairwise.recall == 30 / (15 + 21)
    assert result.operating_cosine_source == "catalogue"


def test_without_a_store_nothing_is_left(labelled, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FACEDEDUP_STORE", str(tmp_path / "mine.h5"))
    assert facededup.evaluate(labelled, processes=1).overall.genuine_pairs == 30
    assert list(tmp_path.iterdir()) == []


def test_pairs_of_a_file_are_all_there_is(labelled, kept, tmp_path):
    hopper = sorted((labelled / "hopper").glob("hopper*"))
    collins = sorted((labelled / "collins").iterdir())
    rows = [(hopper[0], other, 1) for other in hopper[1:]] + [(hopper[0], other, 0) for other in collins]
    rows += [(hopper[0], labelled / "hopper" / "turned-away.jpg", "true")]
    path = write_csv(tmp_path / "pairs.csv", ("path_a", "path_b", "same"), *rows)
    overall = facededup.evaluate(pairs=path, store=kept).overall
    assert (overall.images, overall.people) == (13, 0)
    assert (overall.genuine_pairs, overall.impostor_pairs) == (len(hopper) - 1, len(collins))
    assert overall.operating[0].fmr.value == 0
    assert 0 < overall.operating[0].fmr.high < 0.5
    assert overall.clusters == ()


def test_paths_of_files_start_at_their_folder_and_may_lead_out_of_it(labelled, kept, tmp_path):
    own = shutil.copytree(labelled, tmp_path / "people")
    (tmp_path / "lists").mkdir()
    images = [f"../people/{path.relative_to(own)}" for path in sorted(own.glob("*/hopper*"))]
    others = [f"../people/{path.relative_to(own)}" for path in sorted(own.glob("collins/*"))]
    rows = [(images[0], images[1], 1), (images[0], others[0], 0)]
    pairs = write_csv(tmp_path / "lists" / "pairs.csv", ("path_a", "path_b", "same"), *rows)
    store = str(shutil.copy(kept, tmp_path / "faces.h5"))
    assert facededup.evaluate(pairs=pairs, store=store).overall.detection.value == 1
    rows = [(path, "navy") for path in images]
    groups = write_csv(tmp_path / "lists" / "groups.csv", ("path", "group"), *rows)
    found = facededup.evaluate(own, groups=groups, store=store).groups
    assert [(name, group.images) for name, group in found.items()] == [("navy", len(images))]


def test_groups_are_measured_among_themselves(labelled, kept, tmp_path):
    path = write_csv(tmp_path / "g.csv", ("person", "group"), ("hopper", "navy"), ("collins", "nasa"))
    groups = facededup.evaluate(labelled, groups=path, store=kept).groups
    assert list(groups) == ["nasa", "navy"]
    assert [(group.images, group.people) for group in groups.values()] == [(6, 1), (7, 1)]
    assert [group.impostor_pairs for group in groups.values()] == [0, 0]
    assert [group.operating[0].fmr.value for group in groups.values()] == [None, None]


def test_the_command_prints_and_writes_everything(labelled, kept, tmp_path):
    files = {name: str(tmp_path / f"e.{name}") for name in ("json", "md", "png", "toml")}
    groups = write_csv(tmp_path / "g.csv", ("person", "group"), ("hopper", "a|b"), ("collins", "c"))
    line = ["evaluate", str(labelled), "--store", kept, "--groups", groups, "--json", files["json"]]
    line += ["--markdown", files["md"], "--png", files["png"], "--write-calibration", files["toml"]]
    result = CliRunner().invoke(app, line, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for words in (
        "Error rates (95% interval)",
        "Clusters",
        "Groups, at the same cut for all",
        "10-fold accuracy",
        "no pairs",
    ):
        assert words in result.output
    document = json.loads((tmp_path / "e.json").read_text())
    assert document["schema"] == "facededup/evaluation/1"
    assert set(document["groups"]) == {"a|b", "c"}
    assert document["overall"]["detection"]["value"] == pytest.approx(12 / 13)
    text = (tmp_path / "e.md").read_text()
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| a")]
    assert "a\\|b" in text
    assert len(set(widths)) == 1
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")
    found = facededup.evaluate(labelled, store=kept)
    assert read_calibration(files["toml"], found.fingerprint).operating_cosine == 0.93


def test_a_calibration_in_the_store_is_what_find_takes(labelled, kept, tmp_path):
    store = str(shutil.copy(kept, tmp_path / "faces.h5"))
    line = ["evaluate", str(labelled), "--store", store, "--write-calibration", "store"]
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
    assert facededup.find(store=store).operating_cosine_source == "store"
    result = facededup.evaluate(labelled, store=kept)
    facededup.index([labelled], store=str(tmp_path / "flipped.h5"), flip=True, processes=1)
    with pytest.raises(SettingMismatchError, match="made otherwise"):
        keep_calibration(result, str(tmp_path / "flipped.h5"))


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        ([], 2, "takes a folder"),
        (["missing"], 2, "there is no folder"),
        (["."], 2, "images of 0 people"),
        ([".", "--pairs", "p.csv"], 2, "takes a folder"),
        (["--pairs", "missing.csv"], 2, "there is no file"),
        ([".", "--write-calibration", "store"], 2, "needs --store"),
        ([".", "--png", "nowhere/e.png"], 1, "there is no folder"),
    ],
)
def test_wrong_usage_is_a_sentence(tmp_path, monkeypatch, line, code, sentence):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["evaluate", *line])
    assert result.exit_code == code
    assert sentence in result.stderr


@pytest.mark.parametrize(
    ("rows", "error", "sentence"),
    [
        ([("a", "b")], UsageError, "no column 'path_a'"),
        ([("path_a", "path_b", "same"), ("x.jpg", "x.jpg", "yes")], UsageError, "line 2 .* same is 1 or 0"),
        ([("path_a", "path_b", "same"), ("x.jpg", "y.jpg", "1")], PathNotFoundError, "y.jpg"),
        ([("path_a", "path_b", "same"), ("x.jpg", "", "1")], PathNotFoundError, "not there"),
        ([("path_a", "path_b", "same"), ("x.jpg", "x.jpg", "1")], UsageError, "pairs of two"),
    ],
)
def test_what_is_no_file_of_pairs_is_a_sentence(tmp_path, rows, error, sentence):
    (tmp_path / "x.jpg").touch()
    with pytest.raises(error, match=sentence):
        read_pairs(write_csv(tmp_path / "p.csv", *rows))


def test_groups_by_path_are_taken_from_the_folder_of_the_file(tmp_path):
    path = write_csv(tmp_path / "g.csv", ("path", "group"), ("a/1.jpg", "x"), ("/b.jpg", "y"))
    assert read_groups(path) == {str(tmp_path / "a/1.jpg"): "x", "/b.jpg": "y"}
    clash = write_csv(tmp_path / "h.csv", ("person", "group"), ("a", "x"), ("a", "y"))
    with pytest.raises(UsageError, match="in two groups"):
        read_groups(clash)


def test_the_person_is_the_first_folder():
    assert person_of("/set/anna/2020/1.jpg", "/set") == "anna"
    assert person_of("/set/1.jpg", "/set") == ""


@pytest.mark.lfw
def test_the_curve_of_some_people_foretells_the_false_pairs_of_others(lfw, tmp_path):
    """Two halves of 300 people with one image each: measured on one, counted on the other."""
    images = sorted(lfw.glob("*/*_0001.jpg"))[:: max(1, len(list(lfw.iterdir())) // 600)][:600]
    halves = [tmp_path / "measured", tmp_path / "searched"]
    for number, image in enumerate(images):
        person = halves[number % 2] / image.parent.name
        person.mkdir(parents=True)
        shutil.copy(image, person)
    toml, store = tmp_path / "c.toml", str(tmp_path / "faces.h5")
    line = ["evaluate", str(halves[0]), "--write-calibration", str(toml)]
    assert CliRunner().invoke(app, line, catch_exceptions=False).exit_code == 0
    facededup.index([halves[1]], store=store, faces="center")
    for budget in (400, 100):
        found = facededup.find(store=store, calibration=str(toml), max_false_pairs=budget)
        assert budget / 2 <= found.pairs_total <= budget * 2


def test_markdown_and_json_are_of_one_result(labelled, kept, tmp_path):
    result = facededup.evaluate(labelled, store=kept)
    write_markdown(result, str(tmp_path / "e.md"))
    headings = [line for line in (tmp_path / "e.md").read_text().splitlines() if line.startswith("#")]
    assert headings[1:4] == ["## Summary", "## Error rates (95% interval)", "## Clusters"]
    assert headings[4].startswith("## What the poorest faces carry, at cosine 0.93")
    assert list(evaluation_document(result))[:3] == ["schema", "source", "fingerprint"]
