"""`apply` keeps the best image of each person, loses nothing, and can be taken back."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from synthetic import FINGERPRINT, digest_of, people
from typer.testing import CliRunner

import facededup
from facededup import file_actions
from facededup.cli.app import app
from facededup.errors import JobError, PathNotFoundError, UsageError
from facededup.images.read import file_stat
from facededup.store.base import Batch, Content, ImageRecord
from facededup.store.opener import open_store
from facededup.types import Box, Face, Outcome, Quality


def run(*arguments):
    return CliRunner().invoke(app, ["apply", *arguments])


def put(store, path, number, vectors, score=None, *, text=None):
    """An image in the store and on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text or f"picture {number}")
    quality = None if score is None else Quality(score, 1.0, score, 1.0, 1.0)
    faces = tuple(Face(Box(10 * k, 0, 8, 8), 1.0, (), quality) for k in range(len(vectors)))
    record = ImageRecord(
        path=os.fsencode(path),
        root=os.fsencode(path.parent),
        mount=b"/",
        stat=file_stat(os.stat(path)),
        digest=digest_of(number),
        outcome=Outcome.OK,
        width=100,
        height=100,
    )
    content = Content(digest_of(number), faces, np.asarray(vectors, np.float32).reshape(-1, 128))
    with open_store(store).writer(FINGERPRINT) as writer:
        writer.commit(Batch(images=(record,), contents=(content,)))


@pytest.fixture
def folder(tmp_path, store):
    """One person: three images in two folders, two of them with one name; and an unconfirmed couple."""
    one, other = people(2, 4)[:4], people(2, 4)[4:]
    for number, (name, score) in enumerate([("a/x.jpg", 0.5), ("b/x.jpg", 0.9), ("a/y.jpg", 0.7)]):
        put(store, tmp_path / name, number, one[number : number + 1], score)
    put(store, tmp_path / "c/1.jpg", 10, other[:1], 0.9)
    put(store, tmp_path / "c/2.jpg", 11, other[1:2])
    facededup.add_decision(tmp_path / "a/x.jpg", tmp_path / "b/x.jpg", "same", store=store)
    facededup.add_decision(tmp_path / "b/x.jpg", tmp_path / "a/y.jpg", "same", store=store)
    facededup.find(store=store)
    return tmp_path


def files(folder):
    return {
        str(path.relative_to(folder)): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix == ".jpg"
    }


def actions(result, folder):
    return {os.path.relpath(step.path, folder): step.action for step in result.steps}


def test_the_best_is_kept_and_nothing_is_done_unasked(folder, store):
    before = files(folder)
    result = facededup.apply_findings("move", to=folder / "out", store=store)
    assert actions(result, folder) == {"b/x.jpg": "keep", "a/y.jpg": "move", "a/x.jpg": "move"}
    assert (result.clusters, result.unconfirmed, result.done, result.log) == (1, 1, 0, None)
    assert "quality 0.90" in result.steps[0].reason
    assert "sharpness 0.90" in result.steps[0].reason
    assert files(folder) == before
    assert not (folder / "out").exists()


@pytest.mark.parametrize("action", ["copy", "move", "hardlink"])
def test_what_is_done_can_be_taken_back(folder, store, action):
    before = files(folder)
    log = folder / "log.jsonl"
    result = facededup.apply_findings(action, to=folder / "out", yes=True, log=log, store=store)
    assert (result.done, result.failures) == (2, ())
    after = files(folder)
    (cluster,) = (folder / "out").iterdir()
    assert {path.name: path.read_text() for path in cluster.iterdir()} == {
        "x.jpg": "picture 0",
        "y.jpg": "picture 2",
    }
    assert ("a/x.jpg" in after) == (action != "move")
    assert after["b/x.jpg"] == before["b/x.jpg"]
    undone = facededup.undo_apply(log)
    assert (undone.reverted, undone.kept) == (2, ())
    assert files(folder) == before
    assert not cluster.exists()
    assert facededup.undo_apply(log).reverted == 0
    assert files(folder) == before


def test_delete_cannot_be_taken_back_and_says_so(folder, store):
    log = folder / "log.jsonl"
    assert facededup.apply_findings("delete", yes=True, log=log, store=store).done == 2
    assert set(files(folder)) == {"b/x.jpg", "c/1.jpg", "c/2.jpg"}
    undone = facededup.undo_apply(log)
    assert undone.reverted == 0
    assert all("deleted" in sentence for sentence in undone.kept)
    assert run("--undo", str(log)).exit_code == 1


