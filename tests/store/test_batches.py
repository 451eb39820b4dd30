"""A store against a plain model, batch by batch: live, reopened and folded."""

import os
import shutil
import tempfile

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import DIMENSION, FINGERPRINT, Model, content, decided, digest, image, numbered, plain_only

from facededup.store.base import Batch, Content
from facededup.store.hdf5 import Hdf5Store
from facededup.store.opener import open_store
from facededup.store.tables import FACE_COLUMNS, IMAGE_COLUMNS, batch_arrays
from facededup.types import Box, Face, Outcome

PATHS = st.sampled_from([b"/p/a", b"/p/b", b"/p/c \xff\n", b"/p/d", b"/p/e", "/p/\u00e9".encode()])
KEYS = st.sampled_from(["k", "l", "m", "n"])
IMAGES = st.builds(
    image,
    PATHS,
    st.none() | KEYS,
    outcome=st.sampled_from(Outcome),
    root=st.sampled_from([b"/p", b"/q\xfe"]),
    size=st.integers(0, 2**63 - 1),
    reason=st.sampled_from(["", "it is cut off", "caf\u00e9 \udcff"]),
    retry=st.booleans(),
    unresolved=st.booleans(),
    phash=st.sampled_from([0, 1, 2**63 + 5]),
    tags=st.sampled_from(["", '{"site": "caf\u00e9"}']),
)
BATCHES = st.builds(
    Batch,
    images=st.lists(IMAGES, max_size=5).map(tuple),
    contents=st.lists(
        st.builds(content, KEYS, st.integers(0, 3)), max_size=3, unique_by=lambda item: item.digest
    ).map(tuple),
    moved=st.lists(st.tuples(PATHS, PATHS), max_size=3).map(tuple),
    removed=st.lists(PATHS, max_size=2).map(tuple),
)


STEPS = st.lists(st.tuples(BATCHES, st.sampled_from(["commit", "fold", "reopen"])), min_size=1, max_size=5)


def follow(store, steps):
    """Does the steps to a store and to the model, and compares them after each."""
    model = Model()
    writer = store.writer(FINGERPRINT, reset=store.exists())
    model.next_image, model.next_face = writer.snapshot.next_image_id, writer.snapshot.next_face_id
    for batch, then in steps:
        writer.commit(batch)
        model.apply(batch)
        if then != "commit":
            writer.pack()
            model.forget()
        if then == "reopen":
            writer.close()
            writer = store.writer()
            model.compare(writer.snapshot)
        with store.snapshot() as snapshot:
            model.compare(snapshot)
    writer.close()
    with store.snapshot() as snapshot:
        model.compare(snapshot)
    assert store.check() == []


QUICK = settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))


@QUICK
@given(STEPS)
def test_a_file_holds_what_the_model_holds(steps):
    folder = tempfile.mkdtemp()
    try:
        follow(Hdf5Store(os.path.join(folder, "s.h5")), steps)
        assert os.listdir(folder) == ["s.h5"]
    finally:
        shutil.rmtree(folder)


@QUICK
@given(steps=STEPS)
def test_a_database_holds_what_the_model_holds(postgres_url, steps):
    follow(open_store(postgres_url), steps)


@QUICK
@given(steps=STEPS)
def test_a_redis_holds_what_the_model_holds(redis_url, steps):
    follow(open_store(redis_url), steps)


def test_a_batch_has_the_kinds_of_the_columns_it_goes_into():
    arrays = batch_arrays(numbered(0), DIMENSION)
    for table, columns in (("image", IMAGE_COLUMNS), ("face", FACE_COLUMNS)):
        for name in columns.keys() - {"id", "digest"}:
            array = arrays[f"{table}.{name}"]
            assert np.dtype((array.dtype, array.shape[1:])) == np.dtype(columns[name]), name


def test_a_content_is_kept_for_an_image_that_comes_later(any_store):
    """A file that was replaced here may be found there within one run."""
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(Batch(images=(image(b"/a", "k"),), contents=(content("k"),)))
        writer.commit(Batch(images=(image(b"/a", "l"),), contents=(content("l"),)))
        with any_store.snapshot() as snapshot:
            assert snapshot.faces.id.tolist() == [1]
        writer.commit(Batch(images=(image(b"/b", "k"),)))
        with any_store.snapshot() as snapshot:
            assert snapshot.faces.id.tolist() == [0, 1]
            assert snapshot.faces.image.tolist() == [1, 0]
            assert np.array_equal(snapshot.embeddings(0, 1), content("k").embeddings)
    with any_store.snapshot() as snapshot:
        assert len(snapshot.faces) == 2
    assert any_store.check() == []


