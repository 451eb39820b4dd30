from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.transform import SimilarityTransform

from facededup.faces.arcface import PLACES, ArcFaceAligner, fit_similarity
from facededup.faces.detect import build_detector
from facededup.images.picture import Picture
from facededup.types import Box, Face

coordinates = st.floats(-500, 500)
points = st.lists(st.tuples(coordinates, coordinates), min_size=5, max_size=5)


def applied(transform, points):
    return points @ transform[:, :2].T + transform[:, 2]


@pytest.mark.filterwarnings("ignore:.*estimate.*:FutureWarning")
@given(points, points)
def test_the_transform_is_the_one_of_least_squares(source, target):
    """The same as scikit-image's, an implementation of the same paper that is none of ours."""
    source, target = np.array(source), np.array(target)
    for each in (source, target):
        if np.linalg.svd(each - each.mean(axis=0), compute_uv=False)[1] < 1:
            return  # on a line: a mirror image fits as well
    theirs = SimilarityTransform()
    theirs.estimate(source, target)
    ours = fit_similarity(source, target)
    assert np.abs(applied(ours, source) - applied(theirs.params[:2], source)).max() < 1e-3
    assert np.linalg.det(ours[:, :2]) >= 0


@given(st.floats(-np.pi, np.pi), st.floats(0.05, 20), coordinates, coordinates)
def test_a_turned_face_is_put_in_its_places_exactly(angle, scale, x, y):
    places = np.array(PLACES["five"])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    source = places @ turn.T + (x, y)
    assert np.abs(applied(fit_similarity(source, places), source) - places).max() < 1e-6


def dots(landmarks, shape):
    """A black image with a soft white dot at each landmark."""
    rows, columns = np.indices(shape)
    sigma = 2.5 * np.hypot(*(landmarks[0] - landmarks[1])) / 35
    spots = [np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2)) for x, y in landmarks]
    return np.repeat(np.uint8(255 * np.clip(sum(spots), 0, 1))[..., None], 3, axis=2)


def brightest(chip, place):
    """The centre of light within 6 pixels of a place."""
    rows, columns = np.indices(chip.shape[:2])
    near = np.hypot(columns - place[0], rows - place[1]) < 6
    light = chip[..., 0] * near
    return np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()


@pytest.mark.parametrize("scale", [0.8, 1.7, 2.6, 7.3])
def test_landmarks_come_to_lie_in_their_places(scale):
    """Also where the face is so large that it is made smaller first."""
    places = np.array(PLACES["five"])
    turn = scale * np.array([[0.0, -1.0], [1.0, 0.0]])  # a face lying on its side
    landmarks = places @ turn.T + (112 * scale + 3.3, 5.7)
    image = dots(landmarks, (int(130 * scale) + 20, int(130 * scale) + 21))
    face = Face(Box(0, 0, 1, 1), 1.0, tuple(map(tuple, landmarks.tolist())))
    (chip,) = ArcFaceAligner("five", (112, 112))(image, (face,))
    assert (chip.shape, chip.dtype) == ((112, 112, 3), np.uint8)
    for place in places:
        assert np.linalg.norm(brightest(chip, place) - place) < 0.3


def test_a_chip_of_another_shape_has_the_square_in_its_middle(astronaut):
    faces = build_detector("dlib").detect(Picture.of(astronaut))
    (square,) = ArcFaceAligner("dlib", (112, 112))(astronaut, faces)
    (tall,) = ArcFaceAligner("dlib", (112, 132))(astronaut, faces)
    assert tall.shape == (132, 112, 3)
    assert np.abs(tall[10:122].astype(int) - square).max() <= 1
    (large,) = ArcFaceAligner("dlib", (224, 224))(astronaut, faces)
    halved = np.asarray(Image.fromarray(large).resize((112, 112), Image.Resampling.BOX)).astype(int)
    assert np.abs(halved - square).mean() < 3


def test_dlibs_points_put_a_face_where_five_landmarks_would(astronaut):
    """By eye on this picture: eyes, tip of the nose, corners of the mouth."""
    landmarks = np.array([[203.5, 104], [244, 101.5], [226.5, 127.5], [209.5, 149], [244, 147]])
    (face,) = build_detector("dlib").detect(Picture.of(astronaut))
    by_dlib = fit_similarity(np.array(face.landmarks), np.array(PLACES["dlib"]))
    by_eye = fit_similarity(landmarks, np.array(PLACES["five"]))
    assert np.linalg.norm(applied(by_dlib, landmarks) - applied(by_eye, landmarks), axis=1).mean() < 5
