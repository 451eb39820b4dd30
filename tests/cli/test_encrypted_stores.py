"""Encrypted stores as users meet them: options, keys, sentences and exit codes of every command."""

from __future__ import annotations

import numpy as np
import pytest
from synthetic import add_images
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.store import crypto
from facededup.store.crypto import ENVIRONMENT_KEY
from facededup.store.opener import open_store


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """A folder with two key files, where scrypt is quick and no key is in the environment."""
    monkeypatch.setattr(crypto, "SCRYPT_COST", 4)
    for name in (ENVIRONMENT_KEY, "FACEDEDUP_KEY_FILE", "FACEDEDUP_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "key").write_text("the key of this test\n")
    (tmp_path / "other").write_text("another key of this test\n")
    return tmp_path


@pytest.fixture
def store(place, monkeypatch):
    """An encrypted store of two faces of one person."""
    vectors = np.eye(128, dtype=np.float32)[:1]
    plain = place / "s.h5"
    add_images(str(plain), {"/registry/a.jpg": (1, vectors), "/registry/b.jpg": (2, vectors)})
    assert run("store", "pack", "--encrypt", "--key-file", "key") == (0, "")
    assert b"registry" not in plain.read_bytes()
    return plain


def run(*line):
    """Exit code and what was said on standard error."""
    done = CliRunner().invoke(app, [*line, *(() if "--store" in line else ("--store", "s.h5"))])
    return done.exit_code, done.stderr


COMMANDS = (
    ("find",),
    ("index", "."),
    ("run", "."),
    ("status",),
    ("verify",),
    ("verify", "--repair"),
    ("forget", "/registry/a.jpg"),
    ("store", "pack"),
    ("export", "--what", "faces", "t.npz"),
)


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_each_command_needs_the_key(store, line):
    whole = store.read_bytes()
    code, said = run(*line)
    assert code == 2
    assert "is encrypted; give its key with --key-file FILE or in FACEDEDUP_KEY" in said
    code, said = run(*line, "--key-file", "other")
    assert code == 2
    assert "the key given does not open" in said
    code, said = run(*line, "--key-file", "none")
    assert (code, said.count("\n")) == (2, 1)
    assert "there is no key file 'none'" in said
    assert store.read_bytes() == whole


@pytest.mark.parametrize("line", [line for line in COMMANDS if line[0] not in ("index", "run")], ids=" ".join)
def test_each_command_takes_the_key(store, line):
    code, said = run(*line, "--key-file", "key")
    assert code == 0, said
    assert b"registry" not in store.read_bytes()


def test_the_environment_holds_the_key_or_its_file(store, monkeypatch):
    monkeypatch.setenv(ENVIRONMENT_KEY, "the key of this test")
    assert run("find")[0] == 0
    monkeypatch.delenv(ENVIRONMENT_KEY)
    monkeypatch.setenv("FACEDEDUP_KEY_FILE", "key")
    assert run("verify")[0] == 0
    assert facededup.store_status(store="s.h5").images.total == 2


def test_encrypting_and_decrypting(store):
    assert run("store", "pack", "--new-key-file", "other", "--key-file", "key")[0] == 0
    assert run("find", "--key-file", "key")[0] == 2
    assert run("find", "--key-file", "other")[0] == 0
    code, said = run("store", "pack", "--decrypt", "--new-key-file", "key", "--key-file", "other")
    assert code == 2
    assert "takes no new key" in said
    assert run("store", "pack", "--decrypt", "--key-file", "other")[0] == 0
    assert run("find")[0] == 0
    assert b"/registry/a.jpg" in store.read_bytes()
    code, said = run("store", "pack", "--encrypt")
    assert code == 2
    assert "--encrypt needs a key" in said


def test_a_new_store_asks_when_in_doubt(place):
    for line, words in (
        (["--encrypt"], "--encrypt needs a key"),
        (["--key-file", "key"], "add --encrypt, or --no-encrypt"),
        (["--encrypt", "--key-file", "key", "--store", "redis://localhost"], "--encrypt is for files"),
    ):
        code, said = run("index", ".", *line)
        assert (code, words in said) == (2, True), said
    assert sorted(path.name for path in place.iterdir()) == ["key", "other"]
    assert run("index", ".", "--encrypt", "--key-file", "key")[0] == 0
    code, said = run("index", ".", "--no-encrypt", "--key-file", "key")
    assert code == 2
    assert "store pack --decrypt" in said
    with open_store("s.h5", "key").snapshot() as snapshot:
        assert len(snapshot.images) == 0


def test_stores_compared_may_both_be_encrypted(store, place):
    other = place / "base.h5"
    other.write_bytes(store.read_bytes())
    assert run("find", "--against", "base.h5", "--key-file", "key")[0] == 0
    assert run("find", "--against", "base.h5", "--key-file", "other")[0] == 2


def test_damage_is_told_apart_from_a_wrong_key(store):
    changed = bytearray(store.read_bytes())
    changed[40] ^= 1
    store.write_bytes(changed)
    assert run("find", "--key-file", "key")[0] == 3
    assert run("verify", "--repair", "--key-file", "key")[0] == 0
    assert run("find", "--key-file", "key")[0] == 0
