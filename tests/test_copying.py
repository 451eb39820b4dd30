"""`store copy` between stores of all kinds: everything arrives, is compared, and half a copy is no store."""

import json

import numpy as np
import pytest
from servers import private_folder

import facededup
from facededup.errors import JobError, StoreNotFoundError, UsageError
from facededup.results import CopyResult
from facededup.store.opener import open_store
from facededup.store.records import (
    Batch,
    ClusterTable,
    Content,
    Fingerprint,
    ImageRecord,
    PairBlock,
)
from facededup.types import Box, Decision, Face, FaceKey, FileStat, Outcome, Quality

DIMENSION = 16
MADE_BY = Fingerprint("Dlib", "w", DIMENSION, "dlib", "chip", False, "all")
POINTS = tuple((float(k), k + 0.25) for k in range(5))


def record(number, digest, **others):
    return ImageRecord(
        path=b"/p/%d \xff" % number,
        root=b"/p",
        mount=b"/",
        stat=FileStat(number, 2**60, 3, 2**63 + number),
        digest=digest,
        outcome=Outcome.OK,
        phash=2**63 + number,
        tags='{"site": "caf\u00e9"}',
        indexed_at=1_700_000_000 + number,
        **others,
    )


def fill(store, images=300):
    """Images with copies, without faces, in another order than their faces; with gaps in the ids."""
    rng = np.random.default_rng(7)
    digests = [bytes([1, *number.to_bytes(2, "big")]) + bytes(29) for number in range(images)]
    with store.writer(MADE_BY) as writer:
        contents = []
        for number, digest in enumerate(digests):
            vectors = rng.standard_normal((1 + number % 3, DIMENSION)).astype(np.float32)
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
            faces = tuple(
                Face(
                    Box(k, -2, 30, 40),
                    0.1 * k,
                    POINTS[: 5 * (k % 2)],
                    Quality(0.5, 0.1, 0.2, 0.3, 0.4) if k else None,
                )
                for k in range(len(vectors))
            )
            contents.append(Content(digest, faces, vectors))
        writer.commit(Batch(contents=tuple(contents[::-1])))
        writer.commit(Batch(images=tuple(record(k, digest) for k, digest in enumerate(digests))))
        writer.commit(
            Batch(images=(record(images, digests[3]), record(images + 1, b"", reason="cut", retry=True)))
        )
        writer.commit(Batch(removed=tuple(b"/p/%d \xff" % k for k in range(10, 40))))
        with store.snapshot() as now:
            ids = now.faces.id
        pairs = PairBlock(ids[:100], ids[100:200], rng.uniform(0.9, 1, 100), rng.random(100) < 0.5)
        findings = writer.write_findings()
        findings.append(pairs)
        members = np.concatenate([pairs.a[:2], pairs.b[:2]])
        table = ClusterTable(
            key=["0123456789ab", "ba9876543210"],
            offsets=np.array([0, 2, 4]),
            members=members,
            min_cosine=np.array([0.9, 0.95]),
            new=np.array([True, False]),
            mean_cosine=np.array([0.9, 0.96]),
            medoid=members[::2],
            bridge=np.array([True, False, False, False]),
        )
        meta = {"next_face_id": int(ids[-1]) + 1, "next_image_id": images + 2, "cosine_cut": 0.9}
        findings.finish(meta, table)
        a, b = (FaceKey(digest, Box(0, -2, 30, 40)) for digest in digests[:2])
        writer.append_decisions(
            [Decision(a=a, b=b, verdict="same", at=5), Decision(a=a, b=b, verdict="undo")]
        )
        writer.record({"last_run": {"images": images}})


@pytest.fixture(scope="module")
def source():
    with private_folder() as folder:
        place = f"{folder}/source.h5"
        fill(open_store(place))
        yield place


