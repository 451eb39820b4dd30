"""verify, forget, pack and a moved root, on stores of made-up people and through the command."""

import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import FINGERPRINT, add_images, digest_of, people, record
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import DamagedStoreError, PathNotFoundError, StoreNotFoundError, UsageError
from facededup.store.base import Batch, Content
from facededup.store.basefile import BLOCK
from facededup.store.opener import open_store
from facededup.types import Box, Decision, Face, FaceKey, Outcome


def run(*line):
    return CliRunner().invoke(app, list(map(str, line)))


@pytest.fixture
def filled(store):
    """Three people with three pictures each and a copy of the first, searched; vectors by path."""
    vectors = people(3, 3, seed=5, spread=0.02)
    images = {f"/made/up/p{k}.jpg": (k + 1, vectors[k : k + 1]) for k in range(9)}
    images["/made/up/copy/of-p0.jpg"] = images["/made/up/p0.jpg"]
    add_images(store, images)
    facededup.find(store=store)
    return {path: value[1] for path, value in images.items()}


def read(store):
    """path -> (outcome, vectors)."""
    with open_store(store).snapshot() as snapshot:
        images, faces = snapshot.images, snapshot.faces
        vectors = snapshot.embeddings(0, len(faces))
        return {
            os.fsdecode(path): (
                Outcome(int(images.outcome[row])),
                vectors[faces.image == images.first[row]].tolist(),
            )
            for row, path in enumerate(images.path)
        }


def flip(path, place):
    data = bytearray(Path(path).read_bytes())
    data[place] ^= 1
    Path(path).write_bytes(data)


def place_of(path, name, offset=0):
    """Where a column lies in the file."""
    with h5py.File(path) as file:
        dataset = file[name]
        if dataset.chunks is None:
            return dataset.id.get_offset() + offset
        return dataset.id.get_chunk_info(0).byte_offset + offset


def test_a_sound_store_is_sound(store, filled):
    result = facededup.verify(store=store, repair=True)
    assert result.problems == ()
    assert result.repair is None
    assert result.checked_bytes == os.path.getsize(store)
    shell = run("verify", "--store", store)
    assert shell.exit_code == 0
    assert shell.output.startswith("sound: ")


def test_damage_is_exit_code_3_and_a_list(store, filled):
    flip(store, place_of(store, "embeddings", 40))
    shell = run("verify", "--store", store, "--json", "-")
    assert shell.exit_code == 3
    document = json.loads(shell.stdout)
    assert document["schema"] == "facededup/verify/1"
    assert not document["sound"]
    assert document["repair"] is None
    assert any("embeddings" in problem for problem in document["problems"])
    assert "verify --repair" in shell.stderr
    assert run("verify", "--store", store + "x").exit_code == 2
    Path(store).write_text("Dear diary")
    assert run("verify", "--store", store).exit_code == 3
    assert run("verify", "--repair", "--store", store).exit_code == 3
    assert Path(store).read_text() == "Dear diary"


def test_a_repair_of_a_sound_column_keeps_every_embedding(store, filled):
    """Where only what the file system says is lost, the next run looks again and embeds nothing."""
    before = read(store)
    for name in ("images/mtime_ns", "images/width", "images/root", "roots/path"):
        pristine = Path(store).read_bytes()
        root = re.search(rb"/made/up(?!/)", pristine)
        flip(store, root.start() if name == "roots/path" else place_of(store, name))
        result = facededup.verify(store=store, repair=True)
        assert result.problems, name
        assert result.repair.lost == (), name
        assert result.repair.findings_kept, name
        assert Path(result.repair.kept_as).read_bytes() != pristine
        assert read(store) == before, name
        assert facededup.verify(store=store).problems == ()
        Path(store).write_bytes(pristine)
    assert Path(store + ".damaged-4").exists()


