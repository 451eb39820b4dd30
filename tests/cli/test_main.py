"""The command as users start it: a process of its own, real pictures, real exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from facededup.cli.app import app
from facededup.cli.command import Command

ROOT = Path(__file__).parents[2]


def facededup(*line: str | bytes, cwd: Path, **options) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name != "FACEDEDUP_STORE"}
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(
        [sys.executable, "-m", "facededup", *line],
        cwd=cwd,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
        **options,
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> tuple[Path, str]:
    """The demo's folder and what its first run printed."""
    folder = tmp_path_factory.mktemp("demo")
    result = facededup("demo", "-p", "1", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    return folder, result.stdout.decode()


def test_the_demo_says_what_happened(demo):
    _, text = demo
    assert "OK 13, NO_FACE_DETECTED 3, FILE_ERROR 1" in text
    assert "faces embedded  12" in text
    assert "in 2 clusters" in text
    store = os.path.join("demo", "facededup.h5")
    assert text.splitlines()[-1].strip() == f"facededup review --store {store}"
    for name in ("no-face-cat.jpg", "no-face-coffee.jpg", "no-face-rocket.jpg", "damaged-file.jpg"):
        assert name in text


def test_the_demo_again_finds_nothing_new(demo):
    folder, _ = demo
    result = facededup("demo", cwd=folder)
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode()
    assert "17 (not read again)" in text
    assert "in 2 clusters" in text
    assert " new " not in text


def test_find_as_json_on_standard_output(demo):
    folder, _ = demo
    store = str(folder / "demo" / "facededup.h5")
    result = facededup(
        "find", "--store", store, "--json", "-", "--csv", "p.csv", "--metrics", "m.json", cwd=folder
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "facededup/findings/1"
    members = [{os.path.basename(face["path"]) for face in c["faces"]} for c in document["clusters"]]
    assert [len(names) for names in members] == [7, 6]
    assert all(name.startswith(("hopper", "copy-of-hopper")) for name in members[0])
    assert all(name.startswith("collins") for name in members[1])
    # 7 * 6 / 2 + 6 * 5 / 2: every face with every other of the same person.
    assert document["pairs_total"] == len(document["pairs"]) == 36
    assert len((folder / "p.csv").read_text().splitlines()) == 37
    assert json.loads((folder / "m.json").read_text())["command"] == "find"


def test_what_the_files_leave_out_is_told_where_there_are_files(demo):
    folder, _ = demo
    find = ("find", "--store", str(folder / "demo" / "facededup.h5"), "--limit", "3")
    assert b"files list" not in facededup(*find, cwd=folder).stderr
    assert b"files list 3 of 36 pairs" in facededup(*find, "--csv", "few.csv", cwd=folder).stderr


def test_files_are_written_though_nobody_reads_the_terminal(demo):
    folder, _ = demo
    store, read, write = str(folder / "demo" / "facededup.h5"), *os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        subprocess.run(
            [
                sys.executable,
                "-m",
                "facededup",
                "find",
                "--store",
                store,
                "--json",
                "f.json",
                "--report",
                "r.html",
            ],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=closed,
            timeout=120,
            check=False,
        )
    assert json.loads((folder / "f.json").read_text())["pairs_total"] == 36
    assert "</html>" in (folder / "r.html").read_text()


def test_search_and_status(demo):
    folder, _ = demo
    store = str(folder / "demo" / "facededup.h5")
    probe = str(folder / "demo" / "pictures" / "hopper-dark.jpg")
    found = facededup(
        "search", probe, "-k", "9", "--threshold", "0.4", "--store", store, "--json", "-", cwd=folder
    )
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["matches"]) == 7
    status = facededup("status", "--store", store, "--json", "-", cwd=folder)
    assert json.loads(status.stdout)["images"]["total"] == 17
    assert b"clusters" in facededup("status", "--store", store, cwd=folder).stdout


def test_run_adds_up_its_two_halves(demo, tmp_path):
    folder, _ = demo
    picture = str(folder / "demo" / "pictures" / "collins-half-size.jpg")
    result = facededup("run", picture, "-p", "1", "--metrics", "m.json", "--json", "f.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["command"] == "run"
    assert metrics["images_per_second"] > 0
    assert metrics["stages"]["embed"]["items"] == 1
    assert metrics["stages"]["search"]["seconds"] > 0
    assert json.loads((tmp_path / "f.json").read_text())["metrics"]["command"] == "run"


@pytest.mark.parametrize(
    ("line", "code", "sentence"),
    [
        (["index", "missing"], 2, "missing"),
        (["find"], 2, "facededup.h5"),
        (["status"], 2, "facededup.h5"),
        (["find", "--bogus"], 2, "No such option"),
        (["index"], 2, "there is nothing to index"),
        (["find", "--store", "text.h5"], 3, "text.h5"),
        (["index", ".", "--store", "text.h5"], 3, "text.h5"),
        (["find", "--json", "nowhere/out.json"], 1, "there is no folder"),
        (["models", "--json", "."], 1, "it is a folder"),
    ],
)
def test_an_error_is_one_sentence_and_its_exit_code(tmp_path, monkeypatch, line, code, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.h5").write_text("this is no store")
    result = CliRunner().invoke(app, line)
    assert result.exit_code == code, result.stderr
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    lines = result.stderr.rstrip().splitlines()
    assert len(lines) == 1 or lines[-1].startswith("Error:")


def test_verbose_shows_the_traceback(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["find", "--verbose"])
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.rstrip().splitlines()[-1].startswith("error: ")


def test_an_error_nobody_foresaw_is_a_sentence_too():
    def broken() -> None:
        raise ZeroDivisionError("by nothing")

    made = typer.Typer()
    made.command(cls=Command)(broken)
    result = CliRunner().invoke(made, [])
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ZeroDivisionError: by nothing (run again with --verbose")
    assert "Traceback" not in result.stderr


def test_an_interruption_is_exit_code_130():
    def interrupted() -> None:
        raise KeyboardInterrupt

    made = typer.Typer()
    made.command(cls=Command)(interrupted)
    assert CliRunner().invoke(made, []).exit_code == 130


def test_a_path_that_is_not_utf8_arrives(tmp_path):
    result = facededup("index", b"latin-\xe9", cwd=tmp_path)
    assert result.returncode == 2
    assert b"latin-\\udce9" in result.stderr


def test_no_image_is_not_an_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    result = CliRunner().invoke(app, ["index", "empty"])
    assert result.exit_code == 0, result.stderr
    assert "there is no image file under the given paths" in result.stdout


def test_a_reader_that_leaves_is_no_drama(tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        result = subprocess.run(
            [sys.executable, "-m", "facededup", "models"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=broken,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
    assert result.stderr == b""


def onto_a_full_disk(*line, cwd):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs the device that is always full")
    with open("/dev/full", "wb") as full:
        return subprocess.run(
            [sys.executable, "-m", "facededup", *line],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            timeout=120,
            check=False,
        )


def test_a_full_disk_behind_standard_output_is_a_sentence(demo):
    folder, _ = demo
    ended = onto_a_full_disk("find", "--store", "demo/facededup.h5", "--json", "-", cwd=folder)
    assert ended.returncode == 1
    assert ended.stderr == b"error: cannot write to standard output: No space left on device\n"


@pytest.mark.skipif(os.name != "posix", reason="needs a shell that closes streams")
@pytest.mark.parametrize("closed", [">&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_error(closed, tmp_path):
    (tmp_path / "empty").mkdir()
    line = f'"{sys.executable}" -m facededup run empty --json found.json {closed}'
    ended = subprocess.run(
        ["sh", "-c", line],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert json.loads((tmp_path / "found.json").read_text())["faces"] == 0


def test_a_broken_pipe_that_is_not_the_terminals_is_an_error_with_a_sentence():
    def body() -> None:
        read, write = os.pipe()
        os.close(read)
        try:
            os.write(write, b"work for a process that has died")
        finally:
            os.close(write)

    commands = typer.Typer(rich_markup_mode=None)
    commands.command(cls=Command)(body)
    result = CliRunner().invoke(commands, [])
    assert result.exit_code == 1
    assert "error: BrokenPipeError" in result.stderr


def test_nothing_heavy_is_imported_to_show_help():
    program = (
        "import sys; import facededup.cli.app;"
        "heavy = {'numpy', 'h5py', 'faiss', 'onnx', 'onnxruntime', 'dlib', 'PIL', 'rich.console'};"
        "print(*heavy.intersection(sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == b""


def test_help_to_a_full_disk_is_a_sentence(tmp_path):
    ended = onto_a_full_disk("--help", cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (1, b"facededup: No space left on device\n")