def test_everything_goes_there_and_back(source, location, tmp_path):
    result = facededup.copy_store(source, location)
    assert isinstance(result, CopyResult)
    assert (result.images, result.pairs, result.clusters, result.decisions) == (272, 100, 2, 2)
    back = str(tmp_path / "back.h5")
    again = facededup.copy_store(location, back)
    assert again.embeddings_sha256 == result.embeddings_sha256
    for place in (location, back):
        assert open_store(place).check() == []
    with open_store(source).snapshot() as old, open_store(back).snapshot() as new:
        assert new.fingerprint == old.fingerprint
        assert new.images.path == old.images.path
        assert new.images.indexed_at.tolist() == old.images.indexed_at.tolist()
        assert new.images.id.tolist() == list(range(272))
        assert np.array_equal(new.faces.landmarks, old.faces.landmarks, equal_nan=True)
        assert np.array_equal(new.embeddings(0, result.faces), old.embeddings(0, result.faces))
        ours, theirs = old.findings(), new.findings()
        one, other = ours.pairs(0, 100), theirs.pairs(0, 100)
        assert (
            np.searchsorted(old.faces.id, one.a).tolist() == np.searchsorted(new.faces.id, other.a).tolist()
        )
        assert one.cosine.tolist() == other.cosine.tolist()
        assert theirs.meta["next_face_id"] == result.faces
        assert theirs.meta["next_image_id"] == 272
        assert new.info["last_run"] == old.info["last_run"]


def test_a_store_that_is_there_is_replaced_only_if_wanted(source, location):
    facededup.copy_store(source, location)
    with pytest.raises(UsageError, match="--reset"):
        facededup.copy_store(source, location)
    assert facededup.copy_store(source, location, reset=True).images == 272
    with open_store(location).snapshot() as snapshot:
        assert len(snapshot.decisions()) == 2


def test_decisions_of_its_own_are_not_mixed(source, location):
    with open_store(location).writer(MADE_BY) as writer:
        key = FaceKey(bytes([9]) * 32, Box(0, 0, 1, 1))
        writer.append_decisions([Decision(a=key, b=key, verdict="later")])
    with pytest.raises(UsageError, match="decisions of its own"):
        facededup.copy_store(source, location, reset=True)


def test_half_a_copy_is_no_store(source, location):
    class StoppedError(Exception):
        pass

    class Stop:
        def start(self, step, total):
            assert step == "copy"
            assert total > 272

        def advance(self, _=1):
            raise StoppedError

    with pytest.raises(StoppedError):
        facededup.copy_store(source, location, progress=Stop())
    store = open_store(location)
    for use in (store.snapshot, store.writer, lambda: facededup.store_status(store=location)):
        with pytest.raises(UsageError, match=r"source\.h5' that was interrupted"):
            use()
    assert facededup.copy_store(source, location, reset=True).images == 272
    assert facededup.store_status(store=location).images.total == 272


def test_what_arrived_otherwise_is_told(source, location, monkeypatch):
    """An image that another process puts into the target meanwhile."""

    class Meddle:
        def start(self, step, total):
            pass

        def advance(self, amount=1):
            pass

        def finish(self):
            kind = type(writers[0])
            kind.commit(writers[0], Batch(images=(record(9999, b""),)))

    store = open_store(location)
    writers = []
    made = type(store).writer

    def writer(self, *args, **options):
        writers.append(made(self, *args, **options))
        return writers[-1]

    monkeypatch.setattr(type(store), "writer", writer)
    with pytest.raises(JobError, match="differs from its source in: path"):
        facededup.copy_store(source, location, progress=Meddle())
    with pytest.raises(UsageError, match="interrupted"):
        store.snapshot()


def test_wrong_usage(source, tmp_path):
    with pytest.raises(UsageError, match="the same"):
        facededup.copy_store(source, source)
    with pytest.raises(StoreNotFoundError):
        facededup.copy_store(str(tmp_path / "none.h5"), str(tmp_path / "copy.h5"))
    assert not (tmp_path / "copy.h5").exists()


def test_the_command(source, tmp_path):
    from typer.testing import CliRunner

    from facededup.cli.app import app

    target, report = str(tmp_path / "copy.h5"), tmp_path / "copy.json"
    done = CliRunner().invoke(app, ["store", "copy", source, target, "--json", str(report)])
    assert done.exit_code == 0, done.output
    assert "copied: 272 images" in done.output
    document = json.loads(report.read_text())
    assert document["schema"] == "facededup/copy/1"
    assert document["decisions"] == 2
    assert CliRunner().invoke(app, ["store", "copy", source, target]).exit_code == 2