def test_an_image_that_shows_the_person_twice_is_acted_on_once(store, tmp_path):
    one = people(1, 4)
    put(store, tmp_path / "best.jpg", 1, one[:1], 0.9)
    put(store, tmp_path / "mirror.jpg", 2, one[1:3], 0.5)
    put(store, tmp_path / "mirror too.jpg", 2, one[1:3], 0.5, text="picture 2")
    facededup.find(store=store)
    result = facededup.apply_findings("delete", every=True, yes=True, log=tmp_path / "log.jsonl", store=store)
    assert actions(result, tmp_path) == {
        "best.jpg": "keep",
        "mirror.jpg": "delete",
        "mirror too.jpg": "delete",
    }
    assert (len(result.steps), result.done, result.failures) == (3, 2, ())
    assert list(files(tmp_path)) == ["best.jpg"]


def test_the_best_does_not_depend_on_the_order_of_indexing(tmp_path):
    """Byte-identical images, and others that are as good: the first by path is kept."""
    one = people(1, 2)
    kept = []
    for turn, names in enumerate((["b", "a", "c"], ["c", "b", "a"])):
        store, folder = str(tmp_path / f"{turn}.h5"), tmp_path / str(turn)
        for name in names:
            content = 2 if name == "c" else 1
            put(store, folder / f"{name}.jpg", content, one[content - 1 : content], 0.8)
        found = facededup.find(store=store)
        result = facededup.apply_findings("list", every=True, store=store)
        best = os.path.basename(result.steps[0].path)
        kept.append((best, found.clusters[0].id, os.path.basename(found.clusters[0].medoid.path)))
    assert kept[0] == kept[1]
    assert kept[0][0] == "a.jpg"


def test_a_folder_that_cannot_be_is_told_before_anything_is_done(folder, store):
    (folder / "file").write_text("in the way")
    before = files(folder)
    with pytest.raises(UsageError, match="--to takes a folder"):
        facededup.apply_findings("copy", to=folder / "file", store=store)
    with pytest.raises(JobError, match="cannot make the folder"):
        facededup.apply_findings(
            "move", to=folder / "file" / "out", yes=True, log=folder / "log.jsonl", store=store
        )
    assert files(folder) == before
    assert not (folder / "log.jsonl").exists()


def test_nothing_is_overwritten(folder, store):
    first = facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "1", store=store)
    second = facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "2", store=store)
    assert first.done == second.done == 2
    (cluster,) = (folder / "out").iterdir()
    assert sorted(path.name for path in cluster.iterdir()) == ["x-2.jpg", "x.jpg", "y-2.jpg", "y.jpg"]
    with pytest.raises(UsageError, match="log"):
        facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "2", store=store)
    # Images with one name in one run, too.
    every = facededup.apply_findings("copy", to=folder / "new", every=True, store=store)
    targets = [step.target for step in every.steps if step.target]
    assert len(set(targets)) == len(targets) == 3


def test_what_is_not_as_it_was_indexed_is_left(folder, store):
    (folder / "a/x.jpg").write_text("somebody else by now")
    (folder / "a/y.jpg").unlink()
    result = facededup.apply_findings("delete", yes=True, log=folder / "log", store=store)
    assert actions(result, folder) == {"b/x.jpg": "keep", "a/y.jpg": "left", "a/x.jpg": "left"}
    assert {step.reason.split(":")[0] for step in result.steps[1:]} == {
        "it cannot be reached",
        "it changed since it was indexed",
    }
    assert result.log is None
    # Without the best one, the next best that is there is kept.
    (folder / "b/x.jpg").unlink()
    put(store, folder / "a/y.jpg", 2, people(2, 4)[2:3], 0.7)
    assert actions(facededup.apply_findings("list", store=store), folder) == {
        "a/y.jpg": "keep",
        "b/x.jpg": "left",
        "a/x.jpg": "left",
    }


def test_pictures_of_several_people_are_left(tmp_path, store):
    one = people(2, 3)
    put(store, tmp_path / "a.jpg", 0, one[:1], 0.9)
    put(store, tmp_path / "group.jpg", 1, [one[1], one[4]], 0.5)
    facededup.find(store=store)
    result = facededup.apply_findings("delete", every=True, store=store)
    assert actions(result, tmp_path) == {"a.jpg": "keep", "group.jpg": "left"}
    assert "2 faces" in result.steps[1].reason


def test_byte_identical_copies_need_no_decision(tmp_path, store):
    vector = people(1, 1)
    put(store, tmp_path / "a.jpg", 0, vector, text="same")
    put(store, tmp_path / "b.jpg", 0, vector, text="same")
    (tmp_path / "link.jpg").hardlink_to(tmp_path / "a.jpg")
    facededup.find(store=store)
    result = facededup.apply_findings("delete", yes=True, log=tmp_path / "log", store=store)
    assert actions(result, tmp_path) == {"a.jpg": "keep", "b.jpg": "delete"}
    assert "byte-identical" in result.steps[1].reason
    assert (tmp_path / "a.jpg").exists()


