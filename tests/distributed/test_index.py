"""`index --queue` on real servers and workers: the same as without, whatever dies."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
import redis as client

import facededup
from facededup.errors import JobError
from facededup.store.opener import open_store


def table(store):
    """path -> (outcome, reason, size of the image, faces, embeddings)."""
    with open_store(store).snapshot() as snapshot:
        images, faces = snapshot.images, snapshot.faces
        vectors = snapshot.embeddings(0, len(faces))
        found = {}
        for row, path in enumerate(images.path):
            mine = np.flatnonzero(faces.image == images.first[row])
            found[os.fsdecode(path)] = (
                (
                    int(images.outcome[row]),
                    images.reason[row],
                    int(images.width[row]),
                    int(images.phash[row]),
                ),
                faces.box[mine].tolist(),
                faces.landmarks[mine].tobytes(),
                faces.quality[mine].tobytes(),
                vectors[mine],
            )
        assert len(found) == len(images), "an image is in the store twice"
        return found


def assert_same(a, b):
    assert a.keys() == b.keys()
    for path, (*facts, vectors) in a.items():
        assert facts == list(b[path][:-1]), path
        np.testing.assert_allclose(vectors, b[path][-1], atol=1e-6)


def leftovers(broker):
    with client.Redis.from_url(broker) as connection:
        return list(connection.scan_iter("facededup:*"))


def test_the_queue_gives_what_this_machine_gives(pictures, store, tmp_path, broker, steady_worker):
    facededup.index([pictures], store=store, processes=2)
    other = str(tmp_path / "queued.h5")
    result = facededup.index([pictures], store=other, queue=True, chunk_images=4)
    assert (result.read, result.ok, result.no_face, result.failed) == (17, 13, 3, 1)
    assert (result.embedded, result.copies) == (12, 1)
    assert_same(table(store), table(other))
    assert leftovers(broker) == []
    assert result.metrics.engine == "onnx"
    assert result.metrics.devices["embed"] == "CPU"
    stages = result.metrics.to_dict()["stages"]
    assert all(stages[name]["seconds"] > 0 for name in ("decode", "detect", "align", "embed"))
    assert stages["embed"]["items"] == 12


def test_what_is_known_is_not_analysed_again(pictures, store, broker, steady_worker):
    facededup.index([pictures], store=store, queue=True)
    shutil.move(pictures / "collins-dark.jpg", pictures / "elsewhere.jpg")
    shutil.copy(pictures / "collins-half-size.jpg", pictures / "copy.jpg")
    again = facededup.index([pictures], store=store, queue=True)
    assert (again.read, again.moved, again.copies, again.embedded) == (2, 1, 1, 0)
    assert again.metrics.stages["detect"].items == 0


def test_names_that_are_no_text(pictures, store, broker, steady_worker):
    odd = os.path.join(os.fsencode(pictures), b"latin-\xe9 \xf0\x9f\x98\x80.jpg")
    shutil.copy(pictures / "collins-dark.jpg", odd)
    facededup.index([pictures], store=store, queue=True)
    assert table(store)[os.fsdecode(odd)][0][0] == 0


def test_a_worker_reads_nothing_outside_its_roots(pictures, store, tmp_path, redis, monkeypatch):
    from machines import worker

    url = redis.url[:-1] + "3"  # where no worker without roots listens
    monkeypatch.setenv("FACEDEDUP_BROKER_URL", url)
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    for folder in (inside, outside):
        folder.mkdir()
        shutil.copy(pictures / "collins-dark.jpg", folder)
    (inside / "link.jpg").symlink_to(outside / "collins-dark.jpg")
    paths = [inside / "collins-dark.jpg", inside / "link.jpg", outside / "collins-dark.jpg"]
    with worker(url, tmp_path / "log", "--root", str(inside), "-c", "1", "--cpu") as started:
        result = facededup.index(paths, store=store, queue=True)
        text = started.text()
    assert (result.ok, result.failed) == (1, 2)
    assert {problem.path for problem in result.problems} == {str(path) for path in paths[1:]}
    assert all("outside the folders" in problem.reason for problem in result.problems)
    assert "no roots are configured" not in text
    assert str(tmp_path / "inside") not in text.replace(str(tmp_path / "log"), ""), "a path is in the log"


def test_a_server_that_is_not_there_is_said_at_once(pictures, store):
    from machines import free_port

    url = f"redis://:secret@127.0.0.1:{free_port()}/0"
    with pytest.raises(JobError, match="cannot be reached") as caught:
        facededup.index([pictures], store=store, queue=True, broker_url=url)
    assert "secret" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_ten_thousand_tiny_chunks(tmp_path, store, broker, steady_worker):
    folder = tmp_path / "many"
    folder.mkdir()
    for k in range(10_000):
        (folder / f"{k:05d}.jpg").write_bytes(b"no image %d" % k)
    result = facededup.index([folder], store=store, queue=True, chunk_images=1)
    assert (result.read, result.failed) == (10_000, 10_000)
    assert len(table(store)) == 10_000
    assert leftovers(broker) == []
