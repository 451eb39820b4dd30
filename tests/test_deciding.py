"""Decisions made, listed, written to files and taken from them."""

import csv
import json
import os

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from synthetic import add_images, digest_of, people
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import JobError, PathNotFoundError, StoreNotFoundError, UsageError
from facededup.report.decision_file import COLUMNS, VERDICTS, read_decisions, write_decisions
from facededup.store.opener import open_store
from facededup.types import Box, Decision, FaceKey


def run(*arguments):
    return CliRunner().invoke(app, ["decisions", *arguments])


@pytest.fixture
def filled(store):
    """Images 0 to 2 of one person, and one of two faces."""
    vectors = people(1, 5)
    images = {f"/made/up/{k}.jpg": (k, [vectors[k]]) for k in range(3)}
    add_images(store, {**images, "/made/up/two#1.jpg": (9, vectors[3:5])})
    return store


def log(store):
    with open_store(store).snapshot() as snapshot:
        return snapshot.decisions()


def test_a_decision_is_made_by_path(filled, monkeypatch):
    monkeypatch.chdir("/")
    decision = facededup.add_decision(
        "made/up/0.jpg", "/made/up/two#1.jpg#1", "same", who="Kim", store=filled
    )
    assert log(filled) == (decision,)
    assert (decision.a.digest, decision.b) == (digest_of(0), FaceKey(digest_of(9), Box(10, 0, 8, 8)))
    assert (decision.a_path, decision.who, decision.model) == (b"/made/up/0.jpg", "Kim", "Dlib")
    assert 0.9 < decision.cosine <= 1
    assert facededup.find(store=filled).decisions["same"] == 1


@pytest.mark.parametrize(
    ("b", "verdict", "error", "said"),
    [
        ("/made/up/1.jpg", "maybe", UsageError, "must be one of"),
        ("/made/up/none.jpg", "same", PathNotFoundError, "no image"),
        ("/made/up/two#1.jpg", "same", UsageError, "shows 2 faces"),
        ("/made/up/1.jpg#4", "same", UsageError, "no face 4"),
        ("/made/up/0.jpg", "same", UsageError, "nothing to decide"),
    ],
)
def test_what_cannot_be_decided_is_a_sentence(filled, b, verdict, error, said):
    with pytest.raises(error, match=said):
        facededup.add_decision("/made/up/0.jpg", b, verdict, store=filled)
    assert log(filled) == ()


KEYS = st.builds(
    FaceKey,
    st.binary(min_size=32, max_size=32),
    st.builds(Box, *[st.integers(-(2**31) + 1, 2**31 - 1)] * 4),
)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)
DECISIONS = st.builds(
    Decision,
    a=KEYS,
    b=KEYS,
    verdict=st.sampled_from(VERDICTS),
    who=TEXTS,
    at=st.integers(0, 2**40),
    a_path=st.binary(max_size=20).map(lambda path: path.replace(b"\0", b"")),
    b_path=TEXTS.map(os.fsencode),
    similarity=st.floats(-1, 1),
    cosine=st.floats(-1, 1),
    model=TEXTS,
)


@pytest.mark.parametrize("name", ["log.json", "log.csv"])
@examples(max_examples=60, deadline=None)
@given(decisions=st.lists(DECISIONS, max_size=4))
def test_files_come_back_as_they_were(tmp_path_factory, name, decisions):
    path = str(tmp_path_factory.getbasetemp() / name)
    write_decisions(decisions, path)
    assert read_decisions(path) == decisions


def test_what_is_written_is_the_schema(filled, tmp_path):
    facededup.add_decision("/made/up/0.jpg", "/made/up/1.jpg", "different", who="Kim", store=filled)
    assert facededup.export_decisions(tmp_path / "log.json", store=filled) == 1
    document = json.loads((tmp_path / "log.json").read_text())
    assert document["schema"] == "facededup/decisions/1"
    (entry,) = document["decisions"]
    assert tuple(entry) == COLUMNS
    assert (entry["a_digest"], entry["a_box"]) == (digest_of(0).hex(), [0, 0, 8, 8])
    facededup.export_decisions(tmp_path / "log.csv", store=filled)
    with open(tmp_path / "log.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert tuple(row) == COLUMNS
    assert row["a_box"] == "[0, 0, 8, 8]"
    with pytest.raises(JobError):
        facededup.export_decisions(tmp_path / "none" / "log.csv", store=filled)


def test_an_import_takes_each_decision_once(filled, tmp_path):
    path = str(tmp_path / "log.json")
    keys = [FaceKey(digest_of(k), Box(0, 0, 8, 8)) for k in range(3)]
    said = [(0, 1, "same"), (0, 1, "undo"), (0, 1, "same"), (1, 2, "different")]
    made = [Decision(a=keys[a], b=keys[b], verdict=verdict, at=7) for a, b, verdict in said]
    write_decisions(made, path)
    first = facededup.import_decisions(path, store=filled)
    assert (first.taken, first.known) == (4, 0)
    again = facededup.import_decisions(path, store=filled)
    assert (again.taken, again.known) == (0, 4)
    entries = facededup.list_decisions(store=filled)
    assert [entry.holds for entry in entries] == [False, False, True, True]
    assert all(entry.in_store for entry in entries)


def test_pairs_of_paths_are_taken(filled, tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text(
        "\ufeffpath_a,path_b,verdict,face_b\n"
        "/made/up/0.jpg,/made/up/1.jpg,different,\n"
        "/made/up/0.jpg,/made/up/two#1.jpg,same,1\n"
    )
    assert facededup.import_decisions(pairs, who="Lee", store=filled).taken == 2
    assert [(decision.verdict, decision.who) for decision in log(filled)] == [
        ("different", "Lee"),
        ("same", "Lee"),
    ]
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"path_a": "/made/up/1.jpg", "path_b": "/made/up/2.jpg", "verdict": "later"}])
    )
    assert facededup.import_decisions(tmp_path / "pairs.json", store=filled).taken == 1


