"""`find --queue`: the same pairs as on one machine, whether or not the workers can read the store."""

from __future__ import annotations

import numpy as np
import pytest
from machines import wait_for, worker

import facededup
from facededup.distributed import search
from facededup.distributed.blob import pack, unpack
from facededup.distributed.celery_app import configure
from facededup.distributed.depot import Depot
from facededup.errors import JobError, UsageError
from facededup.settings import Settings
from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.hdf5 import Hdf5Store
from facededup.store.opener import open_store
from facededup.types import Box, Face, FileStat, Outcome

FACES = 3000


@pytest.fixture
def many(tmp_path):
    """A store of faces in small groups of look-alikes, copied to two places."""
    draw = np.random.default_rng(7)
    people = draw.standard_normal((FACES // 5, 128))
    vectors = np.repeat(people, 5, axis=0) + 0.2 * draw.standard_normal((FACES, 128))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    made = Fingerprint("Dlib", "w", 128, "dlib", "chip", flip=False, faces="all")
    images, contents = [], []
    for k, vector in enumerate(vectors):
        digest = (k + 1).to_bytes(32, "big")[::-1]
        stat = FileStat(1, 2, 3, k)
        images.append(
            ImageRecord(
                path=b"/p/%d" % k, root=b"/p", mount=b"/", stat=stat, digest=digest, outcome=Outcome.OK
            )
        )
        contents.append(Content(digest, (Face(Box(0, 0, 9, 9), 1.0),), vector[None]))
    stores = []
    for name in ("local", "queued"):
        (tmp_path / name).mkdir()
        stores.append(str(tmp_path / name / "faces.h5"))
        with Hdf5Store(stores[-1]).writer(made) as writer:
            writer.commit(Batch(images=tuple(images), contents=tuple(contents)))
    return stores


def pairs(found):
    return sorted((pair.a.path, pair.b.path, pair.cosine) for pair in found.pairs)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(search, "BLOCK_ROWS", (512, 512))


def compare(local, queued):
    expected = facededup.find(store=local, threshold=0.4)
    assert expected.pairs_total > FACES
    found = facededup.find(store=queued, threshold=0.4, queue=True)
    assert pairs(found) == pairs(expected)
    assert found.complete
    assert [cluster.faces for cluster in found.clusters] == [cluster.faces for cluster in expected.clusters]


def test_workers_that_read_the_store_find_the_pairs_of_one_machine(many, broker, small_blocks, steady_worker):
    compare(*many)


def test_workers_that_cannot_read_the_store_get_the_vectors(many, redis, small_blocks, tmp_path, monkeypatch):
    url = redis.url[:-1] + "1"
    monkeypatch.setenv("FACEDEDUP_BROKER_URL", url)
    with worker(url, tmp_path / "log", "--root", str(tmp_path / "local"), "--queues", "search") as started:
        compare(*many)
        assert search.VECTORS_WANTED in started.text()


@pytest.fixture
def unit(postgres_url, broker):
    """Does the one unit of a search in a PostgreSQL store here; the connections that are open; another."""
    import psycopg

    vectors = np.eye(6, 128, dtype=np.float32)[[0, 1, 2, 0, 1, 2]]
    made = Fingerprint("Dlib", "w", 128, "dlib", "chip", flip=False, faces="all")
    contents = [
        Content(bytes([k + 1] * 32), (Face(Box(0, 0, 9, 9), 1.0),), vectors[k : k + 1]) for k in range(6)
    ]
    images = [
        ImageRecord(
            path=b"/p/%d" % k,
            root=b"/p",
            mount=b"/",
            stat=FileStat(1, 2, 3, k),
            digest=contents[k].digest,
            outcome=Outcome.OK,
        )
        for k in range(6)
    ]
    store = open_store(postgres_url)
    with store.writer(made) as writer:
        writer.commit(Batch(images=tuple(images), contents=tuple(contents)))
    with store.snapshot() as snapshot:
        mark = search._mark(snapshot)
    configure(Settings(broker_url=broker))
    admin = psycopg.connect(postgres_url.partition("&schema")[0].partition("?schema")[0], autocommit=True)

    def do(name, mark=mark):
        job = Depot(broker).job(name)
        job.describe(pack({"cut": 0.5, "store": postgres_url, "mark": mark}, np.empty((128, 0))))
        return len(unpack(search.search_unit(job, pack((0, 6, 0, 6)))[0])[1][0])

    def connections():
        return (
            admin.execute(
                "SELECT array_agg(pid) FROM pg_stat_activity WHERE application_name LIKE 'facededup %'"
            ).fetchone()[0]
            or []
        )

    yield do, connections, admin
    admin.close()


def test_a_worker_lets_the_store_of_a_search_go(unit, monkeypatch):
    do, connections, _ = unit
    monkeypatch.setattr(search, "IDLE_SECONDS", 0.5)
    assert do("one") == 3
    wait_for(lambda: len(connections()) == 1, "the end of other connections")
    assert do("another") == 3
    wait_for(lambda: len(connections()) == 1, "the end of other connections")
    wait_for(lambda: not connections(), "the end of the connection")
    assert do("another") == 3
    with pytest.raises(JobError, match=search.VECTORS_WANTED):
        do("of another store", mark="other")
    wait_for(lambda: not connections(), "the end of the connection")


def test_a_worker_whose_connection_to_the_store_ended_makes_a_new_one(unit):
    do, connections, admin = unit
    assert do("one") == 3
    admin.execute("SELECT pg_terminate_backend(%s)", connections())
    with pytest.raises(JobError, match="cannot be read"):
        do("one")
    assert do("one") == 3


def test_a_queue_searches_exactly_and_on_cpus(many, broker):
    for options in ({"index": "ivf"}, {"gpu": True}, {"precision": "float16"}):
        with pytest.raises(UsageError, match="queue"):
            facededup.find(store=many[1], queue=True, **options)
