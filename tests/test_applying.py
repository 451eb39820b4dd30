"""`apply` keeps the best image of each person, loses nothing, and can be taken back."""

import errno
import json
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from synthetic import FINGERPRINT, digest_of, people
from typer.testing import CliRunner

import facededup
from facededup import applying, file_actions
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
    text = text or f"picture {number}"
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
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


def meanwhile(monkeypatch, happens, *, after=False):
    """Something else happens right before the first act, or after it."""
    pending = [happens]

    def acting(action, source, target):
        if not after:
            for once in pending[:]:
                pending.remove(once)
                once()
        file_actions.act(action, source, target)
        for once in pending[:]:
            pending.remove(once)
            once()

    monkeypatch.setattr(applying, "act", acting)


def test_twins_of_two_people_move_once(tmp_path, store):
    """A byte-identical pair of photos of two people is in two clusters."""
    one = people(2, 3)
    for name in ("a.jpg", "b.jpg"):
        put(store, tmp_path / name, 0, [one[0], one[3]], 0.9, text="both")
    facededup.find(store=store)
    plan = facededup.apply_findings("copy", to=tmp_path / "out", store=store)
    assert [step.action for step in plan.steps] == ["keep", "copy"] * 2
    log = tmp_path / "log"
    result = facededup.apply_findings("move", to=tmp_path / "out", yes=True, log=log, store=store)
    assert [step.action for step in result.steps] == ["keep", "move", "keep", "left"]
    assert result.steps[3].reason == f"it goes with cluster {result.steps[0].cluster}"
    assert (result.done, result.failures) == (1, ())
    undone = facededup.undo_apply(log)
    assert (undone.reverted, undone.kept) == (1, ())
    assert set(files(tmp_path)) == {"a.jpg", "b.jpg"}


@pytest.mark.parametrize("name", ["b/x.jpg", "a/x.jpg"])
def test_both_files_are_looked_at_again_before_each_act(folder, store, monkeypatch, name):
    """The one that is kept, and the one that would go, change while another image is acted on."""
    meanwhile(monkeypatch, lambda: (folder / name).write_text("somebody else by now"), after=True)
    result = facededup.apply_findings("delete", yes=True, log=folder / "log", store=store)
    assert (result.done, len(result.failures)) == (1, 1)
    assert "a/x.jpg' was left: " in result.failures[0]
    assert "changed since it was indexed" in result.failures[0]
    assert set(files(folder)) == {"a/x.jpg", "b/x.jpg", "c/1.jpg", "c/2.jpg"}


def test_one_file_under_two_paths_is_left(tmp_path, store):
    """Where letter case makes no difference, two paths that differ in it are one file."""
    vector = people(1, 1)
    put(store, tmp_path / "a.jpg", 0, vector, text="same")
    (tmp_path / "A.JPG").hardlink_to(tmp_path / "a.jpg")  # what a stat tells of both there
    (tmp_path / "z.jpg").hardlink_to(tmp_path / "a.jpg")
    for name in ("A.JPG", "z.jpg"):
        put(store, tmp_path / name, 0, vector, text="same")
    facededup.find(store=store)
    result = facededup.apply_findings("delete", store=store)
    assert actions(result, tmp_path) == {"A.JPG": "keep", "a.jpg": "left", "z.jpg": "delete"}
    assert result.steps[1].reason == "it is the same file as the one kept"


def test_names_that_differ_in_letter_case_get_two_names(tmp_path, store):
    one = people(1, 3)
    for number, name in enumerate(["a/best.jpg", "b/x.jpg", "c/X.jpg"]):
        put(store, tmp_path / name, number, one[number : number + 1], 0.9 - number / 10)
    facededup.find(store=store)
    result = facededup.apply_findings("copy", to=tmp_path / "out", every=True, store=store)
    assert [os.path.basename(step.target) for step in result.steps if step.target] == ["x.jpg", "X-2.jpg"]


