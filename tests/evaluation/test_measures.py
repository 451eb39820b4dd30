"""Error rates, intervals, folds and cluster agreement against definitions written out."""

import itertools
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from scipy import stats
from synthetic import unit

from facededup.evaluation.accuracy import measure
from facededup.evaluation.clusters import b_cubed, pairwise
from facededup.evaluation.curves import SUPPORT, curve_of, highest_impostors, score_all
from facededup.evaluation.folds import best_cut, draw_pairs, fold_accuracy, pair_scores, ten_fold
from facededup.evaluation.intervals import bootstrap_people, wilson
from facededup.evaluation.making import make_calibration
from facededup.evaluation.poor import measure_poor_faces
from facededup.evaluation.sample import Sample
from facededup.progress import SilentProgress

labels = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=24)
scores = st.lists(st.integers(-100_000, 100_000).map(lambda n: n / 100_000), min_size=1, max_size=40)


def sample_of(vectors, person):
    person = np.asarray(person)
    return Sample(
        tuple(f"/{n:04}.jpg" for n in range(len(person))),
        tuple(f"p{n:04}" for n in range(person.max() + 1)),
        person,
        np.arange(len(person)),
        vectors,
        np.full(len(person), np.nan, np.float32),
    )


def crowd(people, each, *, spread=0.45, seed=0):
    """People whose images differ, so that both kinds of error are there."""
    random = np.random.default_rng(seed)
    scale = np.linspace(1.0, 0.05, 128)
    centres = unit(scale * random.standard_normal((people, 1, 128)))
    noise = unit(scale * random.standard_normal((people, each, 128)))
    person = np.repeat(np.arange(people), each)
    return sample_of(unit(centres + spread * noise).reshape(-1, 128), person)


@given(labels)
def test_pairwise_agreement_is_that_of_all_pairs(images):
    clusters, people = (np.array(column) for column in zip(*images, strict=True))
    pairs = list(itertools.combinations(images, 2))
    both = sum(a == b for a, b in pairs)
    claimed, wanted = (sum(a[side] == b[side] for a, b in pairs) for side in (0, 1))
    found = pairwise(clusters, people)
    assert found.precision == pytest.approx(both / claimed if claimed else 1)
    assert found.recall == pytest.approx(both / wanted if wanted else 1)


@given(labels)
def test_b_cubed_is_the_mean_over_images(images):
    clusters, people = (np.array(column) for column in zip(*images, strict=True))
    precision = [np.mean(people[clusters == cluster] == person) for cluster, person in images]
    recall = [np.mean(clusters[people == person] == cluster) for cluster, person in images]
    found = b_cubed(clusters, people)
    assert (found.precision, found.recall) == pytest.approx((np.mean(precision), np.mean(recall)))
    assert found.f == pytest.approx(stats.hmean([np.mean(precision), np.mean(recall)]))


def test_b_cubed_of_the_textbook_example():
    """Five, two and five entities; the second response joins the two fives (Bagga and Baldwin, 1998)."""
    people = np.repeat([0, 1, 2], [5, 2, 5])
    found = b_cubed(np.repeat([0, 1, 0], [5, 2, 5]), people)
    assert (found.precision, found.recall) == (pytest.approx(0.58, abs=0.005), 1)
    found = b_cubed(np.repeat([0, 1, 1], [5, 2, 5]), people)
    assert found.precision == pytest.approx(0.76, abs=0.005)


@given(scores, scores, st.integers(-100_000, 100_000))
def test_rates_are_the_shares_at_or_above_the_cut(genuine, impostors, cut):
    cut /= 100_000
    curve = curve_of(np.array(genuine, np.float32), np.array(impostors, np.float32))
    assert curve.fmr(cut) == pytest.approx(np.mean([score >= cut for score in impostors]))
    assert curve.fnmr(cut) == pytest.approx(np.mean([score < cut for score in genuine]))


@given(st.lists(st.integers(-1000, 1000), min_size=SUPPORT, max_size=200), st.floats(0.01, 1))
def test_the_cut_for_a_rate_is_the_lowest_that_keeps_it(impostors, rate):
    values = np.array(impostors) / 1000
    curve = curve_of(np.zeros(1, np.float32), values.astype(np.float32))
    cut = curve.cosine_at_fmr(rate)
    if rate * len(values) < SUPPORT:
        assert cut is None
    else:
        assert curve.fmr(cut) <= rate + 1e-12
        assert cut == -1 or curve.fmr(cut - 1e-5) > rate