def test_a_swap_of_two_names_keeps_both(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(Batch(images=(image(b"/a", "k"), image(b"/b", "l"))))
        writer.commit(Batch(moved=((b"/a", b"/b"), (b"/b", b"/a"))))
    with any_store.snapshot() as snapshot:
        assert snapshot.images.path == [b"/b", b"/a"]
        assert snapshot.images.id.tolist() == [0, 1]


def test_embeddings_of_many_blocks_with_gaps_and_a_journal(any_store):
    """More than one checksum block, rows gone from the middle, rows in the journal, any range."""
    contents = [content(k, 3) for k in range(3000)]
    images = [image(b"/p/%d" % k, k) for k in range(3000)]
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(Batch(images=tuple(images[:2800]), contents=tuple(contents[:2800])))
    writer = any_store.writer()
    gone = {*range(100, 900), *range(1500, 2600, 7)}
    writer.commit(Batch(removed=tuple(b"/p/%d" % k for k in gone)))
    writer.commit(Batch(images=tuple(images[2800:2900]), contents=tuple(contents[2800:2900])))
    writer.commit(Batch(images=tuple(images[2900:]), contents=tuple(contents[2850:])))
    expected = np.concatenate([item.embeddings for k, item in enumerate(contents) if k not in gone])
    with any_store.snapshot() as snapshot:
        for start, stop in (
            (0, len(expected)),
            (0, 0),
            (299, 301),
            (5000, 5900),
            (len(expected) - 1, len(expected)),
        ):
            assert np.array_equal(snapshot.embeddings(start, stop), expected[start:stop])
    writer.close()
    with any_store.snapshot() as snapshot:
        assert np.array_equal(snapshot.embeddings(0, len(expected)), expected)


@pytest.mark.parametrize(
    "batch",
    [
        Batch(contents=(Content(b"short", (), np.empty((0, DIMENSION), np.float32)),)),
        Batch(
            contents=(Content(digest(1), (Face(Box(0, 0, 1, 1), 1.0),), np.ones((1, DIMENSION), np.float32)),)
        ),
        Batch(contents=(Content(digest(1), (Face(Box(0, 0, 1, 1), 1.0),), np.full((1, DIMENSION), np.nan)),)),
        Batch(contents=(Content(digest(1), (Face(Box(0, 0, 1, 1), 1.0),), np.ones((1, 3), np.float32)),)),
        Batch(images=(image(b"", 1),)),
        Batch(images=(image(b"/zero\0byte", 1),)),
    ],
)
def test_a_batch_that_breaks_a_rule_is_refused_before_it_is_written(any_store, batch):
    with any_store.writer(FINGERPRINT) as writer:
        with pytest.raises(ValueError):
            writer.commit(batch)
        writer.commit(numbered(0))
    with any_store.snapshot() as snapshot:
        assert len(snapshot.images) == 3


def test_info_is_merged_and_kept(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        writer.record({"last_run": {"images": 3}})
        writer.record({"other": 1})
        with any_store.snapshot() as snapshot:
            assert snapshot.info["last_run"] == {"images": 3}
    with any_store.snapshot() as snapshot:
        assert snapshot.info["other"] == 1
        assert "created" in snapshot.info
        assert snapshot.fingerprint == FINGERPRINT


def test_reset_drops_all_but_decisions_and_ids(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.append_decisions([decided("one", "two")])
    other = FINGERPRINT.__class__(**{**FINGERPRINT.to_dict(), "model": "ArcFace", "crops": 5})
    with any_store.writer(other, reset=True) as writer:
        assert len(writer.snapshot.images) == len(writer.snapshot.faces) == 0
        writer.commit(numbered(0))
    with any_store.snapshot() as snapshot:
        assert snapshot.fingerprint == other
        assert snapshot.images.id.tolist() == snapshot.faces.id.tolist() == [3, 4, 5]
        assert snapshot.decisions() == (decided("one", "two"),)


@plain_only
def test_any_hdf5_tool_can_read_it(store):
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(7))
    with h5py.File(store.path) as file:
        for group in ("images", "faces"):
            assert {column.ndim for column in file[group].values()} == {1}
        assert file["images/path"][0] == b"/pictures/7-0"
        assert file["images/digest"][0].tobytes() == digest("7-0")
        assert file["faces/landmarks"][0].shape == (5, 2)
        assert file["embeddings"].shape == (3, DIMENSION)
        assert file["embeddings"].chunks is not None
        assert {"findings", "decisions"} & set(file) == {"decisions"}


def test_a_snapshot_stays_as_it_was(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        with any_store.snapshot() as before:
            writer.commit(numbered(1))
            assert len(writer.snapshot.images) == 0
            writer.pack()
            writer.commit(numbered(2))
            writer.pack()
            assert len(before.images) == len(before.embeddings(0, 3)) == 3
        with any_store.snapshot() as after:
            assert len(after.images) == 9


def test_a_large_store_keeps_a_small_journal_until_pack(store, monkeypatch):
    monkeypatch.setattr("facededup.store.hdf5_writer._LARGE_STORE", 1000)
    with store.writer(FINGERPRINT) as writer:
        for number in range(300):
            writer.commit(numbered(number))
    assert not os.path.exists(store.path + ".journal")
    with store.writer() as writer:
        writer.commit(numbered(300))
    assert os.path.exists(store.path + ".journal")
    assert store.disk_bytes() > os.path.getsize(store.path)
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 903
    with store.writer() as writer:
        writer.pack()
    assert not os.path.exists(store.path + ".journal")
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 903


def test_a_huge_journal_is_folded_in_the_midst(store, monkeypatch):
    monkeypatch.setattr("facededup.store.hdf5_writer._HUGE_JOURNAL", 1000)
    with store.writer(FINGERPRINT) as writer:
        for number in range(60):
            writer.commit(numbered(number))
            assert store.disk_bytes() > 0
        with store.snapshot() as snapshot:
            assert snapshot.header.generation > 0
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 180


def test_a_link_to_a_store_stays_a_link(store, tmp_path):
    link = tmp_path / "link.h5"
    link.symlink_to(store.path)
    with Hdf5Store(str(link)).writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
    assert link.is_symlink()
    with store.snapshot() as snapshot:
        assert len(snapshot.images) == 3
