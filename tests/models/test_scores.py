import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facededup.models.catalog import MODELS, describe_model
from facededup.models.curves import CURVES, measured_curves
from facededup.models.scores import (
    cosine_at_rate,
    cosine_cut,
    expected_false_match_rate,
    similarity,
    true_match_rate,
)
from facededup.settings import CROP_CHOICES

cosines = st.floats(-1, 1)
operating = st.sampled_from([model.operating_cosine for model in MODELS])
CURVE = CURVES[0].impostors


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_anchors(model):
    assert similarity(1.0, model.operating_cosine) == 1
    assert similarity(model.operating_cosine, model.operating_cosine) == pytest.approx(0.4, abs=1e-12)
    assert cosine_cut(0.4, model.operating_cosine) == pytest.approx(model.operating_cosine, abs=1e-15)
    assert cosine_cut(1.0, model.operating_cosine) == 1


def test_known_value():
    assert similarity(0.953, 0.93) == pytest.approx(1 - 0.6 * 0.047 / 0.07)


@given(cosines, operating)
def test_round_trip_from_cosine(cosine, point):
    assert cosine_cut(similarity(cosine, point), point) == pytest.approx(cosine, abs=1e-12)


@given(st.floats(-100, 1), operating)
def test_round_trip_from_similarity(score, point):
    assert similarity(cosine_cut(score, point), point) == pytest.approx(score, abs=1e-9)


@given(cosines, cosines, operating)
def test_order_is_kept(one, other, point):
    low, high = sorted((one, other))
    assert similarity(low, point) <= similarity(high, point)


@given(st.lists(cosines, max_size=20), operating)
def test_arrays_are_scaled_like_numbers(values, point):
    single = np.array(values, np.float32)
    result = similarity(single, point)
    assert result.dtype == np.float64
    assert result.tolist() == [similarity(float(value), point) for value in single]
    assert cosine_cut(np.array(values), point).tolist() == [cosine_cut(value, point) for value in values]


def test_no_curve_no_rate():
    assert expected_false_match_rate(0.93, ()) is None


@pytest.mark.parametrize(("cosine", "rate"), CURVE)
def test_measured_points_are_met(cosine, rate):
    assert expected_false_match_rate(cosine, CURVE) == pytest.approx(rate)


def test_between_and_beyond_the_points():
    curve = ((0.5, 1e-2), (0.7, 1e-4), (0.8, 1e-6))
    assert expected_false_match_rate(0.6, curve) == pytest.approx(1e-3)
    assert expected_false_match_rate(0.9, curve) == pytest.approx(1e-8)
    assert expected_false_match_rate(0.4, curve) == pytest.approx(1e-1)
    assert expected_false_match_rate(-1.0, curve) == 1


@given(cosines, cosines)
def test_rate_falls_as_the_cut_rises(one, other):
    low, high = sorted((one, other))
    assert expected_false_match_rate(low, CURVE) >= expected_false_match_rate(high, CURVE)


@given(st.floats(1e-9, 1))
def test_the_cut_for_a_rate_has_that_rate(rate):
    assert expected_false_match_rate(cosine_at_rate(rate, CURVE), CURVE) == pytest.approx(rate)


def test_true_matches_are_interpolated_and_end_at_identical_faces():
    curve = ((0.5, 0.9), (0.7, 0.5))
    assert true_match_rate(0.6, curve) == pytest.approx(0.7)
    assert true_match_rate(0.2, curve) == 0.9
    assert true_match_rate(0.85, curve) == pytest.approx(0.25)
    assert true_match_rate(0.6, ()) is None


def test_curves_are_there_for_all_ways_to_embed_with_the_default_model():
    assert {(curves.model, curves.flip, curves.crops) for curves in CURVES} == {
        ("Dlib", flip, crops) for flip in (False, True) for crops in CROP_CHOICES
    }
    assert len(CURVES) == 2 * len(CROP_CHOICES)
    for curves in CURVES:
        made = (curves.model, curves.detector, curves.align)
        assert measured_curves(*made, flip=curves.flip, crops=curves.crops) is curves
    assert measured_curves("Dlib", "dlib", "deepface", flip=False, crops=1) is None


@pytest.mark.parametrize("curves", CURVES[1:], ids=lambda curves: f"{curves.flip}-{curves.crops}")
def test_with_several_views_the_scale_has_fewer_errors_of_both_kinds_and_weighs_a_pair_alike(curves):
    plain, cut = CURVES[0], describe_model("Dlib").operating_cosine
    assert (plain.flip, plain.crops, plain.operating_cosine) == (False, 1, None)
    own = curves.operating_cosine
    assert true_match_rate(own, curves.genuine) > true_match_rate(cut, plain.genuine)
    assert expected_false_match_rate(own, curves.impostors) < expected_false_match_rate(cut, plain.impostors)
    assert likelihood_ratio(own, curves) == pytest.approx(likelihood_ratio(cut, plain), rel=0.03)


def likelihood_ratio(cut, curves, near=0.005):
    ends = cut - near, cut + near
    true, false = (
        [rate(end, points) for end in ends]
        for rate, points in ((true_match_rate, curves.genuine), (expected_false_match_rate, curves.impostors))
    )
    return (true[0] - true[1]) / (false[0] - false[1])


@pytest.mark.parametrize("curves", CURVES, ids=lambda curves: f"{curves.model}-{curves.flip}-{curves.crops}")
def test_measured_curves_fall(curves):
    for points in (curves.impostors, curves.genuine):
        cosines, shares = [point[0] for point in points], [point[1] for point in points]
        assert cosines == sorted(set(cosines))
        assert shares == sorted(set(shares), reverse=True)
        assert len(points) != 1
