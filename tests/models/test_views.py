"""The views of a face that are averaged."""

import numpy as np
import pytest

from facededup.models.views import OFFSETS, count_views, views
from facededup.settings import CROP_CHOICES


@pytest.fixture
def numbered():
    """uint8 (2, 150, 150, 3): every pixel tells its row, column and face."""
    face, row, column = np.indices((2, 150, 150))
    return np.stack([row, column, face], axis=-1).astype(np.uint8)


def test_the_settings_offer_what_there_is():
    assert tuple(OFFSETS) == CROP_CHOICES


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("crops", CROP_CHOICES)
def test_cuts_move_by_three_rows_of_150_and_repeat_the_edge(numbered, crops, flip):
    found = list(views(numbered, crops=crops, flip=flip))
    assert len(found) == count_views(crops=crops, flip=flip) == crops * (1 + flip)
    plain = found[:: 1 + flip]
    shifts = []
    for view in plain:
        assert (view.shape, view.dtype) == (numbered.shape, np.uint8)
        shift = int(view[0, 75, 0, 0]) - 75
        rows = [min(max(row + shift, 0), 149) for row in range(150)]
        np.testing.assert_array_equal(view, numbered[:, rows])
        shifts.append(shift)
    assert sorted(shifts) == {1: [0], 2: [-3, 3], 5: [-6, -3, 0, 3, 6]}[crops]
    for view, mirror in zip(plain, found[1::2] if flip else (), strict=flip):
        np.testing.assert_array_equal(mirror, view[:, :, ::-1])


def test_one_view_is_the_face_itself(numbered):
    (view,) = views(numbered)
    assert view is numbered