WHOLE = {
    "a_digest": "aa" * 32,
    "a_box": [0, 0, 8, 8],
    "b_digest": "bb" * 32,
    "b_box": [0, 0, 8, 8],
    "verdict": "same",
}


def test_json_with_a_byte_order_mark(filled, tmp_path):
    (tmp_path / "pairs").write_text("\ufeff" + json.dumps([WHOLE]))
    assert facededup.import_decisions(tmp_path / "pairs", store=filled).taken == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no decisions"),
        ("{", "no JSON"),
        ("{}", "schema"),
        ("[3]", "entry 1"),
        ('[{"path_a": "a"}]', "'verdict' is missing"),
        ('[{"verdict": "same", "a_digest": "zz"}]', "entry 1"),
        ('[{"verdict": "same", "a_digest": "00", "a_box": [1, 2, 3, 4]}]', "64 hexadecimal digits"),
        (json.dumps([{"verdict": "same", "a_digest": "00" * 32, "a_box": [1, 2]}]), "four whole numbers"),
        ("path_a,path_b,verdict\na,b,perhaps\n", "entry 1"),
        ('path_a,path_b,verdict\n"a', "no CSV"),
        ("path_a,path_b\na,b\n", "heading"),
        ("[" * 100_000, "no JSON"),
        (json.dumps([{"path_a": "/\ud800", "path_b": "/b", "verdict": "same"}]), "entry 1"),
        (json.dumps([{**WHOLE, "who": "\ud800"}]), "entry 1"),
        (json.dumps([{**WHOLE, "who": "a\0"}]), "zero byte"),
        (json.dumps([{**WHOLE, "a_path": "/a\0"}]), "zero byte"),
        (json.dumps([{**WHOLE, "similarity": float("inf")}]), "inf is no score"),
    ],
)
def test_a_file_of_something_else_changes_nothing(filled, tmp_path, text, said):
    path = tmp_path / "wrong"
    path.write_text(text)
    with pytest.raises(UsageError, match=said):
        facededup.import_decisions(path, store=filled)
    assert log(filled) == ()


def test_all_or_none_is_taken(filled, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("path_a,path_b,verdict\n/made/up/0.jpg,/made/up/1.jpg,same\n/made/up/0.jpg,/gone,same\n")
    with pytest.raises(PathNotFoundError, match="/gone"):
        facededup.import_decisions(path, store=filled)
    assert log(filled) == ()
    with pytest.raises(PathNotFoundError):
        facededup.import_decisions(tmp_path / "none.csv", store=filled)
    with pytest.raises(StoreNotFoundError):
        facededup.list_decisions(store=str(tmp_path / "none.h5"))


def test_the_commands(filled, tmp_path):
    for a, b, verdict in (("0", "1", "look-alike"), ("1", "2", "same"), ("1", "2", "undo")):
        added = run("add", f"/made/up/{a}.jpg", f"/made/up/{b}.jpg", verdict, "--store", filled)
        assert added.exit_code == 0, added.output
    shown = run("list", "--store", filled)
    assert shown.output.count("does not hold") == 2
    assert shown.output.rstrip().endswith("3 decisions: 1 look-alike")
    standing = run("list", "--standing", "--json", "-", "--store", filled)
    assert [entry["verdict"] for entry in json.loads(standing.stdout)["decisions"]] == ["look-alike"]
    assert run("export", str(tmp_path / "d.csv"), "--store", filled).output.startswith("3 decisions written")
    taken = run("import", str(tmp_path / "d.csv"), "--store", filled)
    assert taken.output == "0 decisions taken, 3 known already\n"
    wrong = run("add", "/made/up/0.jpg", "/made/up/1.jpg", "perhaps", "--store", filled)
    assert wrong.exit_code == 2
    assert wrong.stderr.count("\n") == 1
    assert run("list", "--store", str(tmp_path / "none.h5")).exit_code == 2
