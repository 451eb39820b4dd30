"""`find --min-quality`: poor faces are in no pair and no cluster, and nothing of them is forgotten."""

import numpy as np
import pytest
from synthetic import FINGERPRINT, digest_of, people, record

import facededup
from facededup.errors import UsageError
from facededup.store.base import Batch, Content
from facededup.store.opener import open_store
from facededup.types import Box, Face, Quality


def add_faces(store, vectors, scores, start=0):
    """One face an image; a score of None is an unknown quality."""
    with open_store(store).writer(FINGERPRINT) as writer:
        images, contents = [], []
        for number, (vector, score) in enumerate(zip(vectors, scores, strict=True), start):
            digest = digest_of(number)
            quality = None if score is None else Quality(score, score, score, score, score)
            images.append(record(f"/{number}.jpg".encode(), digest))
            face = Face(Box(0, 0, 8, 8), 1.0, quality=quality)
            contents.append(Content(digest, (face,), vector[None].astype(np.float32)))
        writer.commit(Batch(images=tuple(images), contents=tuple(contents)))


def pairs(found):
    return sorted((int(pair.a.path[1:-4]), int(pair.b.path[1:-4])) for pair in found.pairs)


def test_poor_faces_are_in_no_pair_and_are_counted(store):
    add_faces(store, people(2, 4), [0.9, 0.2, None, 0.5, 0.9, 0.9, 0.1, 0.1])
    found = facededup.find(store=store, min_quality=0.3)
    assert pairs(found) == [(0, 2), (0, 3), (2, 3), (4, 5)]
    assert found.suppressed["quality"] == 12 - 4
    assert [cluster.size for cluster in found.clusters] == [3, 2]
    everything = facededup.find(store=store)
    assert everything.pairs_total == 12
    assert everything.suppressed["quality"] == 0
    assert found.expected_false_pairs == pytest.approx(everything.expected_false_pairs * 10 / 28)


def test_new_faces_and_another_bound_change_only_what_they_should(store):
    vectors = people(1, 6)
    add_faces(store, vectors[:4], [0.9, 0.2, 0.9, 0.5])
    assert pairs(facededup.find(store=store, min_quality=0.3)) == [(0, 2), (0, 3), (2, 3)]
    add_faces(store, vectors[4:], [0.2, 0.9], start=4)
    again = facededup.find(store=store, min_quality=0.3)
    assert again.search["reused_faces"] == 4
    assert pairs(again) == [(0, 2), (0, 3), (0, 5), (2, 3), (2, 5), (3, 5)]
    assert again.suppressed["quality"] == 15 - 6
    lower = facededup.find(store=store, min_quality=0.1)
    assert lower.search["reused_faces"] == 0
    assert lower.pairs_total == 15
    higher = facededup.find(store=store, min_quality=0.3)
    assert (higher.pairs_total, higher.suppressed["quality"]) == (6, 9)


def test_against_takes_faces_of_any_quality(store, tmp_path):
    add_faces(store, people(1, 2), [0.1, 0.2])
    with pytest.raises(UsageError, match="--min-quality"):
        facededup.find(store=store, against=str(tmp_path / "base.h5"), min_quality=0.5)
