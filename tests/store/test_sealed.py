"""Encrypted files read as the plain ones they stand for, and nothing else."""

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facededup.errors import NewerFormatError, PathNotFoundError, UsageError, WrongKeyError
from facededup.store import crypto
from facededup.store.crypto import Key, StoreKey, load_key
from facededup.store.sealed import PIECE, SealedFile, is_sealed, new_target

KEY = Key(b"a key of tests, long enough")
OTHER = Key(b"another key, long enough too")


@pytest.fixture(scope="module")
def store_key():
    return StoreKey.create(KEY)


def write(path, store_key, *parts):
    """A file of (position, bytes) parts, written in that order; what it holds."""
    target = new_target(path + ".new", path, store_key)
    content = bytearray()
    try:
        for position, data in parts:
            target.seek(position)
            target.write(data)
            content.extend(bytes(max(0, position + len(data) - len(content))))
            content[position : position + len(data)] = data
        target.publish()
    finally:
        target.abandon()
    return bytes(content)


def read(path, key=KEY, **options):
    with open_sealed(path, key, **options) as file:
        return file.read(file.seek(0, os.SEEK_END) - file.seek(0))


class open_sealed:  # noqa: N801 - reads like open
    def __init__(self, path, key=KEY, **options):
        self.file = SealedFile(path, key, **options)

    def __enter__(self):
        return self.file

    def __exit__(self, *_):
        self.file.close()


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_it_behaves_like_a_plain_file(store_key, tmp_path_factory, data):
    """Writes anywhere, reads back while it is written, cuts; against a bytearray."""
    path = str(tmp_path_factory.mktemp("sealed") / "s")
    place = st.integers(0, 40 * PIECE)
    size = st.sampled_from([0, 1, 100, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
    target = new_target(path + ".new", path, store_key)
    content = bytearray()
    with contextlib.ExitStack() as stack:
        stack.callback(target.abandon)  # hypothesis may end an example at any draw
        for _ in range(data.draw(st.integers(0, 12))):
            position, count = data.draw(place), data.draw(size)
            step = data.draw(st.sampled_from(["write", "write", "read", "truncate"]))
            target.seek(position)
            if step == "write":
                piece = os.urandom(count + 1)
                assert target.write(piece) == count + 1
                content.extend(bytes(max(0, position + count + 1 - len(content))))
                content[position : position + count + 1] = piece
            elif step == "read":
                expected = bytes(content[position : position + count])
                assert target.read(count) == expected + bytes(count - len(expected))
            else:
                target.truncate(position)
                del content[position:]
                content.extend(bytes(position - len(content)))
        target.publish()
    assert read(path) == content
    with open_sealed(path) as file:
        for _ in range(5):
            position, count = data.draw(place), data.draw(size)
            file.seek(position)
            assert file.read(count) == content[position : position + count]


def test_nothing_of_the_content_is_in_the_file(store_key, tmp_path):
    path = str(tmp_path / "s")
    text = b"/registry/portraits/ada lovelace.jpg" * 5000
    assert write(path, store_key, (0, text)) == read(path)
    raw = Path(path).read_bytes()
    assert b"registry" not in raw
    assert KEY.secret not in raw
    assert store_key.data_key not in raw
    assert is_sealed(path)
    assert "ada" not in repr(KEY) + repr(store_key)
    assert str(KEY.secret) not in repr(KEY) + repr(store_key)


def test_the_same_content_is_never_encrypted_twice_alike(store_key, tmp_path):
    paths = [str(tmp_path / name) for name in "ab"]
    for path in paths:
        write(path, store_key, (0, bytes(3 * PIECE)))
    first, second = (Path(path).read_bytes() for path in paths)
    pieces = {raw[place : place + 64] for raw in (first, second) for place in range(300, len(raw), 64)}
    assert len(pieces) > 2 * 3 * PIECE // 64 - 10


def test_every_flipped_bit_is_noticed(store_key, tmp_path):
    path = str(tmp_path / "s")
    write(path, store_key, (0, os.urandom(2 * PIECE + 50)))
    whole = Path(path).read_bytes()
    places = [*range(0, 260, 3), *range(260, len(whole) - 260, 7919), *range(len(whole) - 260, len(whole))]
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        Path(path).write_bytes(changed)
        with pytest.raises(ValueError):
            read(path)


def test_lost_exchanged_and_added_pieces_are_noticed(store_key, tmp_path):
    path, other = str(tmp_path / "s"), str(tmp_path / "other")
    write(path, store_key, (0, os.urandom(4 * PIECE)))
    write(other, store_key, (0, os.urandom(4 * PIECE)))
    whole, foreign = Path(path).read_bytes(), Path(other).read_bytes()
    size = (len(whole) - len(foreign[: len(whole) - 4 * (PIECE + 28)])) // 4
    head = (len(whole) - 4 * size) // 2
    first, second = slice(head, head + size), slice(head + size, head + 2 * size)
    swapped = bytearray(whole)
    swapped[first], swapped[second] = whole[second], whole[first]
    mixed = bytearray(whole)
    mixed[first] = foreign[first]
    for changed in (
        swapped,
        mixed,
        whole[: head + size] + whole[head + 2 * size :],
        whole + whole[-size:],
        whole[:-1],
        whole[:-head],
        whole[:head],
        whole[:7],
    ):
        Path(path).write_bytes(changed)
        with pytest.raises(ValueError):
            read(path)


def test_a_repair_reads_what_is_left(store_key, tmp_path):
    path = str(tmp_path / "s")
    content = write(path, store_key, (0, os.urandom(4 * PIECE)))
    whole = Path(path).read_bytes()
    Path(path).write_bytes(bytes([whole[0] ^ 1, *whole[1:30], whole[30] ^ 1]) + whole[31:])
    assert is_sealed(path)
    with pytest.raises(ValueError):
        read(path)
    assert read(path, rescue=True) == content
    Path(path).write_bytes(whole[: 2 * PIECE])
    with open_sealed(path, rescue=True) as file:
        assert file.read(PIECE) == content[:PIECE]
        with pytest.raises(ValueError, match="differs from what was written"):
            file.read(PIECE)


def test_a_file_that_was_never_finished_is_none(store_key, tmp_path):
    path = str(tmp_path / "s")
    target = new_target(path + ".new", path, store_key)
    target.write(os.urandom(100 * PIECE))
    left = Path(path + ".new").read_bytes()
    target.abandon()
    assert os.listdir(tmp_path) == []
    Path(path).write_bytes(left)
    assert not is_sealed(path)


def test_wrong_and_missing_keys_are_told_apart_from_damage(store_key, tmp_path):
    path = str(tmp_path / "s")
    write(path, store_key, (0, b"x"))
    with pytest.raises(WrongKeyError, match="does not open"):
        read(path, OTHER)
    with pytest.raises(WrongKeyError, match="--key-file FILE or in FACEDEDUP_KEY"):
        read(path, None)


def test_a_later_version_is_refused(store_key, tmp_path, monkeypatch):
    path = str(tmp_path / "s")
    with monkeypatch.context() as patch:
        patch.setattr("facededup.store.sealed._VERSION", 9)
        write(path, store_key, (0, b"x"))
    with pytest.raises(NewerFormatError, match="update facededup"):
        read(path)


def test_a_lock_that_would_take_all_memory_is_refused(store_key):
    lock = bytes([60]) + store_key.lock[1:]
    with pytest.raises(WrongKeyError):
        StoreKey.unlock(lock, KEY, "s")


def test_keys_come_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv(crypto.ENVIRONMENT_KEY, raising=False)
    assert load_key(None) is None
    monkeypatch.setenv(crypto.ENVIRONMENT_KEY, "from the environment")
    assert load_key(None) == Key(b"from the environment")
    file = tmp_path / "key"
    file.write_bytes(b"from the environment\r\n")
    assert load_key(str(file)) == load_key(None)
    file.write_bytes(os.urandom(32) + b"x")
    assert len(load_key(str(file)).secret) == 33
    for content in (b"", b"too short", b"x" * 70_000):
        file.write_bytes(content)
        with pytest.raises(UsageError, match="openssl rand"):
            load_key(str(file))
    with pytest.raises(PathNotFoundError, match="no key file"):
        load_key(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="cannot be read"):
        load_key(str(tmp_path))
    monkeypatch.setenv(crypto.ENVIRONMENT_KEY, "short")
    with pytest.raises(UsageError, match="FACEDEDUP_KEY holds no key"):
        load_key(None)


def test_hard_to_guess_by_default():
    """The tests use a cheap cost; a user's store does not."""
    assert crypto.StoreKey.create(KEY).lock[0] == crypto.SCRYPT_COST
