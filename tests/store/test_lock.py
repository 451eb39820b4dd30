"""One writer at a time, readers at any time."""

import json
import os
import re
import threading
import time

import pytest
from programs import start
from samples import FINGERPRINT, KEY, numbered

from facededup.errors import StoreLockedError, StoreWriteError
from facededup.store.crypto import ENVIRONMENT_KEY
from facededup.store.lock import StoreLock

SECRET = KEY.secret.decode()


def test_a_second_writer_is_told_who_is_first(store):
    process = start("committer.py", store.path, 0, 100_000)
    try:
        assert process.stdout.readline() == "open\n"
        with pytest.raises(StoreLockedError, match=rf"process {process.pid} on .+ since 2.+wait until"):
            store.writer(FINGERPRINT)
    finally:
        process.kill()
        process.communicate()
    note = json.loads(open_text(store.path + ".lock"))
    assert note["pid"] == process.pid
    with store.writer():  # the dead process's note is still there, its lock is not
        assert json.loads(open_text(store.path + ".lock"))["pid"] == os.getpid()
    assert not os.path.exists(store.path + ".lock")


def open_text(path):
    with open(path) as file:
        return file.read()


def test_a_writer_of_the_same_process_is_refused_too(store):
    with store.writer(FINGERPRINT):
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} "):
            store.writer(FINGERPRINT)
    with store.writer():
        pass


def test_a_lock_without_a_readable_note(store):
    with store.writer(FINGERPRINT):
        with open(store.path + ".lock", "w") as file:
            file.write("{")
        with pytest.raises(StoreLockedError, match="another process"):
            store.writer()


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="this system follows links")
def test_a_link_in_the_place_of_the_lock_leads_nowhere(store, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("not a lock")
    os.symlink(precious, store.path + ".lock")
    with pytest.raises(StoreWriteError, match=r"links"):
        StoreLock(store.path)
    assert precious.read_text() == "not a lock"


def test_the_lock_is_held_by_one_while_many_try(store):
    """Each removes the file behind itself, which must not let two in."""
    inside, most = 0, 0
    guard = threading.Lock()

    def enter():
        nonlocal inside, most
        for _ in range(50):
            try:
                lock = StoreLock(store.path)
            except StoreLockedError:
                continue
            with guard:
                inside += 1
                most = max(most, inside)
            with guard:
                inside -= 1
            lock.release()

    threads = [threading.Thread(target=enter) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1
    assert not os.path.exists(store.path + ".lock")


def test_readers_see_whole_batches_while_a_process_writes(store):
    process = start("committer.py", store.path, 0, 20, "fold")
    try:
        assert process.stdout.readline() == "open\n"
        counts = []
        while process.poll() is None and len(counts) < 200:
            with store.snapshot() as snapshot:
                count = len(snapshot.images)
                assert snapshot.images.path == [
                    image.path for number in range(count // 3) for image in numbered(number).images
                ]
                assert len(snapshot.faces) == len(snapshot.embeddings(0, count)) == count
                counts.append(count)
        assert counts == sorted(counts)
    finally:
        _, errors = process.communicate()
    assert process.returncode == 0, errors
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 60


def test_status_works_while_a_process_writes(store):
    from typer.testing import CliRunner

    from facededup.cli.app import app

    process = start("committer.py", store.path, 0, 100_000, "fold")
    try:
        assert process.stdout.readline() == "open\n"
        seen = set()
        deadline = time.monotonic() + 60
        while len(seen) < 3:
            assert time.monotonic() < deadline
            assert process.poll() is None
            done = CliRunner().invoke(app, ["status", "--store", store.path], env={ENVIRONMENT_KEY: SECRET})
            assert done.exit_code == 0, done.stderr
            seen.add(re.search(r"images +([\d,]+)", done.stdout).group(1))
    finally:
        process.kill()
        process.communicate()
