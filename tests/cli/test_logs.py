"""The log of a command: complete, private, bounded, and nothing personal unless it is asked for."""

from __future__ import annotations

import os
import re

import pytest
from synthetic import add_images, people
from typer.testing import CliRunner

from facededup.cli import logs
from facededup.cli.app import app

LINE = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \d+ (DEBUG|INFO|WARNING|ERROR) facededup[\w.]*: .+"
)
SECRETS = ("registry", "lovelace", "secret-folder")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a store whose paths tell something, and a folder of files that are no images."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FACEDEDUP_STORE", raising=False)
    vectors = people(4, 2)
    images = {f"/registry/lovelace-{k}.jpg": (k + 1, vectors[k : k + 1]) for k in range(8)}
    add_images("facededup.h5", images)
    os.mkdir("secret-folder")
    for name in ("lovelace.jpg", "line\nbreak lovelace.jpg"):
        (tmp_path / "secret-folder" / name).write_text("no image")
    return tmp_path


def run(*line):
    return CliRunner().invoke(app, [*line, "--log-file", "log"]).exit_code


def lines(place, name="log"):
    return (place / name).read_text().splitlines()


def test_nothing_personal_is_in_it(place):
    """Also not of commands that fail, whose sentence names a path."""
    assert run("index", "secret-folder", "-p", "1") == 0
    assert run("find") == 0
    assert run("verify") == 0
    assert run("forget", "/registry/lovelace-1.jpg") == 0
    assert run("forget", "/registry/lovelace-1.jpg") == 2
    assert run("find", "--store", "secret-folder") == 2
    assert run("status") == 0
    written = lines(place)
    assert all(LINE.fullmatch(line) for line in written), written
    text = "\n".join(written)
    assert not [secret for secret in SECRETS if secret in text]
    assert "index: 2 found, 0 unchanged, 2 read" in text
    assert "find: 8 faces, 4 pairs in 4 clusters" in text
    assert "forget: 1 images, 1 faces" in text
    assert "forget ended after" in text
    assert "PathNotFoundError, exit code 2" in text
    assert text.count(" began") > 7


def test_verbose_says_which_and_why(place):
    assert run("index", "secret-folder", "-p", "1", "--verbose") == 0
    assert run("find", "--store", "secret-folder/none.h5", "--verbose") == 2
    text = (place / "log").read_text()
    assert "FILE_ERROR: " in text
    assert r"line\nbreak lovelace.jpg" in text
    assert "there is no store at" in text
    assert "Traceback" in text


def test_it_is_private_and_bounded(place, monkeypatch):
    before = os.umask(0)
    try:
        monkeypatch.setattr(logs, "BYTES", 1000)
        for _ in range(40):
            assert run("models") == 0
    finally:
        os.umask(before)
    names = sorted(path.name for path in place.iterdir() if path.name.startswith("log"))
    assert names == ["log", "log.1", "log.2", "log.3", "log.4", "log.5"]
    for name in names:
        assert (place / name).stat().st_size <= 1000
        assert (place / name).stat().st_mode & 0o777 == 0o600


def test_long_steps_are_told_once_a_minute(place, monkeypatch):
    from facededup.progress import SilentProgress

    monkeypatch.setattr(logs, "_SECONDS", 0.0)
    with logs.logging_to("log", "index", verbose=False):
        progress = logs.LoggedProgress(SilentProgress())
        progress.start("embed", 3)
        progress.advance()
        progress.advance(2)
        progress.finish()
    told = [line.partition("logs: ")[2] for line in lines(place)]
    assert told[1:-1] == ["embed began: 3", "embed: 1 of 3", "embed: 3 of 3", "embed ended: 3 of 3"]


def test_a_log_that_cannot_be_written_stops_the_command_before_it_began(place):
    done = CliRunner().invoke(app, ["find", "--log-file", "none/log"])
    assert done.exit_code == 2
    assert done.stderr.startswith("error: the log file 'none/log' cannot be written")


def test_a_full_disk_under_the_log_stops_nothing(place):
    if not os.path.exists("/dev/full"):
        pytest.skip("needs /dev/full")
    os.symlink("/dev/full", "log")
    assert run("status") == 0
