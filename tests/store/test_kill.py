"""`kill -9` at any moment: no committed batch is lost, no image is there twice, the store opens."""

import os
import random
import time

import pytest
from committer import pairs
from committer import run as commit
from programs import start
from samples import FINGERPRINT, numbered


def killed(store, first, mode, delay):
    """What a committer printed before it was killed, `delay` seconds after it had opened the store."""
    process = start("committer.py", store.path, first, 100_000, mode)
    assert process.stdout.readline() == "open\n", process.stderr.read()
    time.sleep(delay)
    process.kill()
    out, _ = process.communicate()
    return out.splitlines()


@pytest.mark.parametrize(("mode", "kills"), [("commit", 5), ("fold", 7)])
def test_no_committed_batch_is_lost(store, mode, kills):
    rng = random.Random(mode)
    committed, first = set(), 0
    for _ in range(kills):
        lines = killed(store, first, mode, rng.uniform(0.0, 0.25))
        committed |= {int(line) for line in lines}
        with store.snapshot() as snapshot:
            paths = snapshot.images.path
            assert len(set(paths)) == len(paths)
            there = {int(path.split(b"/")[-1].split(b"-")[0]) for path in paths}
            # One batch may be durable though its commit had no time to say so.
            assert committed <= there <= committed | set(range(first, max(committed | {first}) + 2))
            expected = [image.path for number in sorted(there) for image in numbered(number).images]
            assert paths == expected
            assert len(snapshot.faces) == len(paths)
        assert store.check() == []
        committed = there
        first = max(there, default=-1) + 1
    assert committed
    with store.writer() as writer:
        assert len(writer.snapshot.images) == 3 * len(committed)
    assert os.listdir(os.path.dirname(store.path)) == ["s.h5"]


def test_findings_are_replaced_in_one_step(store):
    commit(store.path, 0, 3, "findings")
    rng = random.Random(5)
    first, last = 3, 2
    for _ in range(4):
        lines = killed(store, first, "findings", rng.uniform(0.02, 0.3))
        finished = [int(line.split()[1]) for line in lines if line.startswith("found")]
        last = max([last, *finished])
        with store.snapshot() as snapshot:
            findings = snapshot.findings()
            number = findings.meta["number"]
            assert number in (last, last + 1 if finished else first)
            assert findings.clusters.key == [f"{number:012d}"]
            assert findings.pairs(0, findings.pair_count).cosine.tolist() == pairs(number).cosine.tolist()
            first = int(snapshot.images.path[-1].split(b"/")[-1].split(b"-")[0]) + 1
        last = number
        assert store.check() == []
    with store.writer(FINGERPRINT):
        pass
    assert os.listdir(os.path.dirname(store.path)) == ["s.h5"]
