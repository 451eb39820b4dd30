"""The normalised score: against its definition, and on faces of which some look like everybody."""

import numpy as np
import pytest
from synthetic import add_images, unit

import facededup
from facededup.cohort import LEAST, MOST, cohort_statistics, normalized_scores, pick_cohort
from facededup.matching.source import InMemory

RANDOM = np.random.default_rng(0)


def test_the_score_is_the_mean_of_both_sides():
    vectors = unit(RANDOM.standard_normal((800, 32)))
    labels = np.arange(800)
    labels[700:] = labels[:100]
    a, b = np.array([0, 5, 799]), np.array([9, 700, 3])
    cosines = np.einsum("ij,ij->i", vectors[a], vectors[b]).astype(np.float64)
    found = normalized_scores(InMemory(vectors), labels, (a, b, cosines), 0.5)
    cohort = vectors[np.unique(labels, return_index=True)[1]]
    for left, right, cosine, score in zip(a, b, cosines, found, strict=True):
        parts = []
        for face in (left, right):
            others = np.sort([value for value in cohort @ vectors[face] if value < 0.5])[-140:]
            parts.append((cosine - others.mean()) / others.std())
        assert score == pytest.approx(np.mean(parts), abs=1e-4)


def test_a_cohort_has_one_face_of_each_cluster_and_an_end():
    labels = np.repeat(np.arange(3000), 2)
    rows = pick_cohort(labels)
    assert len(rows) == MOST
    assert len(set(labels[rows].tolist())) == MOST
    assert (np.diff(rows) > 0).all()
    assert (rows == pick_cohort(labels)).all()


def test_too_few_people_give_no_score(store):
    vectors = unit(RANDOM.standard_normal((LEAST - 1, 128)))
    nothing = np.empty(0, np.int64)
    labels = np.arange(len(vectors))
    assert normalized_scores(InMemory(vectors), labels, (nothing, nothing, np.empty(0)), 0.5) is None
    add_images(store, {"/a.jpg": (1, vectors[:1]), "/b.jpg": (2, vectors[:1])})
    assert [pair.normalized for pair in facededup.find(store=store, normalize=True).pairs] == [None]


def test_a_face_like_all_others_stands_out_less(store):
    """Two pairs of one cosine: one of rare faces, one of faces near everybody's mean."""
    crowd = RANDOM.standard_normal((600, 128)) + 1.5
    common = np.full(128, 1.5) + 0.2 * RANDOM.standard_normal(128)
    rare = RANDOM.standard_normal(128)
    noise = RANDOM.standard_normal((2, 128))
    partners = [_at(unit(face), unit(other), 0.95) for face, other in zip((common, rare), noise, strict=True)]
    vectors = np.concatenate((unit(crowd), unit([common, rare]), partners)).astype(np.float32)
    add_images(store, {f"/{n:03}.jpg": (n, [vector]) for n, vector in enumerate(vectors)})
    found = facededup.find(store=store, normalize=True)
    scores = {pair.a.path: pair.normalized for pair in found.pairs if pair.b.path in ("/602.jpg", "/603.jpg")}
    assert scores["/601.jpg"] > scores["/600.jpg"] + 1
    assert all(pair.normalized is None for pair in facededup.find(store=store).pairs)


def _at(face, other, cosine):
    """A vector at a given cosine from a face."""
    across = unit(other - (other @ face) * face)
    return cosine * face + np.sqrt(1 - cosine**2) * across


def test_equal_cosines_with_all_others_divide_by_something():
    faces = np.eye(4, dtype=np.float32)
    mean, deviation = cohort_statistics(faces[:1], np.repeat(faces[1:2], 50, axis=0), 0.9)
    assert mean[0] == 0
    assert deviation[0] > 0
