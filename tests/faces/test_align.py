from __future__ import annotations

import dlib
import numpy as np
import pytest

from facededup.faces.align import cut_chip
from facededup.faces.detect import build_detector
from facededup.images.picture import Picture
from facededup.models.weights import find_weights
from facededup.types import Box, Face


def difference(a, b):
    return np.abs(a.astype(int) - b).mean()


def test_the_chip_is_exactly_dlibs(astronaut):
    (rectangle,) = dlib.get_frontal_face_detector()(astronaut, 0)
    shape = dlib.shape_predictor(find_weights("shape_predictor_5_face_landmarks.dat"))(astronaut, rectangle)
    box = Box(rectangle.left(), rectangle.top(), rectangle.width(), rectangle.height())
    face = Face(box, 1.0, tuple((float(point.x), float(point.y)) for point in shape.parts()))
    chip = cut_chip(astronaut, face)
    assert (chip.shape, chip.dtype) == ((150, 150, 3), np.uint8)
    assert np.array_equal(chip, dlib.get_face_chip(astronaut, shape, 150, 0.25))


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_a_face_lying_any_way_comes_out_upright(astronaut, turns):
    detector = build_detector("dlib")
    upright = cut_chip(astronaut, *detector.detect(Picture.of(astronaut)))
    turned_image = np.ascontiguousarray(np.rot90(astronaut, turns))
    turned = cut_chip(turned_image, *detector.detect(Picture.of(turned_image)))
    assert difference(upright, turned) < 12
    assert difference(upright, np.rot90(turned)) > 30


def test_a_face_beyond_the_edge_is_filled_with_black(astronaut):
    landmarks = ((30.0, 20.0), (22.0, 20.0), (2.0, 20.0), (9.0, 20.0), (16.0, 32.0))
    chip = cut_chip(astronaut, Face(Box(-20, -10, 60, 60), 1.0, landmarks))
    assert (chip[:, 0] == 0).all()
    assert chip.any()


def test_without_five_landmarks_there_is_no_chip(astronaut):
    with pytest.raises(ValueError, match="five landmarks, not 0"):
        cut_chip(astronaut, Face(Box(0, 0, 10, 10), 1.0))
