"""What is torn is dropped, what is damaged is refused, what is no store is called so."""

import os
import random
import shutil
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
from committer import clusters, pairs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import FINGERPRINT, Model, numbered, plain_only

from facededup.errors import (
    DamagedStoreError,
    FacededupError,
    NewerFormatError,
    StoreNotFoundError,
    UsageError,
)
from facededup.store.hdf5 import Hdf5Store
from facededup.store.journal import Journal, JournalReader, RescuedJournal


@pytest.fixture
def journal(store, tmp_path):
    """The path of a journal of three batches beside its store, the writer gone without a fold."""
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0, 1))
        writer.pack()
        for number in (1, 2, 3):
            writer.commit(numbered(number, 1))
        kept = tmp_path / "kept"
        shutil.copytree(os.path.dirname(store.path), kept, ignore=shutil.ignore_patterns("*.lock"))
    shutil.rmtree(os.path.dirname(store.path))
    shutil.move(kept, os.path.dirname(store.path))
    return store.path + ".journal"


def records(path):
    """Offsets of the records in a journal, and its size."""
    data = Path(path).read_bytes()
    places, place = [], data.find(b"\xf5REC")
    while place >= 0:
        places.append(place)
        place = data.find(b"\xf5REC", place + 1)
    return data, places


def paths(store):
    with store.snapshot() as snapshot:
        return [path.decode().split("/")[-1] for path in snapshot.images.path]


def test_a_torn_tail_is_dropped_wherever_it_is_torn(store, journal):
    data, places = records(journal)
    assert len(places) == 3
    for size in range(len(data) - 1, places[2] - 1, -1):
        os.truncate(journal, size)
        with closing(JournalReader(journal)) as reader:
            assert [record.start for record in reader.records] == [place + 20 for place in places[:2]]
            assert reader.end == places[2]
            reader.refuse_damage()
        if size % 200 == 0:
            assert paths(store) == ["0-0", "1-0", "2-0"]
    Path(journal).write_bytes(data[: places[2]] + bytes(len(data) - places[2]))
    assert paths(store) == ["0-0", "1-0", "2-0"]
    with store.writer() as writer:
        assert os.path.getsize(journal) == places[2]
        writer.commit(numbered(9, 1))
    assert paths(store) == ["0-0", "1-0", "2-0", "9-0"]
    assert not os.path.exists(journal)


def test_a_changed_last_record_is_damage(store, journal):
    """No power loss leaves a record of full length with other bytes in it."""
    data, places = records(journal)
    for place in [*range(places[2], places[2] + 20), *range(places[2] + 20, len(data), 211), len(data) - 1]:
        changed = bytearray(data)
        changed[place] ^= 0x10
        Path(journal).write_bytes(changed)
        with pytest.raises(DamagedStoreError, match="its last record was changed"):
            store.snapshot()
        assert store.check()
    repair = store.repair()
    assert (repair.images, repair.gaps) == (3, 1)
    assert store.check() == []


