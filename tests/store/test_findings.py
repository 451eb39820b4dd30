"""Findings: written in a stream, put in place in one step, read back in blocks."""

import os

import numpy as np
import pytest
from committer import clusters, pairs
from samples import FINGERPRINT, numbered

from facededup.store.base import ClusterTable, PairBlock


def block(seed, count):
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 5, count)
    return PairBlock(a, rng.integers(a + 1, 6), rng.uniform(-1, 1, count), rng.random(count) < 0.5)


def join(blocks):
    blocks = list(blocks)
    return [
        np.concatenate([getattr(item, name) for item in blocks]).tolist()
        for name in ("a", "b", "cosine", "new")
    ]


def write(writer, blocks, table, **meta):
    findings = writer.write_findings()
    for item in blocks:
        findings.append(item)
    findings.finish(meta, table)


@pytest.mark.parametrize("buffer", [1, 700, 1 << 20])
def test_what_is_appended_is_read_back(any_store, monkeypatch, buffer):
    monkeypatch.setattr("facededup.store.findings._BUFFER_PAIRS", buffer if buffer > 1 else 100)
    blocks = [
        block(seed, count) for seed, count in enumerate([500, 0, 1, 999, 70_000 if buffer > 1000 else 7])
    ]
    table = ClusterTable(
        key=["0123456789ab", "ba9876543210"],
        offsets=np.array([0, 3, 5]),
        members=np.array([0, 1, 2, 4, 5]),
        min_cosine=np.array([0.25, -0.5]),
        new=np.array([True, False]),
    )
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0, 6))
        findings = writer.write_findings()
        for item in blocks[:3]:
            findings.append(item)
        assert join(findings.chunks()) == join(blocks[:3])
        for item in blocks[3:]:
            findings.append(item)
        assert join(findings.chunks()) == join(findings.chunks()) == join(blocks)
        with any_store.snapshot() as snapshot:
            assert snapshot.findings() is None
        findings.finish({"threshold": 0.4, "search": {"engine": "faiss"}}, table)
    with any_store.snapshot() as snapshot:
        found = snapshot.findings()
        assert found.meta == {"threshold": 0.4, "search": {"engine": "faiss"}}
        assert found.pair_count == sum(map(len, blocks))
        assert join([found.pairs(0, 400), found.pairs(400, found.pair_count)]) == join(blocks)
        assert found.pairs(0, 2).a.dtype == np.int64
        assert found.clusters.key == table.key
        for name in ("offsets", "members", "min_cosine", "new"):
            assert getattr(found.clusters, name).tolist() == getattr(table, name).tolist()
        assert len(snapshot.images) == 6
    assert any_store.check() == []


def test_no_pairs_and_no_clusters(any_store):
    empty = ClusterTable([], np.zeros(1, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))
    with any_store.writer(FINGERPRINT) as writer:
        write(writer, [], empty)
    with any_store.snapshot() as snapshot:
        assert snapshot.findings().pair_count == len(snapshot.findings().clusters) == 0
    assert any_store.check() == []


def test_new_findings_replace_and_commits_keep(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        writer.commit(numbered(0))
        write(writer, [pairs(1)], clusters(1), number=1)
        writer.commit(numbered(1))
        with any_store.snapshot() as before:
            write(writer, [pairs(2)], clusters(2), number=2)
            assert before.findings().meta["number"] == 1
            assert before.findings().clusters.key == [f"{1:012d}"]
        writer.commit(numbered(2))
    with any_store.snapshot() as snapshot:
        assert snapshot.findings().meta["number"] == 2
        assert len(snapshot.images) == 9


def test_dropped_findings_stay_dropped(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        write(writer, [pairs(1)], clusters(1))
        writer.drop_findings()
        with any_store.snapshot() as snapshot:
            assert snapshot.findings() is None
    with any_store.snapshot() as snapshot:
        assert snapshot.findings() is None
    with any_store.writer() as writer:
        writer.drop_findings()
        write(writer, [pairs(3)], clusters(3), number=3)
    with any_store.snapshot() as snapshot:
        assert snapshot.findings().meta["number"] == 3


def test_abandoned_findings_leave_nothing(store):
    with store.writer(FINGERPRINT) as writer:
        write(writer, [pairs(1)], clusters(1), number=1)
        findings = writer.write_findings()
        findings.append(pairs(2))
        list(findings.chunks())
        writer.pack()
    assert os.listdir(os.path.dirname(store.path)) == ["s.h5"]
    with store.snapshot() as snapshot:
        assert snapshot.findings().meta["number"] == 1


def test_leftovers_of_a_dead_writer_are_removed(store):
    with store.writer(FINGERPRINT):
        pass
    for name in (".new", ".findings.new"):
        with open(store.path + name, "w") as file:
            file.write("half")
    with store.writer():
        pass
    assert os.listdir(os.path.dirname(store.path)) == ["s.h5"]


def test_reset_drops_findings(any_store):
    with any_store.writer(FINGERPRINT) as writer:
        write(writer, [pairs(1)], clusters(1))
    with any_store.writer(FINGERPRINT, reset=True):
        pass
    with any_store.snapshot() as snapshot:
        assert snapshot.findings() is None
