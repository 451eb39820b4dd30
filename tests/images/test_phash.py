"""Saved again, a photo keeps its hash; another photo has another."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from skimage import data

from facededup.images.phash import are_same_photo, perceptual_hash

PHOTOS = {
    name: np.ascontiguousarray(getattr(data, name)()) for name in ("astronaut", "coffee", "chelsea", "rocket")
}


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


SAVED_AGAIN = {
    "jpeg": lambda image: jpeg(image, 40),
    "half": lambda image: image.resize((image.width // 2, image.height // 2)),
    "double": lambda image: image.resize((2 * image.width, 2 * image.height)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "grey": lambda image: image.convert("L"),
}


def hash_of(image):
    return perceptual_hash(np.ascontiguousarray(np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("change", SAVED_AGAIN)
def test_saved_again_it_stays(name, change):
    image = Image.fromarray(PHOTOS[name])
    assert (hash_of(image) ^ hash_of(SAVED_AGAIN[change](image))).bit_count() <= 6


def test_photos_differ():
    hashes = [hash_of(Image.fromarray(pixels)) for pixels in PHOTOS.values()]
    assert all((a ^ b).bit_count() > 16 for k, a in enumerate(hashes) for b in hashes[:k])
    assert {value.bit_count() for value in hashes} == {32}
    assert all(0 < value < 2**64 for value in hashes)


def test_it_is_zauners_hash():
    """Against the transform written out, on a picture that needs no reduction."""
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32, 1), np.uint8).repeat(3, 2)
    values = pixels[..., 0].astype(float)
    place = np.arange(32) + 0.5
    found = [
        (values * np.outer(np.cos(np.pi / 32 * place * u), np.cos(np.pi / 32 * place * v))).sum()
        for u in range(1, 9)
        for v in range(1, 9)
    ]
    bits = "".join("1" if value > np.median(found) else "0" for value in found)
    assert perceptual_hash(pixels) == int(bits, 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (31, 33), (2000, 3)])
def test_small_and_flat_pictures_have_one_too(shape):
    assert perceptual_hash(np.full((*shape, 3), 77, np.uint8)) == 0
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    assert 0 <= perceptual_hash(noise) < 2**64


def test_one_photo_is_within_eight_bits():
    one = np.array([0b1, 0, 5, 2**64 - 1], np.uint64)
    other = np.array([0b1111_1111_0, 0, 0, 2**56 - 1], np.uint64)
    assert are_same_photo(one, other).tolist() == [False, False, False, True]
    assert are_same_photo(one, one).tolist() == [True, False, True, True]
