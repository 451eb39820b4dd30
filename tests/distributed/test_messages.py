"""What travels: bytes that come out as they went in, and only those."""

from __future__ import annotations

import os
import uuid

import numpy as np
import pytest
import redis as client
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from machines import Redis

from facededup.distributed import depot as depots
from facededup.distributed.addresses import backend_of, broker_of, without_password
from facededup.distributed.blob import pack, unpack
from facededup.distributed.depot import Depot
from facededup.distributed.results import pack_results, pack_tasks, unpack_results, unpack_tasks
from facededup.distributed.roots import is_below, real_roots
from facededup.distributed.search import _plan
from facededup.errors import JobError, UsageError
from facededup.settings import Settings
from facededup.types import Box, Face, FileStat, Outcome, Quality
from facededup.workers.pool import Failure
from facededup.workers.steps import Analysis, ImageTask

ARRAYS = arrays.arrays(
    st.sampled_from([np.float32, np.int64, np.uint8, np.bool_, np.float64]),
    arrays.array_shapes(min_dims=1, max_dims=3, min_side=0, max_side=5),
)
FLOATS = st.floats(allow_nan=False)
FACES = st.builds(
    Face,
    box=st.builds(Box, *[st.integers(-(2**31), 2**31 - 1)] * 4),
    confidence=FLOATS,
    landmarks=st.lists(st.tuples(FLOATS, FLOATS), max_size=5).map(tuple),
    quality=st.none() | st.builds(Quality, *[FLOATS] * 5),
)
PATHS = st.binary(min_size=1, max_size=20).map(lambda name: "/" + os.fsdecode(name.replace(b"\0", b"-")))


