"""The whole job on a store of each kind: the same outcomes, embeddings, pairs and clusters as in a file."""

import numpy as np
import pytest

import facededup
from facededup.store.opener import open_store


@pytest.fixture(scope="module")
def in_a_file(all_pictures, tmp_path_factory):
    """The findings and the embeddings, by path and face, of the default store."""
    place = str(tmp_path_factory.mktemp("file") / "s.h5")
    facededup.index([all_pictures], store=place, processes=1)
    return facededup.find(store=place), embeddings(place)


def embeddings(place):
    with open_store(place).snapshot() as snapshot:
        faces, images = snapshot.faces, snapshot.images
        names = [
            (images.path[row], number) for row, number in zip(faces.image, faces.number.tolist(), strict=True)
        ]
        return dict(zip(names, snapshot.embeddings(0, len(faces)), strict=True)), dict(
            zip(images.path, zip(images.outcome.tolist(), images.reason, strict=True), strict=True)
        )


def listed(found):
    pairs = {(pair.a, pair.b): pair.cosine for pair in found.pairs}
    clusters = {cluster.id: cluster.faces for cluster in found.clusters}
    return pairs, clusters


def test_the_whole_job(all_pictures, in_a_file, location):
    expected, (vectors, outcomes) = in_a_file
    facededup.index([all_pictures], store=location, processes=1)
    again = facededup.index([all_pictures], store=location, processes=1)
    assert again.unchanged == again.found
    ours, our_outcomes = embeddings(location)
    assert our_outcomes == outcomes
    assert ours.keys() == vectors.keys()
    assert max(np.abs(ours[name] - vectors[name]).max() for name in vectors) <= 1e-6

    found = facededup.find(store=location)
    pairs, clusters = listed(found)
    expected_pairs, expected_clusters = listed(expected)
    assert clusters == expected_clusters
    assert pairs.keys() == expected_pairs.keys()
    assert max(abs(pairs[key] - expected_pairs[key]) for key in pairs) <= 1e-6

    member = found.clusters[0].faces[0]
    matches = facededup.search(member.path, store=location, k=3).matches
    assert matches[0].cosine == pytest.approx(1, abs=1e-6)
    assert facededup.verify(store=location).problems == ()
    status = facededup.store_status(store=location)
    assert status.images == expected.images
    assert bool(status.place) == ("://" in location)
    assert status.disk_bytes > 0

    gone = facededup.forget([member.path], store=location)
    assert gone.images == 1
    assert facededup.store_status(store=location).images.total == expected.images.total - 1
    assert facededup.verify(store=location).problems == ()
    second = facededup.find(store=location)
    assert second.faces < found.faces
    assert not any(member.path in (pair.a.path, pair.b.path) for pair in second.pairs)
