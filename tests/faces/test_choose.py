from __future__ import annotations

import pytest

from facededup.errors import UsageError
from facededup.faces.choose import choose_faces
from facededup.settings import FACE_CHOICES
from facededup.types import Box, Face, Outcome

LEFT = Face(Box(0, 0, 10, 10), 1.0)
BIG = Face(Box(10, 0, 50, 50), 1.0)
CENTRAL = Face(Box(45, 45, 12, 12), 1.0)
FACES = (LEFT, BIG, CENTRAL)


@pytest.mark.parametrize(
    ("rule", "outcome", "kept"),
    [
        ("all", Outcome.OK, FACES),
        ("largest", Outcome.OK, (BIG,)),
        ("center", Outcome.OK, (CENTRAL,)),
        ("single", Outcome.MULTIPLE_FACES_DETECTED, ()),
    ],
)
def test_several_faces(rule, outcome, kept):
    assert choose_faces(FACES, rule, 100, 100) == (outcome, kept)


@pytest.mark.parametrize("rule", FACE_CHOICES)
def test_one_face_is_kept_and_none_is_none(rule):
    assert choose_faces((LEFT,), rule, 100, 100) == (Outcome.OK, (LEFT,))
    assert choose_faces((), rule, 100, 100) == (Outcome.NO_FACE_DETECTED, ())


def test_center_goes_by_the_size_of_the_image():
    assert choose_faces(FACES, "center", 10, 10)[1] == (LEFT,)
    assert choose_faces(FACES, "center", 80, 40)[1] == (BIG,)


def test_an_unknown_rule_is_a_usage_error():
    with pytest.raises(UsageError, match="not 'best'"):
        choose_faces(FACES, "best", 100, 100)
