from __future__ import annotations

import os

import dlib
import numpy as np
import pytest
from skimage import data

from facededup.faces.hog import load_hog, without_tilted


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def answers(hog):
    return repr(hog.run(np.ascontiguousarray(data.astronaut()), 0, -0.5))


def test_cached_or_not_it_answers_as_dlibs_own(cache):
    expected = answers(dlib.get_frontal_face_detector())
    assert answers(load_hog()) == expected
    (file,) = os.listdir(cache)
    written = (cache / file).stat().st_mtime_ns
    assert answers(load_hog()) == expected
    assert (cache / file).stat().st_mtime_ns == written


def test_a_damaged_cache_is_written_anew(cache):
    load_hog()
    (file,) = os.listdir(cache)
    good = (cache / file).read_bytes()
    (cache / file).write_bytes(good[:5000] + b"x" + good[5001:])
    load_hog()
    assert (cache / file).read_bytes() == good


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path / "file"))
    assert answers(load_hog())


def test_without_the_tilted_heads_the_upright_ones_are_found_the_same():
    upright = load_hog(upright=True)
    assert (load_hog().num_detectors, upright.num_detectors) == (5, 3)
    faces, scores, filters = load_hog().run(np.ascontiguousarray(data.astronaut()), 0, 0.0)
    chosen = [(face, score) for face, score, number in zip(faces, scores, filters, strict=True) if number < 3]
    found, found_scores, _ = upright.run(np.ascontiguousarray(data.astronaut()), 0, 0.0)
    assert list(zip(found, found_scores, strict=True)) == chosen != []


def test_a_state_of_another_form_stays_as_it_is():
    state = load_hog().__getstate__()[0]
    for other in (b"", b"nothing of the kind", state[:-1], state + b"\0", state[:5000]):
        assert without_tilted(other) == other
