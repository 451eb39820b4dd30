from __future__ import annotations

import os
import stat

import pytest

from facededup.errors import JobError
from facededup.report.files import check_writable, writing


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("before")
    with writing(str(target)) as file:
        file.write("after")
        file.flush()
        assert target.read_text() == "before"
    assert target.read_text() == "after"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_failure_leaves_the_file_before_and_no_litter(tmp_path):
    target = tmp_path / "out.json"
    target.write_text("before")

    def fail() -> None:
        with writing(str(target)) as file:
            file.write("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert target.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "real.json").write_text("before")
    (tmp_path / "link.json").symlink_to("real.json")
    with writing(str(tmp_path / "link.json")) as file:
        file.write("after")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "after"


def test_a_device_is_written_to_and_not_replaced():
    check_writable(os.devnull)
    with writing(os.devnull) as file:
        file.write("gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_full_disk_is_one_sentence():
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with pytest.raises(JobError, match="No space left"), writing("/dev/full") as file:
        file.write("x" * 100_000)


@pytest.mark.parametrize("name", ["missing/out.json", "."])
def test_bad_targets_are_found_before_the_work(tmp_path, name):
    with pytest.raises(JobError, match="cannot write"):
        check_writable(str(tmp_path / name))


def test_good_targets_pass(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-", "out.json", str(tmp_path / "out.json")):
        check_writable(name)
    assert os.listdir(tmp_path) == []


def test_bytes_that_are_not_utf8_go_through_standard_output(capfdbinary):
    with writing("-") as file:
        file.write("latin-\udce9\n")
    assert capfdbinary.readouterr().out == b"latin-\xe9\n"
