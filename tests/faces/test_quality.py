"""Worse pictures of one face have a lower quality, part by part."""

import math
from dataclasses import astuple, replace

import numpy as np
import pytest
from PIL import Image, ImageFilter

from facededup.faces.align import cut_chip
from facededup.faces.detect import build_detector
from facededup.faces.quality import measure_quality
from facededup.images.picture import Picture
from facededup.types import Box, Face


@pytest.fixture(scope="module")
def measured(astronaut):
    """Measures the face of a picture, the surest where there seem to be several."""
    detector = build_detector("dlib")

    def measure(pixels):
        face = max(
            detector.detect(Picture.of(np.ascontiguousarray(pixels))), key=lambda face: face.confidence
        )
        return measure_quality(face, cut_chip(np.ascontiguousarray(pixels), face), "dlib")

    return measure


def filtered(pixels, change):
    return np.asarray(change(Image.fromarray(pixels)))


def test_a_good_picture_is_good(measured, astronaut):
    quality = measured(astronaut)
    assert all(0 <= part <= 1 for part in astuple(quality))
    assert quality.size > 0.8
    assert quality.score > 0.8


def test_each_part_sees_its_own_fault(measured, astronaut):
    good = measured(astronaut)
    small = measured(filtered(astronaut, lambda image: image.resize((384, 384), Image.Resampling.LANCZOS)))
    assert small.size == pytest.approx(good.size * 0.75, abs=0.05)
    blurred = measured(filtered(astronaut, lambda image: image.filter(ImageFilter.GaussianBlur(3))))
    assert blurred.sharpness < good.sharpness / 2
    assert blurred.size == pytest.approx(good.size, abs=0.05)
    dark = measured((astronaut * 0.25).astype(np.uint8))
    assert dark.brightness < good.brightness / 2
    # Contrast falls with the light, and does not count as blur.
    assert dark.sharpness == pytest.approx(good.sharpness, abs=0.2)
    for worse in (small, blurred, dark):
        assert worse.score < good.score


def test_a_mirrored_face_is_as_good(measured, astronaut):
    here, there = measured(astronaut), measured(astronaut[:, ::-1])
    np.testing.assert_allclose(astuple(here), astuple(there), atol=0.12)


def nosed(place, turn=0.0):
    """A face with its nose below the left eye (0), the right one (1) or between; turned by radians."""
    points = np.array([[60, 50], [70, 50], [10, 50], [20, 50], [15 + 50 * place, 90]]) - 40.0
    matrix = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    # dlib gives the eye on the right first, its outer corner before the inner one.
    right_outer, right_inner, left_outer, left_inner = points[1], points[0], points[2], points[3]
    ordered = np.stack([right_outer, right_inner, left_outer, left_inner, points[4]]) @ matrix.T
    return Face(Box(0, 0, 100, 100), 1.0, tuple(map(tuple, ordered.tolist())))


def test_frontality_is_where_the_nose_is():
    chip = np.full((150, 150, 3), 128, np.uint8)
    for turn in (0.0, 0.7, math.pi):
        parts = [measure_quality(nosed(k / 4, turn), chip, "dlib").frontality for k in range(5)]
        assert parts == pytest.approx([0, 0.5, 1, 0.5, 0])


def test_what_cannot_be_seen_is_unknown(astronaut):
    chip = astronaut[50:200, 150:300]
    for landmarks in ((), ((10.0, 20.0), (40.0, 20.0))):
        quality = measure_quality(Face(Box(0, 0, 100, 100), 1.0, landmarks), chip, "eyes")
        assert math.isnan(quality.frontality)
        assert 0 < quality.score < 1
    five = ((10.0, 20.0), (40.0, 20.0), (25.0, 35.0), (12.0, 50.0), (38.0, 50.0))
    assert measure_quality(Face(Box(0, 0, 100, 100), 1.0, five), chip, "five").frontality == 1


def test_a_blank_chip_is_no_picture():
    quality = measure_quality(nosed(0.5), np.zeros((112, 96, 3), np.uint8), "dlib")
    assert (quality.score, quality.sharpness, quality.brightness) == (0, 0, 0)
    level = replace(nosed(0.5), landmarks=((5.0, 5.0),) * 5)
    assert measure_quality(level, np.zeros((112, 112, 3), np.uint8), "dlib").score == 0