def test_the_curve_of_all_pairs_is_that_of_each(monkeypatch):
    monkeypatch.setattr("facededup.evaluation.curves.BLOCK", 7)
    monkeypatch.setattr("facededup.evaluation.curves.COLUMNS", 11)
    sample = crowd(12, 4)
    vectors, person = sample.embeddings(), sample.labels()
    curve, genuine = score_all(vectors, person, SilentProgress())
    a, b = np.triu_indices(len(person), 1)
    cosine, same = np.einsum("ij,ij->i", vectors[a], vectors[b]), person[a] == person[b]
    assert (curve.genuine_pairs, curve.impostor_pairs) == (same.sum(), (~same).sum())
    assert np.sort(genuine.cosine) == pytest.approx(np.sort(cosine[same]), abs=1e-6)
    cut = 0.12345
    assert curve.fmr(cut) == np.mean(cosine[~same] >= cut)
    tail = highest_impostors(vectors, person, cut)
    assert len(tail) == (cosine[~same] >= cut).sum()
    assert {tuple(sorted(pair)) for pair in zip(tail.a.tolist(), tail.b.tolist(), strict=True)} == {
        tuple(sorted((person[i], person[j])))
        for i, j, value, one in zip(a, b, cosine, same, strict=True)
        if value >= cut and not one
    }


