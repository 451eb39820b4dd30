from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from facededup.images.decode import DecodeError
from facededup.images.picture import Picture


def smooth(width, height):
    """A picture that can be reduced without losing anything."""
    x, y = np.meshgrid(np.linspace(0, 3, width), np.linspace(0, 2, height))
    return np.stack([127 + 120 * np.sin(x), 127 + 120 * np.cos(y), 40 * (x + y)], -1).astype(np.uint8)


def encoded(pixels, kind, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"quality": 95} | options if kind == "JPEG" else options))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("first", [None, 300])
@pytest.mark.parametrize("size", [(1600, 1200), (901, 2571), (40, 2571), (200, 100), (1, 1)])
def test_copies_are_as_large_as_asked_for_and_no_larger(kind, first, size):
    pixels = smooth(*size)
    picture = Picture.open(encoded(pixels, kind), max_pixels=10**7, long_side=first)
    assert (picture.width, picture.height, picture.long_side) == (*size, max(size))
    for long_side in (300, 100, 640, 320, None, 2000):
        copy = picture.copy(long_side)
        wanted = max(size) if long_side is None else min(long_side, max(size))
        assert wanted <= max(copy.shape[:2]) < max(2 * wanted, max(size) / 8) + 1
        expected = Image.fromarray(pixels).resize(copy.shape[1::-1], Image.Resampling.BOX)
        assert np.abs(copy.astype(int) - np.asarray(expected)).mean() < 6
        assert copy.flags.c_contiguous
        assert picture.copy(long_side) is copy


def test_a_picture_of_pixels_is_these_pixels():
    pixels = smooth(1200, 900)
    picture = Picture.of(pixels)
    assert picture.copy() is pixels
    assert picture.seconds == 0
    assert picture.copy(500).shape == (450, 600, 3)
    assert picture.smallest is picture.copy(500)
    assert picture.seconds > 0


def test_copies_of_a_photo_taken_sideways_are_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Picture.open(encoded(smooth(1600, 1200), "JPEG", exif=exif), max_pixels=10**7, long_side=500)
    assert (picture.width, picture.height) == (1200, 1600)
    upright = np.rot90(smooth(1600, 1200), -1)
    for side, step in ((500, 2), (1600, 1)):
        copy = picture.copy(side)
        assert copy.shape == (1600 // step, 1200 // step, 3)
        assert np.abs(copy.astype(int) - upright[::step, ::step]).mean() < 3


def test_a_file_that_is_no_image_is_refused_at_once():
    with pytest.raises(DecodeError):
        Picture.open(b"no image", max_pixels=10**7, long_side=500)
