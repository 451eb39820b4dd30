from __future__ import annotations

import io
import struct
import sys
import zlib

import numpy as np
import pytest
from PIL import Image, ImageChops

from facededup.images.decode import DecodeError, decode
from facededup.images.read import ReadError

LIMIT = 1_000_000


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data, max_pixels=LIMIT):
    decoded = decode(data, max_pixels=max_pixels)
    assert decoded.pixels.dtype == np.uint8
    assert decoded.pixels.shape == (decoded.height, decoded.width, 3)
    assert decoded.pixels.flags.c_contiguous
    return decoded.pixels


def smooth(width=60, height=40):
    """A picture that survives JPEG: soft ramps, all channels different, no symmetry."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    rgb = np.stack([40 + 200 * x, 30 + 180 * y, 200 - 120 * x * y], axis=2)
    return Image.fromarray(rgb.astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_lossless_formats_come_back_exactly(kind):
    image = smooth()
    assert np.array_equal(pixels(encode(image, kind)), np.asarray(image))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("AVIF", {"quality": 95}), ("GIF", {})],
)
def test_lossy_formats_come_back_nearly(kind, options):
    image = smooth()
    difference = pixels(encode(image, kind, **options)).astype(int) - np.asarray(image)
    assert np.abs(difference).mean() < 6


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "WEBP", "AVIF"])
def test_the_first_frame_counts(kind):
    first, second = Image.new("RGB", (20, 10), (200, 0, 0)), Image.new("RGB", (20, 10), (0, 0, 200))
    data = encode(first, kind, save_all=True, append_images=[second])
    assert np.abs(pixels(data).astype(int) - (200, 0, 0)).max() < 12


INVERSE = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("orientation", INVERSE)
def test_every_orientation_shows_the_same_upright_picture(kind, orientation):
    upright = smooth()
    stored = upright if orientation == 1 else upright.transpose(INVERSE[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 95} if kind in ("JPEG", "WEBP", "AVIF") else {}
    shown = pixels(encode(stored, kind, exif=exif.tobytes(), **options))
    assert shown.shape == (40, 60, 3)
    assert np.abs(shown.astype(int) - np.asarray(upright)).max() <= (0 if not options else 12)


def test_damaged_exif_is_no_reason_to_refuse_the_picture():
    data = encode(smooth(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff" + b"\xee" * 50)
    assert pixels(data).shape == (40, 60, 3)


def test_grey_one_bit_and_palette():
    image = smooth()
    for mode in ("L", "1", "P"):
        converted = image.convert(mode)
        assert np.array_equal(pixels(encode(converted, "PNG")), np.asarray(converted.convert("RGB")))


def test_sixteen_bit_grey_looks_like_its_eight_bit_original():
    grey = np.asarray(smooth().convert("L"))
    for bits in (16, 12):
        deep = (grey.astype(np.float64) * ((2**bits - 1) / 255)).round().astype(np.uint16)
        for kind in ("PNG", "TIFF"):
            shown = pixels(encode(Image.fromarray(deep), kind))
            assert np.array_equal(shown[..., 0], grey), (bits, kind)


def test_deep_integers_fractions_and_negative_values():
    grey = np.asarray(smooth().convert("L"))
    fractions = encode(Image.fromarray((grey / 255).astype(np.float32)), "TIFF")
    assert np.array_equal(pixels(fractions)[..., 0], grey)
    plain = encode(Image.fromarray(grey.astype(np.int32)), "TIFF")
    assert np.array_equal(pixels(plain)[..., 0], grey)
    signed = pixels(encode(Image.fromarray(grey.astype(np.float32) - 1000), "TIFF"))
    assert (signed.min(), signed.max()) == (0, 255)
    broken = grey.astype(np.float32)
    broken[0, 0] = np.nan
    assert pixels(encode(Image.fromarray(broken), "TIFF"))[0, 0, 0] == 0
    assert pixels(encode(Image.fromarray(np.zeros((5, 5), np.float32)), "TIFF")).max() == 0


def test_cmyk_of_adobe_and_of_others():
    cmyk = smooth().convert("CMYK")
    adobe = encode(cmyk, "JPEG", quality=95)
    assert b"Adobe" in adobe
    expected = np.asarray(cmyk.convert("RGB")).astype(int)
    assert np.abs(pixels(adobe) - expected).mean() < 4
    # The plain kind: values as they are, and no Adobe segment.
    plain = encode(ImageChops.invert(cmyk), "JPEG", quality=95)
    at = plain.index(b"\xff\xee")
    length = struct.unpack(">H", plain[at + 2 : at + 4])[0]
    plain = plain[:at] + plain[at + 2 + length :]
    assert np.abs(pixels(plain) - expected).mean() < 4
    assert np.abs(pixels(encode(cmyk, "TIFF")) - expected).max() <= 1


def test_what_is_transparent_becomes_white():
    image = smooth().convert("RGBA")
    image.paste((0, 0, 0, 0), (0, 0, 30, 40))
    for data in (
        encode(image, "PNG"),
        encode(image, "WEBP", lossless=True),
        encode(image.convert("LA"), "PNG"),
    ):
        shown = pixels(data)
        assert (shown[:, :30] == 255).all()
        assert (shown[:, 30:] < 255).any()
    palette = image.convert("RGB").quantize(16)
    palette.info["transparency"] = palette.getpixel((0, 0))
    assert (pixels(encode(palette, "PNG"))[0, 0] == 255).all()
    keyed = encode(Image.new("RGB", (4, 4), (1, 2, 3)), "PNG", transparency=(1, 2, 3))
    assert (pixels(keyed) == 255).all()


def test_one_pixel_and_a_very_wide_image():
    assert pixels(encode(Image.new("RGB", (1, 1)), "JPEG")).shape == (1, 1, 3)
    assert pixels(encode(Image.new("RGB", (20_000, 5)), "JPEG")).shape == (5, 20_000, 3)


def claim(data, width, height):
    """A PNG with another size in its header."""
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def test_a_bomb_is_refused_by_its_header_with_the_limit_named():
    bomb = claim(encode(smooth(), "PNG"), 60_000, 60_000)
    with pytest.raises(
        DecodeError,
        match=r"^image has 3,600,000,000 pixels, more than the 1,000,000 of --max-pixels$",
    ):
        pixels(bomb)


def test_the_limit_is_ours_not_pillows(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert pixels(encode(smooth(), "PNG"), max_pixels=2400).shape == (40, 60, 3)
    with pytest.raises(DecodeError, match="more than the 2,399 of"):
        pixels(encode(smooth(), "PNG"), max_pixels=2399)
    assert Image.MAX_IMAGE_PIXELS == 10


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"just some text", "not an image of a format that can be read"),
        (b"\0\0\0\x18ftypisom\0\0\2\0isommp41", "not an image of a format that can be read"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of a format that can be read"),
        (b"\xff\xd8\xff", "damaged image: its header cannot be read"),
        (b"\x89PNG\r\n\x1a\n", "damaged image: its header cannot be read"),
    ],
)
def test_what_is_no_image(data, reason):
    with pytest.raises(DecodeError) as caught:
        pixels(data)
    assert caught.value.reason == reason


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"


def test_heif_comes_back_nearly():
    pytest.importorskip("pillow_heif").register_heif_opener()
    image = smooth()
    difference = pixels(encode(image, "HEIF", quality=95)).astype(int) - np.asarray(image)
    assert np.abs(difference).mean() < 6


def test_a_decoder_that_is_not_installed_is_no_fault_of_the_file(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ReadError) as caught:
        pixels(HEIC)
    assert caught.value.reason == "HEIF needs the extra heif: run `pip install pillow-heif`"
    assert caught.value.retry


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "TIFF", "GIF", "WEBP", "AVIF"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_images_are_errors_never_half_pictures(kind, share):
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (120, 120, 3), np.uint8))
    data = encode(noise, kind)
    with pytest.raises(DecodeError, match=r"truncated|damaged"):
        pixels(data[: int(len(data) * share)])


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_whose_tail_became_zeros_is_truncated(progressive):
    noise = Image.fromarray(np.random.default_rng(3).integers(0, 255, (120, 120, 3), np.uint8))
    data = encode(noise, "JPEG", progressive=progressive)
    half = len(data) // 2
    with pytest.raises(DecodeError, match="truncated image"):
        pixels(data[:half] + bytes(half))


def test_random_damage_gives_a_picture_or_a_sentence():
    random = np.random.default_rng(7)
    outcomes = set()
    for kind in ("JPEG", "PNG", "TIFF", "GIF", "WEBP", "BMP"):
        original = np.frombuffer(encode(smooth(), kind), np.uint8)
        for _ in range(40):
            data = original.copy()
            data[random.integers(0, len(data), 6)] = random.integers(0, 255, 6)
            try:
                pixels(data.tobytes())
                outcomes.add("a picture")
            except DecodeError as exc:
                outcomes.add(exc.reason)
    assert "a picture" in outcomes
    assert len(outcomes) > 2
    assert all(outcome and "\n" not in outcome for outcome in outcomes)


@pytest.mark.parametrize(
    ("size", "long_side", "expected"),
    [
        ((1600, 1200), 640, (800, 600)),
        ((1279, 960), 640, (1279, 960)),
        ((901, 2571), 640, (226, 643)),
        ((300, 200), 640, (300, 200)),
    ],
)
def test_a_jpeg_comes_at_a_fraction_of_its_size(size, long_side, expected):
    image = smooth(*size)
    decoded = decode(encode(image, "JPEG", quality=95), max_pixels=10**7, long_side=long_side)
    assert decoded.pixels.shape[1::-1] == expected
    assert (decoded.width, decoded.height) == size
    assert decoded.reduction == round(size[0] / expected[0])
    small = np.asarray(image.resize(expected, Image.Resampling.BOX)).astype(int)
    assert np.abs(decoded.pixels - small).mean() < 3


def test_a_reduced_jpeg_on_its_side_knows_its_upright_size():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encode(smooth(1600, 1200), "JPEG", exif=exif)
    decoded = decode(data, max_pixels=10**7, long_side=640)
    assert decoded.pixels.shape == (800, 600, 3)
    assert (decoded.width, decoded.height) == (1200, 1600)


def test_a_png_always_comes_whole():
    data = encode(smooth(1600, 1200), "PNG")
    assert decode(data, max_pixels=10**7, long_side=640).reduction == 1


def test_a_damaged_tiff_writes_nothing_to_the_terminal(capfd):
    stream = io.BytesIO()
    Image.effect_noise((32, 32), 50).save(stream, "TIFF", compression="tiff_lzw")
    data = bytearray(stream.getvalue())
    data[10:200] = b"\xff" * 190
    with pytest.raises(DecodeError, match="damaged image"):
        decode(bytes(data), max_pixels=1 << 20)
    assert capfd.readouterr() == ("", "")
