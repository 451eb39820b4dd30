"""A store of format 1, made once and committed, is read and extended by today's code."""

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from synthetic import add_images

import facededup
from facededup.errors import DamagedStoreError, NewerFormatError, UsageError
from facededup.store import basefile, migrate
from facededup.store.base import Batch
from facededup.store.hdf5 import Hdf5Store
from facededup.types import Outcome

FIRST = Path(__file__).parent.parent / "data" / "store_v1.h5"


@pytest.fixture
def old(tmp_path):
    """A copy of the committed store."""
    return Hdf5Store(shutil.copy(FIRST, str(tmp_path / "old.h5")))


def test_the_first_format_is_read(old):
    assert old.check() == []
    with old.snapshot() as snapshot:
        images, faces = snapshot.images, snapshot.faces
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
