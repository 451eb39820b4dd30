"""Calibrations as files and in stores, and the cut for a budget of false pairs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from synthetic import FINGERPRINT, add_images, people, unit

import facededup
from facededup.calibration import (
    STORED_AS,
    Calibration,
    calibration_text,
    choose_calibration,
    choose_cut,
    compared_pairs,
    read_calibration,
)
from facededup.errors import PathNotFoundError, SettingMismatchError, UsageError
from facededup.settings import Settings
from facededup.store.opener import open_store

IMPOSTORS = ((0.5, 1e-2), (0.7, 1e-4), (0.8, 1e-6))
MADE = Calibration(
    operating_cosine=0.6,
    source="calibration",
    impostors=IMPOSTORS,
    genuine=((0.5, 0.9), (0.7, 0.5)),
    facts={"images": 12, "created": "2026-01-02"},
)
OTHER = replace(FINGERPRINT, detector="opencv")


def written(tmp_path, calibration=MADE, fingerprint=FINGERPRINT):
    path = tmp_path / "c.toml"
    path.write_text(calibration_text(calibration, fingerprint))
    return str(path)


def test_a_file_reads_back_as_it_was(tmp_path):
    assert read_calibration(written(tmp_path), FINGERPRINT) == MADE


def test_one_from_before_there_were_cuts_holds_for_one(tmp_path):
    path = Path(written(tmp_path))
    path.write_text(path.read_text().replace("crops = 1\n", ""))
    assert read_calibration(str(path), FINGERPRINT) == MADE
    with pytest.raises(SettingMismatchError, match="holds for crops 1, and the embeddings were made with 5"):
        read_calibration(str(path), replace(FINGERPRINT, crops=5))


def test_one_for_other_embeddings_is_refused(tmp_path):
    with pytest.raises(SettingMismatchError, match="holds for detector 'opencv'"):
        read_calibration(written(tmp_path, fingerprint=OTHER), FINGERPRINT)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ('schema = "', 'schema = "x', "it does not begin with schema"),
        ("0.6", "1.0", "operating cosine is not between"),
        ("[0.7, 0.0001],", "[0.4, 0.0001],", "rising cosine"),
        ("[0.7, 0.0001],", "[0.7],", "cannot be used"),
        ("impostors", "intruders", "KeyError"),
        ("[0.8, 1e-06],", "[0.8, 0.0],", "above 0"),
        ("operating_cosine = 0.6", "operating_cosine = ", "not TOML"),
    ],
)
def test_what_is_no_calibration_is_a_sentence(tmp_path, before, after, sentence):
    path = tmp_path / "c.toml"
    text = calibration_text(MADE, FINGERPRINT)
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(UsageError, match=sentence):
        read_calibration(str(path), FINGERPRINT)


def test_a_file_that_is_not_there_is_a_sentence(tmp_path):
    with pytest.raises(PathNotFoundError, match="there is no calibration"):
        read_calibration(str(tmp_path / "none.toml"), FINGERPRINT)


def test_the_file_goes_before_the_store_and_that_before_the_catalogue(tmp_path):
    stored = Calibration(operating_cosine=0.5, source="store")
    info = {STORED_AS: stored.to_dict(FINGERPRINT)}
    given_file = Settings(calibration=written(tmp_path))
    assert choose_calibration(given_file, FINGERPRINT, info) == MADE
    assert choose_calibration(Settings(), FINGERPRINT, info) == stored
    catalogue = choose_calibration(Settings(), FINGERPRINT, {})
    assert (catalogue.source, catalogue.operating_cosine) == ("catalogue", 0.93)
    assert catalogue.false_match_rate(0.9418) == pytest.approx(1e-4, rel=0.2)


@pytest.mark.parametrize(
    ("made", "cosine"), [({"flip": True}, 0.9336), ({"flip": True, "crops": 5}, 0.9375)], ids=repr
)
def test_means_over_views_have_a_scale_of_their_own(made, cosine):
    calibration = choose_calibration(Settings(), replace(FINGERPRINT, **made), {})
    assert (calibration.source, calibration.operating_cosine) == ("catalogue", cosine)


def test_the_catalogue_has_no_rates_for_embeddings_made_otherwise():
    assert choose_calibration(Settings(), OTHER, {}).false_match_rate(0.93) is None


@given(st.floats(1e-3, 1e4), st.integers(1, 10**9))
def test_a_budget_gives_the_cut_that_meets_it(budget, compared):
    assume(budget / compared > 1e-10)  # no cut below 1 is stricter
    cut = choose_cut(Settings(max_false_pairs=budget), MADE, compared)
    assert cut.expected_false_pairs == pytest.approx(min(budget, compared), rel=1e-6)


def test_a_rate_gives_the_cut_that_has_it():
    cut = choose_cut(Settings(fmr=1e-4), MADE, 10**6)
    assert cut.cosine == pytest.approx(0.7)
    assert cut.threshold == pytest.approx(1 - 0.6 * 0.3 / 0.4)
    assert cut.expected_false_pairs == pytest.approx(100)
    assert cut.true_pairs_kept == pytest.approx(0.5)
    assert not cut.extrapolated
    assert choose_cut(Settings(fmr=1e-7), MADE, 10**6).extrapolated


def test_a_budget_without_a_curve_or_beyond_any_cut_is_a_sentence():
    bare = Calibration(operating_cosine=0.6, source="catalogue")
    with pytest.raises(UsageError, match="facededup evaluate"):
        choose_cut(Settings(max_false_pairs=1), bare, 100)
    with pytest.raises(UsageError, match="no threshold keeps"):
        choose_cut(Settings(fmr=1e-30), MADE, 100)


@given(st.lists(st.integers(0, 5), max_size=30))
def test_pairs_within_an_image_are_not_compared(images):
    brute = sum(a != b for place, a in enumerate(images) for b in images[:place])
    assert compared_pairs(np.array(images, np.int64)) == brute


def test_expected_false_pairs_are_those_of_people_not_used_for_the_curve(tmp_path, store):
    """Strangers of one distribution: the curve of some foretells the false pairs among others."""
    random = np.random.default_rng(5)
    scale = np.linspace(1.0, 0.05, 128)
    measured, searched = unit(scale * random.standard_normal((2, 1500, 128)))
    cosines = np.sort((measured @ measured.T)[np.triu_indices(1500, 1)])
    rates = (1e-2, 1e-3, 1e-4)
    curve = tuple((float(cosines[-int(rate * len(cosines))]), rate) for rate in rates)
    path = written(tmp_path, Calibration(operating_cosine=0.3, source="calibration", impostors=curve))
    add_images(store, {f"/{n:05}.jpg": (n, [vector]) for n, vector in enumerate(searched)})
    for budget in (1000, 200):
        found = facededup.find(store=store, calibration=path, max_false_pairs=budget)
        assert found.expected_false_pairs == pytest.approx(budget)
        assert budget / 2 < found.pairs_total < budget * 2
        assert found.operating_cosine_source == "calibration"


def test_findings_record_what_the_cut_was_chosen_by(store):
    add_images(store, {f"/{n}.jpg": (n, [vector]) for n, vector in enumerate(people(4, 3))})
    with open_store(store).writer() as writer:
        writer.record({STORED_AS: MADE.to_dict(FINGERPRINT)})
    found = facededup.find(store=store, fmr=1e-4)
    assert (found.operating_cosine, found.operating_cosine_source) == (0.6, "store")
    assert (found.cosine_cut, found.true_pairs_kept) == (pytest.approx(0.7), pytest.approx(0.5))
    assert found.expected_false_pairs == pytest.approx(1e-4 * 66)
    assert facededup.store_status(store=store).findings["operating_cosine_source"] == "store"
