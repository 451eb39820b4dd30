"""A store of format 1, made once and committed, is read and extended by today's code."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import add_images, digest_of, record

import facededup
from facededup.errors import DamagedStoreError, NewerFormatError, UsageError
from facededup.store import basefile, migrate
from facededup.store.base import Batch, Content
from facededup.store.hdf5 import Hdf5Store
from facededup.store.journal import BATCH, pack_arrays
from facededup.store.tables import batch_arrays
from facededup.types import Box, Face, Outcome

FIRST = Path(__file__).parent.parent / "data" / "store_v1.h5"


@pytest.fixture
def old(tmp_path):
    """A copy of the committed store."""
    return Hdf5Store(shutil.copy(FIRST, str(tmp_path / "old.h5")))


def test_the_first_format_is_read(old):
    assert old.check() == []
    with old.snapshot() as snapshot:
        images, faces = snapshot.images, snapshot.faces
        assert snapshot.fingerprint.crops == 1  # it says nothing of cuts
        assert images.path[2] == b"/registry/copy-of-a \xff.jpg"
        assert images.path[1].decode() == "/registry/é ü.jpg"
        assert [Outcome(int(code)).name for code in images.outcome] == [
            *("OK", "OK", "OK"),
            "NO_FACE_DETECTED",
            "FILE_ERROR",
        ]
        assert images.reason[3:] == ["no face was found", "file vanished"]
        assert images.first.tolist() == [0, 1, 0, 3, 4]
        assert set(images.indexed_at.tolist()) == {1_700_000_000}
        assert faces.box.tolist() == [[-3, 5, 40, 41], [-3, 5, 40, 41], [50, 5, 40, 41]]
        assert faces.image.tolist() == [0, 1, 1]
        assert faces.landmarks[0].tolist() == [[k, k + 0.5] for k in range(5)]
        np.testing.assert_allclose(snapshot.embeddings(0, 3)[:, :2], [[0.8, 0.6], [0.6, 0.8], [0, 1]])
        assert snapshot.findings().clusters.key == ["0123456789ab"]
        assert snapshot.findings().pairs(0, 1).cosine.tolist() == [0.96]


def test_it_is_searched_and_extended(old):
    found = facededup.find(store=old.location, threshold=0.4)
    assert (found.pairs_total, found.clusters_total) == (3, 1)
    assert not any(pair.new for pair in found.pairs)
    vector = np.eye(1, 128, dtype=np.float32)
    add_images(old.location, {"/registry/new.jpg": (9, vector), "/registry/gone.jpg": (9, vector)})
    assert old.check() == []
    with old.snapshot() as snapshot:
        assert snapshot.images.id.tolist() == [0, 1, 2, 3, 5, 6]
        assert snapshot.images.first[-2:].tolist() == [4, 4]
        assert snapshot.embeddings(3, 4).tolist() == vector.tolist()


def test_a_file_of_the_first_days_has_no_times(old):
    with h5py.File(old.path, "r+") as file:
        del file["images/indexed_at"]
    assert old.check() == []
    with old.snapshot() as snapshot:
        assert snapshot.images.indexed_at.tolist() == [0] * 5
    with old.writer() as writer:
        writer.pack()
    with h5py.File(old.path) as file:
        assert file["images/indexed_at"][:].tolist() == [0] * 5


def test_what_came_later_is_unknown_in_an_older_file(old):
    later = ("images/phash", "images/tags", "faces/quality")
    with h5py.File(old.path) as file:
        assert not any(name in file for name in later)
    with old.snapshot() as snapshot:
        assert snapshot.images.phash.tolist() == [0] * 5
        assert snapshot.images.tags == [""] * 5
        assert snapshot.faces.quality.shape == (3, 5)
        assert np.isnan(snapshot.faces.quality).all()
        assert snapshot.decisions() == ()
    with old.writer() as writer:
        writer.pack()
    assert old.check() == []
    with h5py.File(old.path) as file:
        assert all(name in file for name in later)
    with old.snapshot() as snapshot:
        assert np.isnan(snapshot.faces.quality).all()
        assert snapshot.images.tags == [""] * 5


def test_an_older_journal_lacks_what_came_later(old):
    """One that was not folded when facededup was updated."""
    vector = np.eye(1, 128, dtype=np.float32)
    batch = Batch(
        images=(record(b"/registry/new.jpg", digest_of(9)),),
        contents=(Content(digest_of(9), (Face(Box(0, 0, 8, 8), 1.0),), vector),),
    )
    later = ("image.phash", "image.tags.bytes", "image.tags.lengths", "image.indexed_at", "face.quality")
    arrays = batch_arrays(batch, 128)
    with old.writer() as writer:
        older = {name: array for name, array in arrays.items() if name not in later}
        assert len(older) == len(arrays) - len(later)
        writer._journal.append(BATCH, pack_arrays(older))
        with old.snapshot() as snapshot:
            assert snapshot.images.path[-1] == b"/registry/new.jpg"
            assert (snapshot.images.phash[-1], snapshot.images.tags[-1]) == (0, "")
            assert snapshot.images.indexed_at[-1] == 0
            assert np.isnan(snapshot.faces.quality[-1]).all()


def test_records_of_a_later_version_are_refused(old):
    with old.writer() as writer:
        writer._journal.append(99, b"what may come")
        with pytest.raises(NewerFormatError, match="update facededup"):
            old.snapshot()
        os.unlink(old.path + ".journal")


def test_an_older_format_is_upgraded_in_one_step(old, monkeypatch):
    """What the first migration will do, with one made up."""

    def rename_reason(file):
        file.attrs["migrated"] = True

    for module in (basefile, migrate):
        monkeypatch.setattr(module, "FORMAT", 2)
    monkeypatch.setattr(migrate, "MIGRATIONS", {1: rename_reason})
    with pytest.raises(UsageError, match="store pack"):
        old.snapshot()
    before = Path(old.path).read_bytes()

    def fail(_):
        raise ValueError("unexpected")

    with monkeypatch.context() as patch:
        patch.setattr(migrate, "MIGRATIONS", {1: fail})
        with pytest.raises(DamagedStoreError):
            old.writer()
    assert Path(old.path).read_bytes() == before
    assert os.listdir(os.path.dirname(old.path)) == ["old.h5"]
    with old.writer() as writer:
        assert len(writer.snapshot.images) == 5
        writer.commit(Batch(removed=(b"/registry/cat.jpg",)))
    with old.snapshot() as snapshot:
        assert len(snapshot.images) == 4
        assert snapshot.findings().pair_count == 1
    with h5py.File(old.path) as file:
        assert file.attrs["format"] == 2
    monkeypatch.undo()
    with pytest.raises(NewerFormatError, match="update facededup"):
        old.snapshot()


def test_no_text_lies_where_damage_can_hang_the_library(old):
    with h5py.File(old.path) as file:
        kinds = [value.dtype for value in file.attrs.values() if hasattr(value, "dtype")]
        file.visititems(lambda _, item: kinds.append(item.dtype) if isinstance(item, h5py.Dataset) else None)
        assert all(isinstance(value, np.generic | np.ndarray) for value in file.attrs.values())
        assert not any(kind.kind == "O" for kind in kinds)
        assert not isinstance(file["findings"].attrs["meta"], str)


def test_one_long_path_takes_no_room_in_every_row(old):
    add_images(
        old.location,
        {f"/registry/{'x' * 3000}.jpg": (9, []), **{f"/r/{k}": (k, []) for k in range(10, 2010)}},
    )
    assert os.path.getsize(old.path) < 1_000_000
    assert old.check() == []
    with old.snapshot() as snapshot:
        assert max(map(len, snapshot.images.path)) == 3014