def most_bytes(work):
    """Memory that Python and numpy held at most while something was done."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_many_faces_are_scored_in_little_memory():
    count = 12_000
    vectors = unit(np.random.default_rng(0).standard_normal((count, 4)))
    assert most_bytes(lambda: score_all(vectors, np.arange(count), SilentProgress())) < 150_000_000
    assert most_bytes(lambda: highest_impostors(vectors, np.arange(count), 1.0)) < 150_000_000


def test_pairs_of_someone_with_very_many_images_are_drawn_in_little_memory():
    person = np.repeat([0, 1], [1500, 2])
    assert most_bytes(lambda: draw_pairs(person, 0, count=100)) < 100_000_000


def test_equal_error_of_known_scores():
    impostors, genuine = np.linspace(0, 0.6, 601), np.linspace(0.4, 1, 601)
    cosine, rate = curve_of(genuine.astype(np.float32), impostors.astype(np.float32)).equal_error()
    assert (cosine, rate) == (pytest.approx(0.5, abs=1e-3), pytest.approx(1 / 6, abs=2e-3))


@given(st.integers(1, 500).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_wilson_is_that_of_scipy(trials):
    expected = stats.binomtest(*trials).proportion_ci(method="wilson")
    found = wilson(*trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_drawing_people_is_wider_than_drawing_pairs_and_covers_other_people():
    """The interval from some people holds the rate among others about as often as it says."""
    cut, hits, wider = 0.3, 0, 0
    truth = _fmr(crowd(1500, 1, seed=99), cut)
    for seed in range(20):
        sample = crowd(60, 3, seed=seed)
        vectors, person = sample.embeddings(), sample.labels()
        _, genuine = score_all(vectors, person, SilentProgress())
        tail = highest_impostors(vectors, person, cut)
        fmr, _ = bootstrap_people(genuine, tail, np.bincount(person), [cut], replicates=100)
        pairs = wilson(len(tail), 60 * 59 // 2 * 9)
        hits += fmr[0][0] <= truth <= fmr[0][1]
        wider += fmr[0][1] - fmr[0][0] > 2 * (pairs.high - pairs.low)
    assert hits >= 16
    assert wider >= 18


def _fmr(sample, cut):
    return score_all(sample.embeddings(), sample.labels(), SilentProgress())[0].fmr(cut)


def test_pairs_are_drawn_person_by_person():
    person = np.repeat([0, 1, 2, 3], [20, 3, 2, 1])
    same, different = draw_pairs(person, seed=0, count=7)
    assert len(same) == len(different) == 7
    assert (person[same[:, 0]] == person[same[:, 1]]).all()
    assert (person[different[:, 0]] != person[different[:, 1]]).all()
    assert sorted(np.bincount(person[same[:, 0]]).tolist()) == [1, 3, 3]
    assert len({tuple(pair) for pair in same.tolist()}) == 7
    everything, _ = draw_pairs(person, seed=0)
    assert len(everything) == 190 + 3 + 1


def test_a_clear_gap_is_told_right_and_a_pair_without_a_face_is_wrong():
    scores = np.repeat(np.float32([0.8, 0.2]), 50)
    same = np.arange(100) < 50
    accuracy, cut = ten_fold(scores, same, seed=0)
    assert (accuracy, cut) == (1, pytest.approx(0.8))
    scores[[3, 70]] = np.nan
    assert ten_fold(scores, same, seed=0)[0] == pytest.approx(0.98)


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=1, max_size=30))
def test_no_cut_is_better_than_the_best(pairs):
    values = np.array([value for value, _ in pairs], np.float32)
    same = np.array([flag for _, flag in pairs])

    def right(cut):
        return ((values >= cut) == same).sum()

    assert right(best_cut(values, same)) == max(right(cut) for cut in values)


def test_images_without_a_face_lower_what_is_measured():
    whole = crowd(40, 4)
    row = whole.row.copy()
    row[::8] = -1
    sample = Sample(whole.paths, whole.people, whole.person, row, whole.vectors, whole.quality)
    assert np.isnan(pair_scores(sample, np.array([[0, 1], [1, 2]]))).tolist() == [True, False]
    full, _ = measure(whole, 0.4, SilentProgress())
    part, _ = measure(sample, 0.4, SilentProgress())
    assert part.detection.value == 0.875
    assert part.genuine_pairs < full.genuine_pairs == 40 * 6
    assert part.folds.mean < full.folds.mean
    assert all(
        a.pairwise.recall < b.pairwise.recall for a, b in zip(part.clusters, full.clusters, strict=True)
    )


def test_what_is_measured_agrees_with_itself():
    sample = crowd(80, 4)
    found, curve = measure(sample, 0.4, SilentProgress(), common=(0.4, 0.6))
    assert [point.similarity for point in found.operating] == pytest.approx([0.4, 0.6])
    assert [point.asked for point in found.points] == [1e-2, 1e-3]
    for point in found.points:
        assert point.fmr.value <= point.asked
        assert point.fmr.low < point.fmr.value < point.fmr.high
        assert point.fnmr.low <= point.fnmr.value <= point.fnmr.high
    cosines, fmr, fnmr = (np.array(column) for column in zip(*found.curve, strict=True))
    assert (np.diff(cosines) > 0).all()
    assert (np.diff(fmr) < 0).all()
    assert (np.diff(fnmr) >= 0).all()
    precisions = [quality.pairwise.precision for quality in found.clusters]
    assert precisions[0] < precisions[-1]
    assert found.folds.pairs == 960
    made = make_calibration(found, curve, 0.4)
    assert made.operating_cosine == curve.cosine_at_fmr(1e-3)
    assert made.false_match_rate(made.operating_cosine) == pytest.approx(1e-3, rel=0.05)
    assert made.true_match_rate(made.operating_cosine) == pytest.approx(
        1 - curve.fnmr(made.operating_cosine), abs=0.02
    )


@pytest.mark.parametrize("person", [[0, 1, 2, 3, 4], [0, 0, 0]])
def test_of_no_pairs_no_rate_is_told(person):
    sample = sample_of(unit(np.random.default_rng(0).standard_normal((len(person), 128))), person)
    found, _ = measure(sample, 0.4, SilentProgress())
    (point,) = found.operating
    assert (point.fnmr.value is None) == (found.genuine_pairs == 0)
    assert (point.fmr.value is None) == (found.impostor_pairs == 0)
    assert found.curve == ()


def test_equal_pictures_of_many_people_make_no_scale_without_room_above_it():
    person = np.repeat(np.arange(200), 2)
    vectors = np.repeat(unit(np.random.default_rng(0).standard_normal((2, 128))), 200, axis=0)
    found, curve = measure(sample_of(vectors, person), 0.4, SilentProgress())
    assert curve.cosine_at_fmr(1e-3) >= 1
    assert make_calibration(found, curve, 0.4).operating_cosine == 0.4


@examples(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12))
def test_few_images_give_few_figures_and_no_error(person):
    kept = np.unique(person, return_inverse=True)[1]
    sample = sample_of(unit(np.random.default_rng(0).standard_normal((len(kept), 128))), kept)
    found, curve = measure(sample, 0.4, SilentProgress())
    assert found.genuine_pairs + found.impostor_pairs == len(kept) * (len(kept) - 1) // 2
    assert fold_accuracy(sample) is None or found.folds.pairs >= 20
    assert make_calibration(found, curve, 0.4).operating_cosine == 0.4


def test_what_poor_faces_carry_is_counted_pair_by_pair():
    sample = replace(
        crowd(50, 4, spread=1.2), quality=np.random.default_rng(3).random(200).astype(np.float32)
    )
    curve, _ = score_all(sample.embeddings(), sample.labels(), SilentProgress())
    cut = 0.3
    poor = measure_poor_faces(sample, curve, cut)[2]
    assert poor.share == 0.1
    a, b = np.triu_indices(200, 1)
    cosine = np.einsum("ij,ij->i", sample.vectors[a], sample.vectors[b])
    same, bad = sample.person[a] == sample.person[b], sample.quality < poor.quality
    touched = bad[a] | bad[b]
    assert bad.sum() == 20
    assert poor.genuine_pairs == pytest.approx(touched[same].mean())
    assert poor.false_non_matches == pytest.approx(touched[same & (cosine < cut)].mean())
    assert poor.false_matches == pytest.approx(touched[~same & (cosine >= cut)].mean())
    assert poor.fmr_without == pytest.approx((cosine >= cut)[~same & ~touched].mean())
    assert measure_poor_faces(crowd(3, 3), curve, cut) == ()
