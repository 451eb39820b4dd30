"""An encrypted store keeps every promise of a plain one, and tells nobody without the key anything."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from committer import clusters, pairs
from samples import FINGERPRINT, KEY, Model, content, image, numbered

from facededup.errors import (
    DamagedStoreError,
    SettingMismatchError,
    StoreWriteError,
    UsageError,
    WrongKeyError,
)
from facededup.store.base import Batch
from facededup.store.crypto import Key
from facededup.store.files import disk
from facededup.store.hdf5 import Hdf5Store
from facededup.store.sealed import PIECE
from facededup.types import Box, Decision, FaceKey, Outcome

OTHER = Key(b"another key, long enough too")


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "s.h5")


@pytest.fixture
def sealed(path):
    return Hdf5Store(path, KEY, encrypt=True)


def fill(store, batches=3):
    """Commits, findings and what waits in the journal; a model of it."""
    model = Model()
    with store.writer(FINGERPRINT) as writer:
        for number in range(batches):
            model.apply(numbered(number))
            writer.commit(numbered(number))
        findings = writer.write_findings()
        findings.append(pairs(1))
        findings.finish({"threshold": 0.4}, clusters(1))
    return model


def test_no_byte_of_it_is_ever_written_in_the_clear(sealed, monkeypatch):
    """Not into the file, the journal, a temporary file, or the lock; every write is looked at."""
    written = []
    real = disk.write

    def write(descriptor, data):
        written.append(bytes(data))
        return real(descriptor, data)

    monkeypatch.setattr(disk, "write", write)
    item = content("a", faces=2)
    decision = Decision(
        a=FaceKey(item.digest, Box(1, 2, 3, 4)),
        b=FaceKey(content("b").digest, Box(1, 2, 3, 4)),
        verdict="different",
        who="The Analyst",
        at=1,
        a_path=b"/registry/lovelace.jpg",
        b_path=b"/registry/hopper.jpg",
        similarity=0.5,
        cosine=0.9,
        model="Dlib",
    )
    with sealed.writer(FINGERPRINT) as writer:
        record = image(b"/registry/lovelace.jpg", "a", reason="a telling reason", outcome=Outcome.FILE_ERROR)
        writer.commit(Batch(images=(record,), contents=(item,)))
        writer.record({"forgotten": ["told"]})
        writer.append_decisions([decision])
        log = writer.search_log(bytes(16))
        log.begin({"state": item.embeddings})
        log.append(pairs(7))
        log.cover(1)
        log.keep()
        findings = writer.write_findings()
        for number in range(2000):  # more than stays in memory
            findings.append(pairs(number))
        assert sum(map(len, findings.chunks())) == 2_000_000
        findings.finish({"threshold": 0.4, "by": "The Analyst"}, clusters(123456))
        writer.commit(numbered(5))
    raw = b"".join(written)
    secrets = (
        b"registry",
        b"lovelace",
        b"telling",
        b"forgotten",
        b"Analyst",
        b"different",
        b"pictures",
        b'"model": "Dlib"',
        b"000000123456",
        b"\x89HDF\r\n",
        item.digest,
        item.embeddings[0].tobytes(),
        item.embeddings[0, 2:5].tobytes(),
        pairs(7).cosine[:2].tobytes(),
        KEY.secret,
    )
    assert not [secret for secret in secrets if secret in raw]
    assert len(raw) > 2 * PIECE
    with sealed.writer() as writer:
        found = writer.search_log(bytes(16))
        assert found.covered == 1
        assert found.state["state"].tolist() == item.embeddings.tolist()
    with sealed.snapshot() as snapshot:  # the same words are there with the key
        assert snapshot.decisions()[0].who == "The Analyst"
        assert snapshot.images.reason[0] == "a telling reason"
        assert snapshot.findings().meta["by"] == "The Analyst"


def test_every_flipped_bit_and_lost_byte_is_damage(sealed, path):
    with sealed.writer(FINGERPRINT) as writer:
        for number in range(6):
            writer.commit(numbered(number, 200))
    whole = Path(path).read_bytes()
    assert len(whole) > 3 * PIECE
    for place in [*range(0, 250, 9), *range(250, len(whole), 9001), len(whole) - 9]:
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        Path(path).write_bytes(changed)
        assert sealed.check(), place
    for size in (0, 5, 100, PIECE, len(whole) - 1):
        Path(path).write_bytes(whole[:size])
        with pytest.raises(DamagedStoreError):
            sealed.snapshot()
    Path(path).write_bytes(whole)
    assert sealed.check() == []


def test_a_repair_keeps_what_is_intact_and_encrypted(sealed, path):
    with sealed.writer(FINGERPRINT) as writer:
        for number in range(8):
            writer.commit(numbered(number, 1200))
    whole = Path(path).read_bytes()
    with sealed.snapshot() as snapshot:
        rows = len(snapshot.faces)
    for place in (1, len(whole) - 3 * PIECE):  # the head, and some columns
        changed = bytearray(whole)
        changed[place] ^= 1
        Path(path).write_bytes(changed)
        repair = sealed.repair()
        assert repair.images == 8 * 1200
        assert rows >= repair.faces > 0
        assert sealed.check() == []
        with pytest.raises(WrongKeyError):
            Hdf5Store(path).snapshot()
        for name in (path, repair.kept_as):
            assert b"pictures" not in Path(name).read_bytes()


def test_missing_and_wrong_keys_change_nothing(sealed, path):
    model = fill(sealed)
    whole = Path(path).read_bytes()
    for key, words in ((None, "--key-file FILE or in FACEDEDUP_KEY"), (OTHER, "does not open")):
        store = Hdf5Store(path, key)
        for attempt in (
            store.snapshot,
            store.writer,
            store.check,
            store.repair,
            lambda store=store: store.writer(FINGERPRINT, reset=True),
        ):
            with pytest.raises(WrongKeyError, match=words):
                attempt()
    assert Path(path).read_bytes() == whole
    assert os.listdir(os.path.dirname(path)) == ["s.h5"]
    with sealed.snapshot() as snapshot:
        model.compare(snapshot)


def test_a_store_is_what_it_was_made(sealed, path):
    with pytest.raises(WrongKeyError, match="--encrypt needs a key"):
        Hdf5Store(path, encrypt=True).writer(FINGERPRINT)
    with pytest.raises(UsageError, match="--no-encrypt"):
        Hdf5Store(path, KEY).writer(FINGERPRINT)
    assert os.listdir(os.path.dirname(path)) == []
    with Hdf5Store(path, KEY, encrypt=False).writer(FINGERPRINT):
        pass
    with pytest.raises(SettingMismatchError, match="store pack --encrypt"):
        sealed.writer(FINGERPRINT)
    with sealed.writer(FINGERPRINT, reset=True):
        pass
    with pytest.raises(SettingMismatchError, match="store pack --decrypt"):
        Hdf5Store(path, KEY, encrypt=False).writer(FINGERPRINT)
    with pytest.raises(WrongKeyError):
        Hdf5Store(path).snapshot()
    with Hdf5Store(path, KEY).writer():
        pass


def test_it_is_encrypted_decrypted_and_given_another_key(path):
    plain = Hdf5Store(path)
    model = fill(plain)
    for before, after in ((None, KEY), (KEY, OTHER), (OTHER, OTHER), (OTHER, None)):
        with Hdf5Store(path, before).writer() as writer:
            writer.commit(numbered(50))
            writer.encrypt(after)
            writer.commit(numbered(51))
            model.apply(numbered(50))
            model.apply(numbered(51))
            assert (b"pictures" in Path(path + ".journal").read_bytes()) == (after is None)
        assert (b"pictures" in Path(path).read_bytes()) == (after is None)
        store = Hdf5Store(path, after)
        assert store.check() == []
        with store.snapshot() as snapshot:
            model.compare(snapshot)
            assert snapshot.findings().pair_count == 1000


def test_a_conversion_that_fails_changes_nothing(path, monkeypatch):
    model = fill(Hdf5Store(path))

    def fail(*_):
        raise OSError(28, "No space left on device")

    with Hdf5Store(path).writer() as writer:
        monkeypatch.setattr(disk, "replace", fail)
        with pytest.raises(StoreWriteError, match="No space left"):
            writer.encrypt(KEY)
        monkeypatch.undo()
        writer.commit(numbered(9))
        model.apply(numbered(9))
    with Hdf5Store(path).snapshot() as snapshot:
        model.compare(snapshot)
    assert os.listdir(os.path.dirname(path)) == ["s.h5"]


def test_journals_of_others_are_refused(sealed, path, tmp_path):
    """Also one whose checksums are right, which anybody can compute."""
    with sealed.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.pack()
        writer.commit(numbered(1))
        shutil.copy(path, tmp_path / "kept.h5")
        shutil.copy(path + ".journal", tmp_path / "kept.h5.journal")
    kept = Hdf5Store(str(tmp_path / "kept.h5"), KEY)
    with kept.snapshot() as snapshot:
        assert len(snapshot.images) == 6
    journal = tmp_path / "kept.h5.journal"
    forged = _with_first_payload(journal.read_bytes(), lambda payload: payload[::-1])
    journal.write_bytes(forged)
    with kept.snapshot() as snapshot, pytest.raises(DamagedStoreError, match="not its store's"):
        assert snapshot.images
    assert kept.check()


def _with_first_payload(data, change):
    from facededup.store import journal

    size = journal._HEADER.size
    head = data[size : size + journal._RECORD.size]
    length = journal._RECORD.unpack(head)[2]
    start = size + journal._RECORD.size
    payload = change(data[start : start + length])
    return data[:start] + payload + journal._checksum(data[:size], size, head, payload)


def test_its_embeddings_are_those_put_in(sealed):
    with sealed.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0, 4200))
        writer.commit(numbered(1, 50))
        with sealed.snapshot() as snapshot:  # partly from the journal
            expected = np.concatenate([item.embeddings for item in numbered(0, 4200).contents])
            assert np.array_equal(snapshot.embeddings(0, 4200), expected)
        writer.pack()
        with sealed.snapshot() as snapshot:
            for start in (0, 3, 4090, 4199):
                assert np.array_equal(snapshot.embeddings(start, start + 10)[:1], expected[start : start + 1])