@given(st.lists(ARRAYS, max_size=3), st.booleans())
def test_arrays_come_out_as_they_went_in(given_arrays, compress):
    document, found = unpack(pack({"a": [1, "\udce9"]}, *given_arrays, compress=compress))
    assert document == {"a": [1, "\udce9"]}
    for one, other in zip(given_arrays, found, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@given(st.binary(max_size=60))
def test_other_bytes_are_refused(data):
    with pytest.raises(JobError, match="not readable"):
        unpack(data)
    with pytest.raises(JobError, match="not readable"):
        unpack(pack(data.hex(), np.arange(30.0))[: -1 - len(data)])


def test_an_array_of_objects_is_refused():
    with pytest.raises(JobError, match="not readable"):
        unpack(pack(None, np.array(["text"])))


@given(st.lists(st.tuples(PATHS, st.sampled_from(["/", "/a", "/a/b"]), st.booleans())))
def test_tasks_come_out_as_they_went_in(rows):
    tasks = [ImageTask(root + path if force else path, root, force) for path, root, force in rows]
    assert unpack_tasks(pack_tasks(tasks)) == tasks


@given(st.lists(st.lists(FACES, max_size=3), max_size=4), st.data())
def test_results_come_out_as_they_went_in(faces, data):
    tasks = [ImageTask(f"/{k}", "/") for k in range(len(faces))]
    results = [
        data.draw(
            st.just(Failure("it died"))
            | st.just(
                Analysis(
                    task=task,
                    stat=FileStat(1, 2, 3, 2**63),
                    digest=b"d" * 32,
                    outcome=Outcome.OK,
                    width=7,
                    faces=tuple(some),
                    seconds={"decode": 0.25},
                    phash=2**64 - 1,
                )
            )
        )
        for task, some in zip(tasks, faces, strict=True)
    ]
    count = sum(len(result.faces) for result in results if isinstance(result, Analysis))
    embeddings = np.random.default_rng(0).standard_normal((count, 4)).astype(np.float32)
    found, facts = unpack_results(pack_results(results, embeddings, {"engine": "onnx"}), tasks)
    assert facts == {"engine": "onnx"}
    for one, other in zip(results, found, strict=True):
        if isinstance(one, Failure):
            assert one == other
            continue
        for name in ("task", "stat", "digest", "outcome", "width", "faces", "seconds", "phash"):
            assert getattr(one, name) == getattr(other, name)
        assert other.embeddings.shape == (len(one.faces), 4)
    rows = [row for result in found if isinstance(result, Analysis) for row in result.embeddings]
    np.testing.assert_array_equal(np.array(rows).reshape(count, 4), embeddings)


@given(st.integers(0, 400_000), st.floats(0, 1))
def test_a_plan_covers_every_pair_of_blocks_once(count, part):
    since = int(count * part)
    covered = 0
    before = 0
    for top, bottom, left, right in _plan(count, since):
        assert since <= left <= right <= count
        assert right >= before, "columns come in order"
        before = right
        if top == left:
            assert bottom == right
            covered += (right - left) * (right - left + 1) // 2
        else:
            assert bottom <= left
            covered += (bottom - top) * (right - left)
    assert covered == count * (count + 1) // 2 - since * (since + 1) // 2


def test_a_result_larger_than_the_servers_limit(tmp_path, monkeypatch):
    server = Redis(tmp_path, "--proto-max-bulk-len", "1mb").start()
    try:
        monkeypatch.setattr(depots, "PART_BYTES", 700_000)
        data = os.urandom(5_000_000)
        with client.Redis.from_url(server.url) as connection, pytest.raises(client.RedisError):
            connection.set("whole", data)
        job = Depot(server.url).job("j")
        job.describe(b"d")
        job.publish({3: b"payload"})
        assert job.begin(3, "me") == b"payload"
        assert job.begin(3, "another") is None, "it is in hand"
        job.finish(3, data)
        assert job.begin(3, "another") is None, "it is done"
        assert job.wait(1) == {3}
        assert job.result(job.ended([3])[3]) == data
        job.put("known", data)
        assert job.get("known") == data
        job.delete()
        with client.Redis.from_url(server.url) as connection:
            assert connection.keys("*") == []
    finally:
        server.stop()


def test_a_result_of_another_chunk_is_refused():
    tasks = [ImageTask(f"/{k}", "/") for k in range(2)]
    none = np.empty((0, 4), np.float32)
    for data in (
        pack_results([Failure("it died")], none, {}),
        pack_results([Failure("it died")] * 2, np.ones((1, 4), np.float32), {}),
        pack([[{"faces": []}] * 2, {}], none),
        pack([["it died"] * 2, {}]),
        pack("results"),
    ):
        with pytest.raises(JobError, match="one version"):
            unpack_results(data, tasks)
    with pytest.raises(JobError, match="one version"):
        unpack_tasks(pack([["/"], [[1, True, "a", False]]]))


def test_a_result_put_down_again_as_its_answer_was_lost_stays(broker, monkeypatch):
    monkeypatch.setattr(depots.uuid, "uuid4", lambda: uuid.UUID(int=1))
    job = Depot(broker).job("again")
    job.publish({0: b""})
    for _ in range(2):
        job.finish(0, b"result")
    assert job.result(job.ended([0])[0]) == b"result"
    job.delete()


def test_nothing_of_a_job_stays_longer_than_it_is_kept(broker):
    job = Depot(broker).job("left")
    job.describe(b"d")
    job.publish({0: b"", 1: b""})
    job.put("known", b"k")
    job.begin(0, "me")
    job.finish(0, b"result")
    job.begin(1, "me")
    with client.Redis.from_url(broker) as connection:
        keys = connection.keys("facededup:left*")
        assert len(keys) == 9
        assert all(connection.ttl(key) > 0 for key in keys)
    job.delete()


def test_of_two_results_of_one_unit_the_first_counts(broker):
    job = Depot(broker).job("twice")
    job.publish({0: b""})
    job.finish(0, b"first")
    job.finish(0, b"second")
    assert job.result(job.ended([0])[0]) == b"first"
    job.delete()


def test_addresses():
    assert broker_of(Settings()) == "redis://localhost:6379/0"
    assert backend_of(Settings(broker_url="rediss://u:p@h:1/2")) == "rediss://u:p@h:1/2"
    assert without_password("rediss://u:p%40x@h:1/2?a=b") == "rediss://u:**@h:1/2?a=b"
    assert without_password("redis://h/0") == "redis://h/0"
    with pytest.raises(UsageError, match="FACEDEDUP_RESULT_BACKEND"):
        backend_of(Settings(broker_url="amqp://u:p@h//"))
    with pytest.raises(UsageError, match="not sqs") as caught:
        broker_of(Settings(broker_url="sqs://u:p@h"))
    assert "p@h" not in str(caught.value)
    with pytest.raises(UsageError, match="FACEDEDUP_BROKER_URL is no URL"):
        broker_of(Settings(broker_url="redis://u:p@[h/0"))


def test_roots(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "ab").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "ab")
    roots = real_roots(os.pathsep.join([str(tmp_path / "a"), str(tmp_path / "link")]))
    assert is_below(str(tmp_path / "a" / "x.jpg"), roots)
    assert is_below(str(tmp_path / "ab" / "x.jpg"), roots), "a root may be a link"
    assert not is_below(str(tmp_path / "abc.jpg"), roots)
    assert not is_below(str(tmp_path / "a" / ".." / "x.jpg"), roots)
    assert is_below("/etc/passwd", real_roots(None))
