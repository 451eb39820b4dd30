"""The log of decisions in the store: what was appended is there, in order, until it is forgotten."""

import os
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import FINGERPRINT, decided, digest, numbered, plain_only

from facededup.errors import StoreWriteError
from facededup.store.decisions import VERDICTS
from facededup.store.hdf5 import Hdf5Store
from facededup.store.opener import open_store
from facededup.types import Box, FaceKey

PATHS = st.sampled_from([b"/p/a", b"/p/b \xff"])
DECISIONS = st.builds(
    decided,
    st.sampled_from("klmn"),
    st.sampled_from("klmn"),
    st.sampled_from(VERDICTS),
    who=st.text(max_size=5).map(lambda text: text.replace("\0", "")),
    at=st.integers(0, 2**62),
    a_path=st.just(b"") | PATHS,
    cosine=st.floats(-1, 1),
    model=st.sampled_from(["", "Dlib", "ArcFace"]),
)
STEPS = st.one_of(
    st.tuples(st.just("append"), st.lists(DECISIONS, max_size=4)),
    st.tuples(
        st.just("forget"), st.tuples(st.sampled_from("klmn"), st.sampled_from([b"/p/a", b"/p/b \xff"]))
    ),
    st.tuples(st.sampled_from(["pack", "reopen", "reset"]), st.none()),
)


QUICK = settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))


def follow(store, steps):
    """Does the steps to a store and to a list, and compares them after each."""
    expected = []
    writer = store.writer(FINGERPRINT)
    try:
        writer.forget_decisions(set(map(digest, "klmn")), set())  # of the example before
        for step, argument in steps:
            if step == "append":
                writer.append_decisions(argument)
                expected += argument
            elif step == "forget":
                key, path = argument
                writer.forget_decisions({digest(key)}, {path})
                left = [d for d in expected if digest(key) not in (d.a.digest, d.b.digest)]
                expected = [replace(d, a_path=b"" if d.a_path == path else d.a_path) for d in left]
            elif step == "pack":
                writer.pack()
            else:
                writer.close()
                writer = store.writer(reset=step == "reset")
                assert writer.snapshot.decisions() == tuple(expected)
            with store.snapshot() as snapshot:
                assert snapshot.decisions() == tuple(expected)
    finally:
        writer.close()
    assert store.check() == []


@QUICK
@given(st.lists(STEPS, min_size=1, max_size=8))
def test_the_log_is_what_was_appended_and_not_forgotten(steps):
    with tempfile.TemporaryDirectory() as folder:
        follow(Hdf5Store(os.path.join(folder, "s.h5")), steps)


@QUICK
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_the_log_in_a_database(postgres_url, steps):
    follow(open_store(postgres_url), steps)


@QUICK
@given(steps=st.lists(STEPS, min_size=1, max_size=8))
def test_the_log_in_redis(redis_url, steps):
    follow(open_store(redis_url), steps)


def test_what_is_no_decision_is_refused(store):
    with store.writer(FINGERPRINT) as writer:
        for wrong, said in (
            (decided("k", "l", "maybe"), "verdict"),
            (decided("k", "l", a_path=b"/p\0q"), "zero byte"),
            (replace(decided("k", "l"), a=FaceKey(b"short", Box(0, 0, 1, 1))), "32"),
        ):
            with pytest.raises(ValueError, match=said):
                writer.append_decisions([decided("k", "l"), wrong])
    with store.snapshot() as snapshot:
        assert snapshot.decisions() == ()


def test_an_append_is_durable_on_return(store):
    with store.writer(FINGERPRINT) as writer:
        writer.pack()
        writer.append_decisions([decided("k", "l")])
        kept = {path: path.read_bytes() for path in Path(store.path).parent.iterdir()}
        writer.append_decisions([decided("k", "l", "undo")])
    for path in Path(store.path).parent.iterdir():
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
    with store.snapshot() as snapshot:
        assert snapshot.decisions() == (decided("k", "l"),)


@plain_only
def test_forgotten_decisions_leave_no_bytes(store):
    with store.writer(FINGERPRINT) as writer:
        writer.append_decisions([decided("k", "l", who="Kim"), decided("m", "n", a_path=b"/secret.jpg")])
        writer.pack()
        writer.append_decisions([decided("k", "m", who="Lee")])
        assert all(text in files_of(store) for text in (b"Kim", b"Lee", b"/secret.jpg", digest("k")))
        writer.forget_decisions({digest("k")}, {b"/secret.jpg"})
        writer.pack()
    assert not any(text in files_of(store) for text in (b"Kim", b"Lee", b"/secret.jpg", digest("k")))
    with store.snapshot() as snapshot:
        assert snapshot.decisions() == (decided("m", "n", a_path=b""),)


def files_of(store):
    return b"".join(path.read_bytes() for path in sorted(Path(store.path).parent.iterdir()))


@plain_only
def test_a_repair_keeps_intact_decisions(store, tmp_path):
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.append_decisions([decided("k", "l")])
        writer.pack()
        writer.append_decisions([decided("k", "m")])
        left = Hdf5Store(str(tmp_path / "left.h5"))  # as a kill leaves it
        for ending in ("", ".journal"):
            shutil.copy(store.path + ending, left.path + ending)
    flip(left, "embeddings")
    repair = left.repair()
    assert repair.decisions_kept
    assert len(repair.lost) == 3
    with left.snapshot() as snapshot:
        assert snapshot.decisions() == (decided("k", "l"), decided("k", "m"))


@plain_only
def test_damaged_decisions_are_said_and_dropped(store):
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.append_decisions([decided("k", "l")])
    assert store.check() == []
    flip(store, "decisions/verdict")
    (problem,) = store.check()
    assert problem.startswith("decisions: ")
    repair = store.repair()
    assert not repair.decisions_kept
    assert repair.lost == ()
    assert store.check() == []
    with store.snapshot() as snapshot:
        assert snapshot.decisions() == ()


def flip(store, column):
    with h5py.File(store.path) as file:
        dataset = file[column]
        chunked = dataset.chunks is not None
        place = dataset.id.get_chunk_info(0).byte_offset if chunked else dataset.id.get_offset()
    data = bytearray(Path(store.path).read_bytes())
    data[place] ^= 1
    Path(store.path).write_bytes(data)


def test_a_full_disk_loses_no_earlier_decision(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with store.writer(FINGERPRINT) as writer:
        writer.append_decisions([decided("k", "l")])
        with monkeypatch.context() as patch:
            patch.setattr("facededup.store.journal.write_all", full)
            with pytest.raises(StoreWriteError):
                writer.append_decisions([decided("k", "m")])
    with store.snapshot() as snapshot:
        assert snapshot.decisions() == (decided("k", "l"),)