def test_a_sector_that_never_reached_the_disk_is_a_torn_tail(store, journal):
    data, places = records(journal)
    sectors = range(-(-places[2] // 512) * 512, len(data), 512)
    assert len(sectors) > 1
    for sector in sectors:
        Path(journal).write_bytes(
            data[:sector] + bytes(len(data[sector : sector + 512])) + data[sector + 512 :]
        )
        assert paths(store) == ["0-0", "1-0", "2-0"]


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=st.integers(0, 1100), payload=st.binary(min_size=1, max_size=1500), data=st.data())
def test_torn_is_what_a_power_loss_leaves_and_all_else_is_damage(tmp_path, before, payload, data):
    """Wherever a record begins in a sector: some of its sectors unwritten, or some of its bytes changed."""
    path = str(tmp_path / "journal")
    writer = Journal(str(tmp_path / "s.h5"), path, b"u" * 16, 0, end=None)
    writer.append(1, bytes(before))
    place = writer.size
    writer.append(1, payload)
    writer.close()
    whole = Path(path).read_bytes()
    edges = [place, *range(place // 512 * 512 + 512, len(whole), 512), len(whole)]
    torn = bytearray(whole)
    unwritten = data.draw(st.sets(st.integers(0, len(edges) - 2), min_size=1))
    for sector in unwritten:
        start, stop = edges[sector], edges[sector + 1]
        torn[start:stop] = bytes(stop - start)
    torn = torn[: data.draw(st.sampled_from([len(torn), data.draw(st.integers(place, len(torn)))]))]
    Path(path).write_bytes(torn)
    with closing(JournalReader(path)) as reader:
        reader.refuse_damage()
        assert (reader.end == place) == (torn != whole)
    with closing(RescuedJournal(path, b"u" * 16, 0)) as rescued:
        assert (len(rescued.records), rescued.gaps) == (1 if torn != whole else 2, 0)

    changed = bytearray(whole)
    hit = data.draw(st.integers(place, len(whole) - 1))
    changed[hit] ^= 1 << data.draw(st.integers(0, 7))
    Path(path).write_bytes(changed)
    if all(any(changed[start:stop]) for start, stop in pairwise(edges)):
        with (
            closing(JournalReader(path)) as reader,
            pytest.raises(DamagedStoreError, match="its last record was changed"),
        ):
            reader.refuse_damage()
        with closing(RescuedJournal(path, b"u" * 16, 0)) as rescued:
            assert (len(rescued.records), rescued.gaps) == (1, 1)


def test_what_a_closed_writer_committed_is_never_the_end(store, monkeypatch):
    """Its journal waits beside a large store, for months perhaps."""
    monkeypatch.setattr("facededup.store.hdf5_writer._LARGE_STORE", 0)
    with store.writer(FINGERPRINT) as writer:
        for number in range(20):
            writer.commit(numbered(number))
        writer.pack()
        writer.commit(numbered(40, 1))
    journal = store.path + ".journal"
    data, places = records(journal)
    assert len(places) == 2
    for place in range(places[0], places[1], 41):
        changed = bytearray(data)
        changed[place] ^= 0x10
        Path(journal).write_bytes(changed)
        with pytest.raises(DamagedStoreError, match="later records are whole"):
            store.snapshot()
    for size in range(places[1], len(data), 9):
        Path(journal).write_bytes(data[:size])
        assert paths(store)[-1] == "40-0"


def test_a_journal_torn_while_it_was_made_is_none(store, journal):
    data, places = records(journal)
    for size in range(places[0]):
        Path(journal).write_bytes(data[:size])
        assert paths(store) == ["0-0"]
    with store.writer() as writer:
        writer.commit(numbered(9, 1))
    assert paths(store) == ["0-0", "9-0"]


def test_a_flipped_byte_before_the_last_record_is_damage(store, journal):
    data, places = records(journal)
    for place in [*range(0, places[0], 5), *range(places[0], places[2], 97)]:
        changed = bytearray(data)
        changed[place] ^= 0x10
        Path(journal).write_bytes(changed)
        with pytest.raises((DamagedStoreError, NewerFormatError), match="journal"):
            store.snapshot()
    with pytest.raises(DamagedStoreError, match="restore it from a backup"):
        store.writer()
    assert store.check()
    assert not os.path.exists(store.path + ".lock")


def test_a_journal_that_is_folded_already_is_removed(store, journal):
    old = Path(journal).read_bytes()
    with store.writer() as writer:
        writer.pack()
        Path(journal).write_bytes(old)
    Path(journal).write_bytes(old)
    assert paths(store) == ["0-0", "1-0", "2-0", "3-0"]
    with store.writer():
        assert not os.path.exists(journal)


def test_a_repair_says_what_of_the_journal_is_lost(store, journal):
    """Nothing of one that is in the file already, however damaged; all of one from a later state."""
    old, old_file = bytearray(Path(journal).read_bytes()), Path(store.path).read_bytes()
    with store.writer() as writer:
        writer.pack()
        writer.commit(numbered(9, 1))
        newer = Path(journal).read_bytes()
    old[300] ^= 1
    Path(journal).write_bytes(old)
    assert store.check() == []
    repair = store.repair()
    assert (repair.images, repair.gaps) == (5, 0)
    Path(store.path).write_bytes(old_file)
    Path(journal).write_bytes(newer)
    assert store.check()
    repair = store.repair()
    assert (repair.images, repair.gaps) == (1, 1)
    assert store.check() == []


def test_journals_that_do_not_belong_are_refused(store, journal, tmp_path):
    other = Hdf5Store(str(tmp_path / "other.h5"))
    with other.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
    shutil.copy(journal, other.path + ".journal")
    with pytest.raises(DamagedStoreError, match="belongs to another store"):
        other.snapshot()
    os.unlink(other.path)
    with pytest.raises(DamagedStoreError, match="without its store"):
        other.writer(FINGERPRINT)
    assert os.path.exists(other.path + ".journal")


def test_an_old_file_with_a_newer_journal_is_refused(store):
    with store.writer(FINGERPRINT) as writer:
        old = Path(store.path).read_bytes()
        writer.commit(numbered(0))
        writer.pack()
        writer.commit(numbered(1))
        journal = Path(store.path + ".journal").read_bytes()
    for name, data in ((store.path, old), (store.path + ".journal", journal)):
        Path(name).write_bytes(data)
    with pytest.raises(DamagedStoreError, match="later state"):
        store.snapshot()


@pytest.fixture
def full(store):
    """A store with everything in one file; its bytes."""
    with store.writer(FINGERPRINT) as writer:
        for number in range(4):
            writer.commit(numbered(number))
        findings = writer.write_findings()
        findings.append(pairs(1))
        findings.finish({"threshold": 0.4}, clusters(1))
    return Path(store.path).read_bytes()


def read_all(store):
    """Everything a reader can be given."""
    with store.snapshot() as snapshot:
        images = snapshot.images
        rows = zip(images.path, images.id.tolist(), images.digest.tolist(), images.reason, strict=True)
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        findings = snapshot.findings()
        found = findings.pairs(0, findings.pair_count)
        members = findings.clusters.members.tolist(), findings.clusters.key, findings.clusters.new.tolist()
        boxes = snapshot.faces.box.tolist(), snapshot.faces.image.tolist()
        return list(rows), vectors.tolist(), found.a.tolist(), found.cosine.tolist(), members, boxes


def test_a_flipped_byte_never_gives_other_data(store, full):
    """Each byte either does not matter, or is noticed; never a crash of the library either."""
    whole = read_all(store)
    rng = random.Random(1)
    noticed = 0
    for _ in range(40):
        changed = bytearray(full)
        changed[rng.randrange(len(full))] ^= 1 << rng.randrange(8)
        Path(store.path).write_bytes(changed)
        try:
            assert read_all(store) == whole
        except FacededupError:
            noticed += 1
            assert store.check()
    assert noticed


@plain_only
def test_flipped_columns_and_embeddings_are_found(store, full):
    with h5py.File(store.path) as file:
        names = ["embeddings", "images/size", "images/digest", "faces/x", "faces/landmarks"]
        places = {}
        for name in names:
            dataset = file[name]
            chunked = dataset.chunks is not None
            places[name] = dataset.id.get_chunk_info(0).byte_offset if chunked else dataset.id.get_offset()
        places["images/path"] = full.index(b"/pictures/2-1")
    for name, place in places.items():
        changed = bytearray(full)
        changed[place + 5] ^= 1
        Path(store.path).write_bytes(changed)
        assert store.check(), name
        with store.snapshot() as snapshot, pytest.raises(DamagedStoreError, match="damaged"):
            assert len(snapshot.images) + len(snapshot.faces) + len(snapshot.embeddings(0, 12))
    Path(store.path).write_bytes(full)
    assert store.check() == []


@plain_only
def test_a_fold_does_not_launder_damage(store, full):
    with h5py.File(store.path) as file:
        place = file["embeddings"].id.get_chunk_info(0).byte_offset
    changed = bytearray(full)
    changed[place + 5] ^= 1
    Path(store.path).write_bytes(changed)
    with store.writer() as writer:
        writer.commit(numbered(9))
        with pytest.raises(DamagedStoreError):
            writer.pack()
        writer.commit(numbered(10))
        with pytest.raises(DamagedStoreError):
            writer.close()
    assert Path(store.path).read_bytes() == changed
    assert sorted(os.listdir(os.path.dirname(store.path))) == ["s.h5", "s.h5.journal"]


def test_truncated_files_are_damaged(store, full):
    for size in [0, 1, 8, 100, 1000, *range(2000, len(full), len(full) // 20), len(full) - 1]:
        Path(store.path).write_bytes(full[:size])
        with pytest.raises(DamagedStoreError, match="is damaged, or is no store"):
            store.snapshot()
    with pytest.raises(DamagedStoreError):
        store.writer(FINGERPRINT, reset=True)


def test_what_is_no_store_is_called_so(store, tmp_path):
    diary = b"Dear diary,\n" * 1000
    Path(store.path).write_bytes(diary)
    with pytest.raises(DamagedStoreError, match="no store of facededup"):
        store.snapshot()
    with pytest.raises(DamagedStoreError):
        store.writer(FINGERPRINT, reset=True)
    assert Path(store.path).read_bytes() == diary
    with h5py.File(store.path, "w") as file:
        file["data"] = np.arange(3)
    with pytest.raises(DamagedStoreError):
        store.snapshot()
    folder = Hdf5Store(str(tmp_path))
    for attempt in (folder.snapshot, lambda: folder.writer(FINGERPRINT)):
        with pytest.raises(UsageError, match="is a folder"):
            attempt()
    for attempt in (
        Hdf5Store(str(tmp_path / "none.h5")).snapshot,
        Hdf5Store(str(tmp_path / "none.h5")).writer,
    ):
        with pytest.raises(StoreNotFoundError, match="facededup index PATH"):
            attempt()


@plain_only
def test_columns_that_disagree_are_damage(store, full):
    with h5py.File(store.path, "r+") as file:
        del file["faces/x"]
        file["faces/x"] = np.zeros(3, np.int32)
    with pytest.raises(DamagedStoreError):
        store.snapshot()


@plain_only
def test_a_later_format_is_refused(store, full):
    with h5py.File(store.path, "r+") as file:
        file.attrs["format"] = 99
    with pytest.raises(NewerFormatError, match="update facededup"):
        store.snapshot()
    with pytest.raises(NewerFormatError):
        store.writer(FINGERPRINT)


def test_the_model_notices_a_difference(store):
    """The comparison of the other tests can fail."""
    model = Model()
    model.apply(numbered(0))
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(1))
    with store.snapshot() as snapshot, pytest.raises(AssertionError):
        model.compare(snapshot)


@plain_only
def test_a_damaged_group_is_not_taken_for_a_missing_one(store, full):
    with h5py.File(store.path) as file:
        place = h5py.h5o.get_info(file["findings"].id).addr
    changed = bytearray(full)
    changed[place + 12] ^= 1
    Path(store.path).write_bytes(changed)
    assert store.check()
    with store.snapshot() as snapshot, pytest.raises(DamagedStoreError):
        snapshot.findings()


@plain_only
def test_a_changed_text_is_damage(store, full):
    """HDF5 has no checksums for texts without a fixed length."""
    for text in (b'"model": "Dlib"', b'"threshold": 0.4', b'"created": "20'):
        changed = full.replace(text, text[:-1] + bytes([text[-1] ^ 1]))
        assert changed != full
        Path(store.path).write_bytes(changed)
        assert store.check(), text
        with pytest.raises(DamagedStoreError):
            read_all(store)