def test_a_repair_says_what_must_be_indexed_again(store, filled):
    before = read(store)
    flip(store, place_of(store, "embeddings", 40))
    shell = run("verify", "--repair", "--store", store)
    assert shell.exit_code == 0, shell.output
    # One block of rows covers this small store: all of its faces are lost, none of its paths.
    assert "10 images must be indexed again" in shell.output
    assert "run find again" in shell.output
    after = read(store)
    assert after.keys() == before.keys()
    assert {outcome for outcome, _ in after.values()} == {Outcome.FILE_ERROR}
    assert facededup.verify(store=store).problems == ()
    with open_store(store).snapshot() as snapshot:
        assert snapshot.images.retry.all()
        assert snapshot.findings() is None


def test_only_the_damaged_block_is_lost(store):
    """Two blocks of rows, contents of two faces that lie on both sides of the border."""
    count = BLOCK // 2 + 500
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((2 * count + 1, 128))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    faces = (Face(Box(0, 0, 8, 8), 1.0), Face(Box(20, 0, 8, 8), 1.0))
    with open_store(store).writer(FINGERPRINT) as writer:
        writer.commit(
            Batch(
                images=tuple(record(b"/p/%d" % k, digest_of(k + 1)) for k in range(count + 1)),
                contents=(
                    Content(digest_of(count + 1), faces[:1], vectors[-1:]),
                    *(Content(digest_of(k + 1), faces, vectors[2 * k : 2 * k + 2]) for k in range(count)),
                ),
            )
        )
    before = read(store)
    flip(store, place_of(store, "faces/confidence", 4 * (BLOCK + 7)))
    result = facededup.verify(store=store, repair=True).repair
    # Row 0 is the single face; so row 4095 begins the content that the border cuts.
    assert result.faces == BLOCK - 1
    assert result.images == count + 1
    after = read(store)
    lost = {os.fsdecode(path) for path in result.lost}
    assert lost == {f"/p/{k}" for k in range((BLOCK - 2) // 2, count)}
    assert {path: value for path, value in after.items() if path not in lost} == {
        path: value for path, value in before.items() if path not in lost
    }
    assert facededup.verify(store=store).problems == ()


def test_a_lost_path_is_counted(store, filled):
    flip(store, Path(store).read_bytes().index(b"/made/up/p3"))
    result = facededup.verify(store=store, repair=True).repair
    assert (result.images, result.faces, result.nameless) == (0, 0, 10)
    assert not result.findings_kept
    assert facededup.verify(store=store).problems == ()


def test_a_repair_keeps_the_batches_around_a_gap(store, filled):
    """The journal's middle record is damaged: what comes before and after stays."""
    vectors = people(3, 1, seed=9)
    with open_store(store).writer() as writer:
        for k in range(3):
            digest = digest_of(100 + k)
            face = Content(digest, (Face(Box(0, 0, 8, 8), 1.0),), vectors[k : k + 1])
            writer.commit(Batch(images=(record(b"/late/%d" % k, digest),), contents=(face,)))
        shutil.copytree(os.path.dirname(store), os.path.dirname(store) + "-copy")
    copy = os.path.join(os.path.dirname(store) + "-copy", os.path.basename(store))
    data = Path(copy + ".journal").read_bytes()
    flip(copy + ".journal", data.index(b"/late/1"))
    with pytest.raises(DamagedStoreError, match="verify --repair"):
        open_store(copy).snapshot()
    result = facededup.verify(store=copy, repair=True).repair
    assert (result.gaps, result.lost, result.findings_kept) == (1, (), True)
    assert set(read(copy)) == {*filled, "/late/0", "/late/2"}
    assert not os.path.exists(copy + ".journal")
    assert os.path.exists(copy + ".damaged.journal")
    flip(copy, 20_000)
    facededup.verify(store=copy, repair=True)


def files_of(store):
    return b"".join(path.read_bytes() for path in sorted(Path(store).parent.iterdir()))


def test_forgotten_bytes_are_in_no_file(store, filled):
    vector = filled["/made/up/p4.jpg"].tobytes()
    key = digest_of(5)
    with open_store(store).writer() as writer:
        box = Box(0, 0, 8, 8)
        replaced = bytes(range(32))
        gone, stays, old = (FaceKey(content, box) for content in (key, digest_of(6), replaced))
        writer.append_decisions(
            [
                Decision(a=gone, b=stays, verdict="same", who="Kim"),
                Decision(a=stays, b=FaceKey(digest_of(7), box), verdict="same", a_path=b"/made/up/p4.jpg"),
                Decision(a=old, b=stays, verdict="later", who="Lee", a_path=b"/made/up/p4.jpg"),
            ]
        )
    assert all(part in files_of(store) for part in (b"/made/up/p4.jpg", vector, key))
    result = facededup.forget(["/made/up/p4.jpg"], store=store)
    assert (result.images, result.faces, result.pairs, result.clusters) == (1, 1, 2, 1)
    raw = files_of(store)
    assert not any(part in raw for part in (b"p4.jpg", vector, key, b"Kim", b"Lee", replaced))
    assert filled["/made/up/p5.jpg"].tobytes() in raw
    assert set(read(store)) == set(filled) - {"/made/up/p4.jpg"}
    assert facededup.verify(store=store).problems == ()
    with open_store(store).snapshot() as snapshot:
        assert [decision.verdict for decision in snapshot.decisions()] == ["same"]
        (note,) = snapshot.info["forgotten"]
        assert {name: note[name] for name in ("images", "faces")} == {"images": 1, "faces": 1}
        assert set(note) == {"at", "images", "faces"}
        found = snapshot.findings()
        alive = set(snapshot.faces.id.tolist())
        pairs = found.pairs(0, found.pair_count)
        assert {*pairs.a.tolist(), *pairs.b.tolist(), *found.clusters.members.tolist()} <= alive
        assert (len(pairs), len(found.clusters)) == (7, 2)
    again = facededup.find(store=store)
    assert (again.pairs_total, again.clusters_total) == (10, 2)  # the decision that stays joins two
    assert not any(pair.new for pair in again.pairs)


def test_a_copy_keeps_what_its_twin_had(store, filled):
    vector = filled["/made/up/p0.jpg"].tobytes()
    shell = run("forget", "/made/up/p0.jpg", "--store", store)
    assert shell.exit_code == 0
    assert "removed: 1 image, 0 faces" in shell.output
    assert "byte-identical copies" in shell.output
    assert vector in files_of(store)
    assert run("forget", "/made/up/copy", "--store", store).exit_code == 0
    assert vector not in files_of(store)


def test_a_dry_run_only_counts(store, filled):
    before = files_of(store)
    shell = run("forget", "/made/up/", "--dry-run", "--json", "-", "--store", store)
    assert json.loads(shell.stdout) == {
        "schema": "facededup/forget/1",
        "store": store,
        "dry_run": True,
        "images": 10,
        "faces": 9,
        "pairs": 9,
        "clusters": 3,
        "copies_left": 0,
        "other_files": [],
    }
    assert files_of(store) == before


def test_forget_refuses_what_it_cannot_mean(store, filled):
    before = files_of(store)
    for line, sentence in (
        ((), "which images"),
        (("/made/up/p0.jpg", "/made/up/p"), "no image at or below"),
        (("--older-than", "-1"), "0 days or more"),
    ):
        shell = run("forget", *line, "--store", store)
        assert shell.exit_code == 2
        assert sentence in shell.stderr
    assert files_of(store) == before
    with pytest.raises(StoreNotFoundError):
        facededup.forget(["/x"], store=store + "x")


def test_forget_by_age_goes_by_when_an_image_was_first_indexed(store, filled):
    assert facededup.forget(older_than=1, store=store, dry_run=True).images == 0
    time.sleep(1.1)
    assert facededup.forget(older_than=0, store=store, dry_run=True).images == 10
    assert facededup.forget(["/made/up/copy"], older_than=0, store=store, dry_run=True).images == 1


def test_an_image_that_is_put_again_keeps_its_time(store, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    add_images(store, {"/a.jpg": (1, people(1, 1)), "/b.jpg": (2, people(1, 1, seed=1))})
    monkeypatch.setattr(time, "time", lambda: 2000.0)
    add_images(store, {"/b.jpg": (3, people(1, 1, seed=2)), "/a.jpg": (1, people(1, 1)), "/c.jpg": (4, [])})
    with open_store(store).snapshot() as snapshot:
        times = dict(zip(snapshot.images.path, snapshot.images.indexed_at.tolist(), strict=True))
    assert times == {b"/a.jpg": 1000, b"/b.jpg": 2000, b"/c.jpg": 2000}


def test_missing_images_are_forgotten_only_where_their_folder_can_be_reached(pictures, store):
    shutil.move(pictures / "hopper-dark.jpg", pictures.parent / "other.jpg")
    shutil.copytree(pictures, pictures.parent / "disk")
    facededup.index([pictures, pictures.parent / "disk"], store=store, processes=2)
    os.unlink(pictures / "hopper-half-size.jpg")
    os.unlink(pictures / "damaged-file.jpg")
    shutil.rmtree(pictures.parent / "disk")
    result = facededup.forget(missing=True, store=store)
    # The folder that is gone as a whole may be a disk that is not mounted.
    assert (result.images, result.copies_left) == (2, 2)
    assert len(read(store)) == 30


def test_a_moved_root_is_followed_without_reading(pictures, store):
    facededup.index([pictures], store=store, processes=2)
    before = read(store)
    with open_store(store).snapshot() as snapshot:
        ids = snapshot.images.id.tolist()
    moved = pictures.parent / "mnt" / "new=place"
    moved.parent.mkdir()
    shutil.copytree(pictures, moved)  # keeps times, changes inodes
    shutil.rmtree(pictures)
    Path(moved / "hopper-dark.jpg").touch()
    shell = run("index", moved, "--root", f"{pictures}={moved}", "--store", store, "-p", "1")
    assert shell.exit_code == 0, shell.output
    assert "17 images to their new paths (16 look unchanged)" in shell.output
    after = read(store)
    assert after == {path.replace(str(pictures), str(moved)): value for path, value in before.items()}
    with open_store(store).snapshot() as snapshot:
        assert snapshot.images.id.tolist() == ids
        assert snapshot.images.roots == [(os.fsencode(moved), snapshot.images.roots[0][1])]
    again = facededup.index([moved], store=store)
    assert (again.unchanged, again.read) == (17, 0)


def test_a_folder_that_went_up_or_down_is_followed(store, tmp_path):
    """Out of the folder below which the store knew it, and into one there; also when told again."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    vectors = people(1, 2)
    paths = {name: f"{tmp_path}/{name}" for name in ("a/b/x.jpg", "a/b/c/y.jpg")}
    add_images(store, {path: (row, vectors[row : row + 1]) for row, path in enumerate(paths.values())})
    assert facededup.move_root(tmp_path / "a" / "b", tmp_path / "a", store=store).images == 2
    assert set(read(store)) == {f"{tmp_path}/a/x.jpg", f"{tmp_path}/a/c/y.jpg"}
    assert facededup.move_root(tmp_path / "a", tmp_path / "a" / "b", store=store).images == 2
    assert set(read(store)) == set(paths.values())
    with pytest.raises(PathNotFoundError, match="no image below"):
        facededup.move_root(tmp_path / "a", tmp_path / "a" / "b", store=store)


def test_a_root_that_cannot_be_followed_is_refused(store, filled, tmp_path):
    with pytest.raises(PathNotFoundError, match="there is no folder"):
        facededup.move_root("/made/up", tmp_path / "none", store=store)
    with pytest.raises(PathNotFoundError, match="the folders it knows are: '/made/up'"):
        facededup.move_root("/made/down", tmp_path, store=store)
    shell = run("index", tmp_path, "--root", "nonsense", "--store", store)
    assert shell.exit_code == 2
    assert "OLD=NEW" in shell.stderr
    assert set(read(store)) == set(filled)


def test_pack_folds_the_journal(store, filled, monkeypatch):
    monkeypatch.setattr("facededup.store.hdf5_writer._LARGE_STORE", 1)
    with open_store(store).writer() as writer:
        writer.commit(Batch(images=(replace(record(b"/new", b""), retry=True),)))
    assert os.path.exists(store + ".journal")
    shell = run("store", "pack", "--store", store)
    assert shell.exit_code == 0, shell.output
    assert shell.output.startswith("packed: ")
    assert not os.path.exists(store + ".journal")
    assert len(read(store)) == 11


def test_forget_needs_a_condition():
    with pytest.raises(UsageError, match="give paths"):
        facededup.forget()