def test_a_cluster_that_was_cut_since_is_left(folder, store):
    facededup.add_decision(folder / "a/x.jpg", folder / "b/x.jpg", "different", store=store)
    result = facededup.apply_findings("delete", every=True, store=store)
    assert result.unconfirmed == 1
    assert not any("a/x.jpg" in step.path for step in result.steps)


def other_device(*_, **__):
    raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))


def test_another_file_system(folder, store, monkeypatch):
    before = files(folder)
    monkeypatch.setattr(file_actions.os, "link", other_device)
    linked = facededup.apply_findings("hardlink", to=folder / "out", yes=True, log=folder / "1", store=store)
    assert (linked.done, len(linked.failures)) == (0, 2)
    assert all("another file system" in sentence for sentence in linked.failures)
    assert files(folder) == before
    moved = facededup.apply_findings("move", to=folder / "out", yes=True, log=folder / "2", store=store)
    assert moved.done == 2
    assert facededup.undo_apply(folder / "2").reverted == 2
    assert files(folder) == before


def test_what_cannot_be_written_is_a_sentence_and_nothing_is_lost(folder, store, monkeypatch):
    before = files(folder)

    def read_only(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)

    with monkeypatch.context() as patch:
        patch.setattr(file_actions.os, "unlink", lambda path: None if "out" in str(path) else read_only(path))
        result = facededup.apply_findings("move", to=folder / "out", yes=True, log=folder / "1", store=store)
    assert (result.done, len(result.failures)) == (0, 2)
    assert all("Read-only" in sentence for sentence in result.failures)
    assert {name: text for name, text in files(folder).items() if not name.startswith("out")} == before
    (folder / "to").mkdir()
    (folder / "to" / result.steps[0].cluster).write_text("no folder")
    shell = run("move", "--to", str(folder / "to"), "--yes", "--log", str(folder / "2"), "--store", store)
    assert shell.exit_code == 1
    assert shell.stderr.count("was left") == 2
    with pytest.raises(JobError, match="nothing was done"):
        facededup.apply_findings("delete", yes=True, log=folder / "none" / "log", store=store)
    assert {name: text for name, text in files(folder).items() if not name.startswith("out")} == before


def test_a_log_cut_off_anywhere_takes_back_what_was_done(folder, store):
    before = files(folder)
    log = folder / "log"
    facededup.apply_findings("move", to=folder / "out", yes=True, log=log, store=store)
    data = log.read_bytes()
    log.write_bytes(data + b'{"action": "move", "fr')
    assert facededup.undo_apply(log).reverted == 2
    assert files(folder) == before
    for text in (
        "",
        "{}\n",
        "Dear diary\n",
        '{"schema": "facededup/apply/1"}\n{"action": "burn", "from": "x"}\n',
    ):
        log.write_text(text)
        with pytest.raises(UsageError, match="no log"):
            facededup.undo_apply(log)
    with pytest.raises(PathNotFoundError):
        facededup.undo_apply(folder / "none")


def test_a_kill_between_copy_and_removal_is_taken_back(folder, store, monkeypatch):
    """A move to another file system that ended half-way leaves two equal files."""
    before = files(folder)
    facededup.apply_findings("move", to=folder / "out", yes=True, log=folder / "log", store=store)
    entries = [json.loads(line) for line in (folder / "log").read_text().splitlines()[1:]]
    Path(entries[0]["from"]).write_text(Path(entries[0]["to"]).read_text())
    Path(entries[1]["from"]).write_text("a new picture under the old name")
    undone = facededup.undo_apply(folder / "log")
    assert (undone.reverted, len(undone.kept)) == (1, 1)
    assert "no longer the same" in undone.kept[0]
    assert Path(entries[0]["from"]).read_text() == before[os.path.relpath(entries[0]["from"], folder)]
    assert Path(entries[1]["to"]).exists()


def test_wrong_usage_is_a_sentence(folder, store):
    for arguments in (["move"], ["delete", "--to", "x"], ["burn"], [], ["list", "--undo", "x"]):
        shell = run(*arguments, "--store", store)
        assert shell.exit_code == 2, shell.output
        assert shell.stderr.count("\n") == 1
    shell = run("list", "--store", store)
    assert shell.exit_code == 0
    assert "1 confirmed cluster, 2 images to list" in shell.output
    assert "1 cluster left out" in shell.output
    facededup.index([folder / "a"], store=store + ".new", processes=1)
    assert run("list", "--store", store + ".new").exit_code == 2