def test_a_move_that_was_replaced_by_a_link_is_not_taken_back(folder, store):
    """The link leads to the only copy."""
    log = folder / "log"
    facededup.apply_findings("move", to=folder / "out", yes=True, log=log, store=store)
    entry = json.loads(log.read_text().splitlines()[1])
    os.symlink(entry["to"], entry["from"])
    undone = facededup.undo_apply(log)
    assert undone.reverted == 1
    assert len(undone.kept) == 1
    assert "leads to it by now" in undone.kept[0]
    assert Path(entry["to"]).read_text() == Path(entry["from"]).read_text() == "picture 2"


@pytest.mark.parametrize("action", ["copy", "move"])
def test_a_copy_that_was_killed_half_way_is_taken_back(folder, store, action):
    before = files(folder)
    log = folder / "log"
    facededup.apply_findings(action, to=folder / "out", yes=True, log=log, store=store)
    entry = json.loads(log.read_text().splitlines()[-1])
    Path(entry["from"]).write_text(before[os.path.relpath(entry["from"], folder)])
    os.truncate(entry["to"], 4)
    undone = facededup.undo_apply(log)
    assert (undone.reverted, undone.kept) == (2, ())
    assert files(folder) == before


def test_an_act_that_failed_is_not_taken_back(folder, store, monkeypatch):
    """Somebody else's file took the name: of the same bytes, and still not ours to remove."""
    plan = facededup.apply_findings("copy", to=folder / "out", store=store)
    step = next(step for step in plan.steps if step.target)

    def take_the_name():
        os.makedirs(os.path.dirname(step.target))
        Path(step.target).write_bytes(Path(step.path).read_bytes())

    meanwhile(monkeypatch, take_the_name)
    result = facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "log", store=store)
    assert (result.done, len(result.failures)) == (1, 1)
    assert "File exists" in result.failures[0]
    assert facededup.undo_apply(folder / "log").reverted == 1
    assert Path(step.target).exists()


def test_ctrl_c_ends_after_the_act_at_hand(folder, store, monkeypatch):
    meanwhile(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    shell = run("move", "--to", f"{folder}/out", "--yes", "--log", f"{folder}/log", "--store", store)
    assert shell.exit_code == 130
    assert "1 done; the log for --undo is" in shell.stdout
    assert len((folder / "log").read_text().splitlines()) == 2
    assert facededup.undo_apply(folder / "log").reverted == 1


def test_a_full_disk(folder, store):
    """The log cannot be begun: nothing is done, and its name is free again; or it ends on the way."""
    before = files(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = folder / "log"
    for room, said in ((10, "nothing was done"), (300, "stopped there")):
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(JobError, match=said):
                facededup.apply_findings("move", to=folder / "out", yes=True, log=log, store=store)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert log.exists() == (room == 300)
        assert files(folder) == before
    assert facededup.undo_apply(log).reverted == 0


def test_a_file_system_without_permissions_takes_copies(folder, store, monkeypatch):
    """As FAT on a stick: what its permissions cannot say is refused."""

    def refuse(path, *_, **__):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), path)

    monkeypatch.setattr("shutil.os.chmod", refuse)
    result = facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "log", store=store)
    assert (result.done, result.failures) == (2, ())
    for step in result.steps[1:]:
        assert os.stat(step.target).st_mtime_ns == os.stat(step.path).st_mtime_ns


def test_a_copy_is_never_more_readable_than_its_source(folder, store, monkeypatch):
    os.chmod(folder / "a/y.jpg", 0o600)
    seen = []
    copied = file_actions.shutil.copyfileobj

    def looking(read, written, length):
        seen.append(os.fstat(written.fileno()).st_mode & 0o777)
        copied(read, written, length)

    monkeypatch.setattr(file_actions.shutil, "copyfileobj", looking)
    facededup.apply_findings("copy", to=folder / "out", yes=True, log=folder / "log", store=store)
    assert seen == [0o600, 0o600]
