"""What a folder of real life holds, and what goes wrong around it: outcomes, sentences and exit codes."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from synthetic import FINGERPRINT, add_images, people

import facededup
from facededup.devices import count_gpus
from facededup.store.opener import open_store


def run(*line, **options):
    """The command as a process: exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "facededup", *map(os.fspath, line)],
        capture_output=True,
        timeout=120,
        check=False,
        **options,
    )
    notes = done.stderr.decode(errors="replace")
    assert "Traceback" not in notes
    return done.returncode, done.stdout, notes


def refusal(*line, **options):
    """The exit code and the one sentence of a command that cannot do what it is asked."""
    code, _, notes = run(*line, **options)
    lines = notes.strip().splitlines()
    assert len(lines) == 1, notes
    assert lines[0].startswith("error: ")
    return code, lines[0]


@contextlib.contextmanager
def tmpfs(folder, *options):
    """A small file system of its own; only root may mount one."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", ",".join(("mode=755", *options)), "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_folder_of_horrors(all_pictures, tmp_path, store):
    folder = os.fsencode(tmp_path / "horrors")
    os.mkdir(folder)
    face = (all_pictures / "hopper-half-size.jpg").read_bytes()
    good = [
        b"with space.jpg",
        b"quote'\".JPG",
        b"new\nline.jpg",
        "ünïcødé-日本.jpeg".encode(),
        b"not-utf8-\xff\xfe.jpg",
        b"-dash.jpg",
        b"[bold red]markup.jpg",
    ]
    for number, name in enumerate(good):
        # A comment marker of its own keeps each a different file.
        with open(os.path.join(folder, name), "wb") as file:
            file.write(face + bytes([number]))
    bad = {
        b"text.jpg": b"this is no picture\n",
        b"page.png": b"<html><script>alert(1)</script></html>",
        b"empty.jpg": b"",
        b"truncated.jpg": face[: len(face) // 2],
    }
    for name, content in bad.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(content)
    Image.new("RGB", (1, 1), "red").save(os.path.join(os.fsdecode(folder), "one-pixel.png"))
    Image.new("RGB", (20_000, 10), "grey").save(os.path.join(os.fsdecode(folder), "wide.png"))
    os.symlink(folder, os.path.join(folder, b"loop"))
    os.symlink(b"loop2", os.path.join(folder, b"loop2"))
    os.symlink(os.path.join(folder, good[0]), os.path.join(folder, b"link.jpg"))

    code, out, notes = run(
        "run", tmp_path / "horrors", "--store", store, "--json", tmp_path / "out.json", "-p", "2"
    )
    assert code == 0, notes
    assert b"\x1b" not in out
    assert b"OK 7, NO_FACE_DETECTED 2, FILE_ERROR 4" in out
    document = json.loads((tmp_path / "out.json").read_bytes())
    assert document["images"] == {"total": 13, "ok": 7, "no_face": 2, "multiple_faces": 0, "failed": 4}
    (cluster,) = document["clusters"]
    assert {os.fsencode(os.path.basename(member["path"])) for member in cluster["faces"]} == set(good)
    reasons = {os.path.basename(item["path"]): item["reason"] for item in document["unencoded"]}
    assert set(reasons) == {os.fsdecode(name) for name in bad} | {"one-pixel.png", "wide.png"}
    assert all(reasons.values())

    code, out, _ = run("index", tmp_path / "horrors", "--store", store, "--follow-symlinks")
    assert code == 0
    assert b"images found    14" in out, "the link to a picture is followed, the loops are not"
    assert b"loop2: too many levels of symbolic links" in out


def test_no_such_path(tmp_path, store):
    code, sentence = refusal("index", tmp_path / "nowhere", "--store", store)
    assert (code, "nowhere" in sentence, os.path.exists(store)) == (2, True, False)


def test_no_such_store(tmp_path):
    for line in (["find"], ["status"], ["search", __file__]):
        code, sentence = refusal(*line, "--store", tmp_path / "none.h5")
        assert code == 2
        assert "facededup index" in sentence


def test_a_store_that_is_a_text_file(all_pictures, tmp_path):
    text = tmp_path / "notes.h5"
    text.write_text("milk, bread\n")
    for line in (["find"], ["status"], ["index", all_pictures], ["index", all_pictures, "--reset"]):
        code, sentence = refusal(*line, "--store", text)
        assert code == 3, sentence
    assert text.read_text() == "milk, bread\n"


def test_a_store_made_with_other_settings(all_pictures, store):
    add_images(store, {"/a.jpg": (1, people(1, 1))})
    code, sentence = refusal("index", all_pictures, "--store", store, "--faces", "largest")
    assert code == 2
    assert "'all'" in sentence
    code, sentence = refusal("index", all_pictures, "--store", store, "--model", "Facenet")
    assert code == 2
    assert "'Dlib'" in sentence


def test_an_unknown_model_names_the_known_ones(all_pictures, store):
    code, sentence = refusal("index", all_pictures, "--store", store, "--model", "Nonsense")
    assert (code, "Dlib" in sentence, os.path.exists(store)) == (2, True, False)


def test_a_gpu_that_is_not_there(all_pictures, store):
    code, sentence = refusal("index", all_pictures, "--store", store, "--gpu")
    assert (code, "GPU" in sentence, os.path.exists(store)) == (2, True, False)


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")
@pytest.mark.parametrize("demand", ["--gpu", "--devices=0", "--precision=float16", "--search-engine=torch"])
def test_run_refuses_what_the_search_cannot_do_before_it_indexes(all_pictures, store, demand):
    code, sentence = refusal("run", all_pictures, "--store", store, demand)
    assert (code, "GPU" in sentence, os.path.exists(store)) == (2, True, False)


def test_a_second_writer_is_told_who_the_first_is(all_pictures, store):
    with open_store(store).writer(FINGERPRINT):
        code, sentence = refusal("index", all_pictures, "--store", store)
    assert code == 1
    assert str(os.getpid()) in sentence


def test_a_full_disk_keeps_what_was_committed(all_pictures, tmp_path):
    with tmpfs(tmp_path / "small", "size=96k") as folder:
        store = str(folder / "faces.h5")
        vectors = people(4, 3)
        add_images(store, {f"/{n}.jpg": (n + 1, [vector]) for n, vector in enumerate(vectors)})
        (folder / "filler").write_bytes(bytes(free_bytes(folder) - 4096))
        code, sentence = refusal("index", all_pictures, "--store", store, "-p", "1")
        assert code == 1
        assert "space" in sentence
        (folder / "filler").unlink()
        assert facededup.store_status(store=store).images.total == 12
        assert facededup.index([all_pictures], store=store, processes=1).counts.ok == 25


def free_bytes(folder):
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def test_a_read_only_folder(all_pictures, tmp_path):
    with tmpfs(tmp_path / "fixed") as folder:
        store = str(folder / "faces.h5")
        add_images(store, {f"/{n}.jpg": (n + 1, [vector]) for n, vector in enumerate(people(2, 2))})
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
        for line in (["index", all_pictures], ["find"]):
            code, sentence = refusal(*line, "--store", store)
            assert code == 1, sentence
            assert "read-only" in sentence.lower()
        assert run("status", "--store", store)[0] == 0
        assert refusal("index", all_pictures, "--store", folder / "new.h5")[0] == 1


def test_results_that_cannot_be_written_are_refused_before_the_work(all_pictures, store, tmp_path):
    code, sentence = refusal("run", all_pictures, "--store", store, "--json", tmp_path / "none" / "out.json")
    assert code in (1, 2)
    assert "none" in sentence
    assert not os.path.exists(store)


def test_a_file_that_vanishes_between_walk_and_decode(pictures, store):
    """The walk sees all names before the first is read: one is a pipe's worth of time too late."""

    class Vanish:
        def start(self, step, _total):
            if step == "index":
                (pictures / "hopper-dark.jpg").unlink()

        def advance(self, amount=1):
            pass

        def finish(self):
            pass

    result = facededup.index([pictures], store=store, processes=1, progress=Vanish())
    (problem,) = [item for item in result.problems if item.path.endswith("hopper-dark.jpg")]
    assert problem.outcome is facededup.Outcome.FILE_ERROR
    assert result.ok == 12
    shutil.copy(pictures / "hopper-original.jpg", pictures / "hopper-dark.jpg")
    assert facededup.index([pictures], store=store, processes=1).counts.ok == 13


def test_settings_that_make_no_sense(tmp_path):
    (tmp_path / "bad.toml").write_text("treshold = 0.5\n")
    for line, word in (
        (["find", "--threshold", "2"], "threshold"),
        (["find", "--config", tmp_path / "bad.toml"], "treshold"),
        (["find", "--config", tmp_path / "none.toml"], "none.toml"),
        (["find", "--store", "postgresql://localhost:port/x"], "port"),
        (["index", tmp_path, "--engine", "magic"], "magic"),
    ):
        code, sentence = refusal(
            *line, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
        )
        assert code == 2, sentence
        assert word in sentence
