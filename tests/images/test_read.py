from __future__ import annotations

import os
import threading

import pytest

from facededup.images.read import ReadError, read_file


def refusal(path, max_bytes=100):
    with pytest.raises(ReadError) as caught:
        read_file(str(path), max_bytes=max_bytes)
    return caught.value


def test_bytes_and_stat(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    data, stat = read_file(str(path), max_bytes=3)
    assert data == b"abc"
    assert (stat.size, stat.mtime_ns, stat.inode) == (3, path.stat().st_mtime_ns, path.stat().st_ino)


def test_what_is_gone_or_no_file(tmp_path):
    gone = refusal(tmp_path / "gone")
    assert (gone.reason, gone.retry, gone.stat) == ("file vanished", True, None)
    os.mkfifo(tmp_path / "pipe")
    assert refusal(tmp_path / "pipe").reason == "not a regular file"
    assert "directory" in refusal(tmp_path).reason


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as file:
        file.truncate(1 << 40)
    error = refusal(path)
    assert (error.reason, error.retry) == (f"file has {1 << 40} bytes, more than the limit of 100", False)
    assert error.stat.size == 1 << 40


def test_a_file_that_changes_while_it_is_read(tmp_path):
    path = tmp_path / "growing"
    path.write_bytes(bytes(4_000_000))
    stop = threading.Event()

    def grow():
        with open(path, "ab", buffering=0) as file:
            while not stop.wait(0.0001):
                file.write(b"x")

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(200):
            try:
                read_file(str(path), max_bytes=1 << 30)
            except ReadError as exc:
                error = exc
                break
    finally:
        stop.set()
        writer.join()
    assert (error.reason, error.retry) == ("file changed while it was read", True)
