"""`index` on real pictures: what is read, what is left alone, what moves."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import facededup
from facededup.errors import (
    PackageMissingError,
    PathNotFoundError,
    SettingMismatchError,
    WeightsMissingError,
)
from facededup.store.opener import open_store

OPTIONS = {"processes": 2}


def index(folder, store, **options):
    return facededup.index([folder], store=store, **{**OPTIONS, **options})


def table(store):
    """Everything a later run must find again: path -> (outcome, embeddings)."""
    with open_store(store).snapshot() as snapshot:
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        found = {}
        for row, path in enumerate(snapshot.images.path):
            faces = np.flatnonzero(snapshot.faces.image == snapshot.images.first[row])
            found[os.fsdecode(path)] = (int(snapshot.images.outcome[row]), vectors[faces])
        assert len(found) == len(snapshot.images), "an image is in the store twice"
        return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for path, (outcome, vectors) in a.items():
        assert outcome == b[path][0]
        np.testing.assert_allclose(vectors, b[path][1], atol=1e-6)


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "no weights"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"detector": "mediapipe"}, "needs the package mediapipe"),
        ({"detector": "yunet"}, "needs the file face_detection_yunet_2023mar.onnx"),
        ({"model": "ArcFace"}, "arcface_weights.onnx is not on this machine"),
    ],
)
@pytest.mark.usefixtures("no_weights")
def test_what_cannot_be_opened_leaves_no_new_store_and_no_emptied_one(pictures, store, options, words):
    with pytest.raises((PackageMissingError, WeightsMissingError), match=words):
        index(pictures, store, **options)
    assert not os.path.exists(store)
    index(pictures, store)
    before = table(store)
    with pytest.raises((PackageMissingError, WeightsMissingError), match=words):
        index(pictures, store, reset=True, **options)
    assert_same(table(store), before)


def test_every_picture_gets_its_outcome_and_a_second_run_reads_nothing(pictures, store):
    first = index(pictures, store)
    assert (first.found, first.read, first.unchanged) == (17, 17, 0)
    assert (first.ok, first.no_face, first.multiple_faces, first.failed) == (13, 3, 0, 1)
    assert (first.embedded, first.copies) == (12, 1)
    assert first.faces == 13
    assert {os.path.basename(problem.path) for problem in first.problems} == {
        "damaged-file.jpg",
        "no-face-cat.jpg",
        "no-face-coffee.jpg",
        "no-face-rocket.jpg",
    }
    stages = first.metrics.to_dict()["stages"]
    assert all(
        stages[name]["seconds"] > 0 for name in ("scan", "decode", "detect", "align", "embed", "store")
    )
    assert stages["embed"]["items"] == 12

    second = index(pictures, store)
    assert (second.found, second.read, second.unchanged, second.embedded) == (17, 0, 17, 0)
    assert second.counts == first.counts


def test_embeddings_are_normalised_and_tell_the_two_people_apart(pictures, store):
    index(pictures, store)
    vectors = {os.path.basename(path): value[1] for path, value in table(store).items() if len(value[1])}
    for value in vectors.values():
        np.testing.assert_allclose(np.linalg.norm(value, axis=1), 1, atol=1e-6)
    hopper, collins = vectors["hopper-original.jpg"][0], vectors["collins-original.jpg"][0]
    assert hopper @ vectors["hopper-dark.jpg"][0] > 0.97
    assert hopper @ collins < 0.92


def test_only_new_and_changed_files_are_read(pictures, store):
    index(pictures, store)
    shutil.copy(pictures / "hopper-dark.jpg", pictures / "collins-dark.jpg")
    Image.open(pictures / "collins-original.jpg").crop((100, 0, 400, 300)).save(pictures / "new.jpg")
    result = index(pictures, store)
    assert (result.read, result.unchanged, result.embedded, result.copies) == (2, 16, 1, 1)
    vectors = table(store)
    np.testing.assert_array_equal(
        vectors[str(pictures / "collins-dark.jpg")][1], vectors[str(pictures / "hopper-dark.jpg")][1]
    )


def test_a_new_time_stamp_alone_embeds_nothing(pictures, store):
    index(pictures, store)
    os.utime(pictures / "hopper-dark.jpg", (1, 1))
    result = index(pictures, store)
    assert (result.read, result.embedded, result.copies, result.moved) == (1, 0, 0, 0)
    assert index(pictures, store).read == 0


def test_rehash_reads_everything_and_embeds_nothing(pictures, store):
    index(pictures, store)
    before = table(store)
    result = index(pictures, store, rehash=True)
    assert (result.read, result.embedded, result.moved) == (17, 0, 0)
    assert_same(before, table(store))


def test_a_moved_file_keeps_its_embedding_and_its_id(pictures, store):
    index(pictures, store)
    with open_store(store).snapshot() as snapshot:
        ids = dict(zip(snapshot.images.path, snapshot.images.id.tolist(), strict=True))
    (pictures / "deep" / "er").mkdir(parents=True)
    old, new = pictures / "hopper-dark.jpg", pictures / "deep" / "er" / "moved.jpg"
    old.rename(new)
    result = index(pictures, store)
    assert (result.read, result.moved, result.copies, result.embedded) == (1, 1, 0, 0)
    with open_store(store).snapshot() as snapshot:
        row = snapshot.images.path.index(os.fsencode(new))
        assert snapshot.images.id[row] == ids[os.fsencode(old)]
        assert os.fsencode(old) not in snapshot.images.path


def test_a_renamed_root_is_a_move_of_everything_in_it(pictures, store):
    before = index(pictures, store)
    renamed = pictures.rename(pictures.with_name("renamed"))
    result = index(renamed, store)
    assert (result.moved, result.copies, result.unresolved, result.embedded) == (17, 0, 0, 0)
    assert result.counts == before.counts


def test_the_same_bytes_while_the_old_root_is_out_of_reach_are_neither_move_nor_copy(pictures, store):
    index(pictures, store)
    elsewhere = shutil.copytree(pictures, pictures.with_name("elsewhere"))
    away = pictures.rename(pictures.with_name("unplugged"))
    result = index(elsewhere, store)
    assert (result.unresolved, result.moved, result.copies, result.embedded) == (17, 0, 0, 0)
    found = facededup.find(store=store)
    listed = {member.path for cluster in found.clusters for member in cluster.faces}
    assert not any("elsewhere" in path for path in listed)

    away.rename(pictures)
    result = index(elsewhere, store)
    assert (result.unresolved, result.copies, result.embedded) == (0, 17, 0)


def test_two_files_that_changed_places_keep_their_embeddings(pictures, store):
    index(pictures, store)
    a, b = pictures / "hopper-dark.jpg", pictures / "collins-dark.jpg"
    before = table(store)
    a.rename(pictures / "x")
    b.rename(a)
    (pictures / "x").rename(b)
    assert index(pictures, store).embedded == 0
    after = table(store)
    np.testing.assert_array_equal(after[str(a)][1], before[str(b)][1])
    np.testing.assert_array_equal(after[str(b)][1], before[str(a)][1])


def test_a_file_replaced_here_and_found_there_keeps_its_embedding(pictures, store):
    index(pictures, store)
    (pictures / "hopper-dark.jpg").rename(pictures / "zzz.jpg")
    Image.open(pictures / "collins-original.jpg").crop((90, 0, 400, 310)).save(pictures / "hopper-dark.jpg")
    assert index(pictures, store).embedded == 1


def test_vanished_images_stay(pictures, store):
    index(pictures, store)
    (pictures / "hopper-dark.jpg").unlink()
    result = index(pictures, store)
    assert (result.found, result.counts.total) == (16, 17)


def test_circumstances_are_tried_again_and_contents_are_not(pictures, store):
    for picture in pictures.glob("collins-*"):
        picture.rename(pictures.parent / picture.name)
    for picture in pictures.glob("*hopper-*"):
        picture.unlink()
    # It fails so fast that no time limit is sure to be first.
    (pictures / "damaged-file.jpg").unlink()
    hurried = index(pictures, store, image_timeout=0.0001)
    assert hurried.failed == hurried.read == 3
    assert all("took longer" in problem.reason for problem in hurried.problems)
    result = index(pictures, store)
    assert (result.read, result.no_face, result.failed) == (3, 3, 0)
    assert index(pictures, store).read == 0


def test_settings_of_the_store_are_kept_and_a_different_one_is_refused(pictures, store):
    index(pictures, store, faces="largest")
    assert index(pictures, store).fingerprint.faces == "largest"
    with pytest.raises(SettingMismatchError, match="faces 'largest', not 'all'"):
        index(pictures, store, faces="all")
    with pytest.raises(SettingMismatchError, match="flip off, not on"):
        facededup.find(store=store, flip=True)
    with pytest.raises(SettingMismatchError, match="crops 1, not 5"):
        index(pictures, store, crops=5)
    assert index(pictures, store, faces="all", reset=True).fingerprint.faces == "all"


def test_reset_starts_over(pictures, store):
    index(pictures, store)
    facededup.find(store=store)
    shutil.rmtree(pictures)
    pictures.mkdir()
    result = index(pictures, store, reset=True)
    assert result.counts.total == 0
    assert facededup.store_status(store=store).findings is None


def test_an_empty_folder_makes_an_empty_store(tmp_path, store):
    (tmp_path / "empty").mkdir()
    result = index(tmp_path / "empty", store)
    assert (result.found, result.faces) == (0, 0)
    assert facededup.find(store=store).clusters_total == 0


def test_a_missing_path_is_refused_before_anything_is_done(pictures, store):
    with pytest.raises(PathNotFoundError, match="nowhere"):
        facededup.index([pictures, "nowhere"], store=store)
    assert not Path(store).exists()


IMAGES = 400


def many_pictures(folder, count):
    """Pictures of one person that differ in a few pixels each."""
    folder.mkdir()
    source = next(
        path for path in Path(os.environ["PICTURES"]).iterdir() if path.name == "hopper-half-size.jpg"
    )
    with Image.open(source) as image:
        for number in range(count):
            copy = image.copy()
            copy.putpixel((number % copy.width, number // copy.width), (255, 0, number % 256))
            copy.save(folder / f"{number:04}.jpg", quality=90)


@pytest.fixture
def long_job(all_pictures, tmp_path, monkeypatch):
    monkeypatch.setenv("PICTURES", str(all_pictures))
    many_pictures(tmp_path / "many", IMAGES)
    return tmp_path / "many"


def start_index(folder, store):
    """Starts a long run and waits until it has committed something and is far from its end."""
    command = [sys.executable, "-m", "facededup", "index", str(folder), "--store", store, "-p", "2"]
    before = images_in(store)
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    deadline = time.monotonic() + 60
    while images_in(store) == before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, "the run was over before it could be disturbed"
    return process


def images_in(store):
    return facededup.store_status(store=store).images.total if os.path.exists(store) else 0


def test_ctrl_c_keeps_the_work_so_far_and_exits_130(long_job, store):
    process = start_index(long_job, store)
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate(timeout=60)
    assert process.returncode == 130, notes.decode()
    assert b"Traceback" not in notes
    assert b"interrupted" in notes
    kept = images_in(store)
    assert 0 < kept < IMAGES
    result = index(long_job, store)
    assert (result.unchanged, result.read) == (kept, IMAGES - kept)


def test_a_killed_run_loses_nothing_committed_and_the_next_one_finishes(long_job, store, tmp_path):
    undisturbed = str(tmp_path / "undisturbed.h5")
    index(long_job, undisturbed)
    for _ in range(2):
        process = start_index(long_job, store)
        committed = images_in(store)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=60)
        assert committed <= images_in(store) < IMAGES
    kept = images_in(store)
    result = index(long_job, store)
    assert (result.unchanged, result.read) == (kept, IMAGES - kept)
    assert_same(table(undisturbed), table(store))
    assert sorted(os.listdir(tmp_path)) == ["faces.h5", "many", "undisturbed.h5"]
