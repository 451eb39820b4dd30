"""A full disk, a folder that cannot be written, private files."""

import os
import sys
import tempfile

import pytest
from programs import start
from samples import FINGERPRINT, image, numbered

from facededup.errors import PathNotFoundError, UsageError
from facededup.store.base import Batch
from facededup.store.hdf5 import Hdf5Store
from facededup.store.opener import open_store

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and users as Linux has them")


def run(*args):
    process = start("limited.py", *args)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    return out.splitlines()


@linux
@pytest.mark.parametrize("size", [0, 2_000, 15_000, 40_000, 200_000, 1_000_000])
def test_a_full_disk_loses_nothing(store, size):
    """Whether it is the journal, the findings or the fold that meets the limit."""
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
    lines = run(store.path, "limit", size)
    committed = [int(line) for line in lines if line.isdigit()]
    sentence = next(line for line in lines if line.startswith("StoreWriteError"))
    assert "File too large" in sentence
    assert "what was committed before is safe" in sentence
    with store.snapshot() as snapshot:
        expected = [image.path for number in [0, *committed] for image in numbered(number).images]
        assert snapshot.images.path == expected
        assert snapshot.findings() is None
    assert store.check() == []
    with store.writer() as writer:
        writer.commit(numbered(200))
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == len(expected) + 3
    assert os.listdir(os.path.dirname(store.path)) == ["s.h5"]


@linux
def test_a_full_disk_under_a_new_store(store):
    lines = run(store.path, "limit", 1000)
    assert lines[0].startswith("StoreWriteError")
    assert os.listdir(os.path.dirname(store.path)) == []


@linux
def test_after_a_failed_commit_the_writer_takes_no_more(store):
    with store.writer(FINGERPRINT):
        pass
    lines = run(store.path, "limit", 12_000)
    assert any("takes no more after a failed write" in line for line in lines)


@linux
def test_a_folder_that_cannot_be_written():
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to the other user
        store = Hdf5Store(os.path.join(folder, "s.h5"))
        with store.writer(FINGERPRINT) as writer:
            writer.commit(numbered(0))
        os.chmod(folder, 0o555)
        os.chmod(store.path, 0o444)
        try:
            for path in (store.path, os.path.join(folder, "new.h5")):
                (line,) = run(path, "user")
                assert line.startswith("StoreWriteError the store ")
                assert "Permission denied" in line
        finally:
            os.chmod(folder, 0o755)
        assert os.listdir(folder) == ["s.h5"]


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(PathNotFoundError, match="make it first"):
        Hdf5Store(str(tmp_path / "none" / "s.h5")).writer(FINGERPRINT)


def test_files_are_private(store):
    before = os.umask(0)
    try:
        with store.writer(FINGERPRINT) as writer:
            writer.commit(numbered(0))
            names = os.listdir(os.path.dirname(store.path))
            assert sorted(names) == ["s.h5", "s.h5.journal", "s.h5.lock"]
            modes = {
                os.stat(os.path.join(os.path.dirname(store.path), name)).st_mode & 0o777 for name in names
            }
            assert modes == {0o600}
    finally:
        os.umask(before)
    assert os.stat(store.path).st_mode & 0o777 == 0o600


def test_an_interrupted_commit_leaves_room_for_the_next(store, monkeypatch):
    """Ctrl-C may come between the write and the flush."""
    from facededup.store.files import disk

    flushed = disk.flush
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        calls = iter([True])

        def interrupt(descriptor):
            if next(calls, False):
                raise KeyboardInterrupt
            flushed(descriptor)

        monkeypatch.setattr(disk, "flush", interrupt)
        with pytest.raises(KeyboardInterrupt):
            writer.commit(numbered(1))
        writer.commit(numbered(2))
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 6
    assert store.check() == []


def test_leaving_with_an_error_keeps_every_commit(store):
    def fail():
        with store.writer(FINGERPRINT) as writer:
            writer.commit(Batch(images=(image(b"/a", "k"),)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with store.snapshot() as snapshot:
        assert snapshot.images.path == [b"/a"]


@pytest.mark.parametrize("location", ["mysql://host/db", "s3+https://bucket/x", ""])
def test_other_places_are_refused_with_a_sentence(location):
    with pytest.raises(UsageError):
        open_store(location)


def test_a_path_is_opened(tmp_path):
    store = open_store(str(tmp_path / "s.h5"))
    assert not store.exists()
    assert store.disk_bytes() == 0
    with store.writer(FINGERPRINT):
        pass
    assert store.exists()
    assert store.location == str(tmp_path / "s.h5")
