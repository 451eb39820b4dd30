"""Turns the bytes of an image file into upright RGB pixels, or says in one sentence why that cannot be."""

from __future__ import annotations

import ctypes
import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageChops, ImageFile, UnidentifiedImageError, _imaging, features

from facededup.images.read import ReadError
from facededup.types import Array, Pixels

_ORIENTATION_TAG = 0x0112
_TURN = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SIDEWAYS = 5
"""Orientations from here on swap width and height."""
_MAGIC = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG": "PNG",
    b"BM": "BMP",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_LONGEST_BRANDS = 256
"""Bytes of the list of brands that are looked at; real ones have a few dozen."""
# The largest value of 8, 10, 12, 14, 16 and 32 bits: deep grey images say nowhere how many are in use.
_FULL_SCALES = (255, 1023, 4095, 16383, 65535, 2**32 - 1)
_END_OF_JPEG = b"\xff\xd9"


class DecodeError(Exception):
    """The bytes are no image that can be used. `reason` is one sentence."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class DecodedImage:
    """An upright image.

    Attributes:
        pixels: uint8 (height, width, 3), RGB, C-contiguous, maybe read-only; smaller where it was decoded so.
        width: Of the full-size image, in pixels.
        height: Likewise.
        reduction: 1, 2, 4 or 8: pixels of the full-size image for one of these, along either side.
    """

    pixels: Pixels
    width: int
    height: int
    reduction: int = 1


def reduction_for(width: int, height: int, long_side: int | None) -> int:
    """By how much an image can be reduced, 1, 2, 4 or 8 times, with its long side still so many pixels."""
    if long_side is None:
        return 1
    return next((by for by in (8, 4, 2) if max(width, height) >= by * long_side), 1)


def decode(data: bytes, *, max_pixels: int, long_side: int | None = None) -> DecodedImage:
    """Decodes the first frame of a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF or (with pillow-heif) HEIF file.

    The EXIF orientation is applied. Grey becomes RGB, deep grey is scaled by the range in use, CMYK is
    converted (Adobe's inverted kind and the plain one), transparent pixels are laid on white.

    Args:
        data: The whole file.
        max_pixels: An image whose header claims more is refused before any pixel is decoded.
        long_side: A JPEG may come at a half, a quarter or an eighth of its size, its long side at least this:
            libjpeg then leaves out most of the work.

    Raises:
        DecodeError: Empty, no image, truncated, damaged, too many pixels.
        ReadError: The decoder of its format is not installed.
        MemoryError: The pixels do not fit.
    """
    if not data:
        raise DecodeError("empty file")
    kind = _recognise(data)
    if kind == "TIFF":
        _silence_libtiff()
    try:
        with pillow_limits(), Image.open(io.BytesIO(data), formats=[kind]) as image:
            _check_header(image, data, max_pixels)
            full = image.size
            reduction = reduction_for(*full, long_side)
            if reduction > 1:
                image.draft(None, (max(1, full[0] // reduction), max(1, full[1] // reduction)))
                reduction = round(max(full) / max(image.size))  # other formats, and thin images, come larger
            image.load()
            orientation = _orientation(image)
            upright = _to_rgb(image)
            if orientation in _TURN:
                upright = upright.transpose(_TURN[orientation])
            pixels: Pixels = np.ascontiguousarray(np.asarray(upright))
    except (DecodeError, MemoryError):
        raise
    except Exception as exc:  # on damaged bytes Pillow's decoders raise nearly anything
        raise DecodeError(_reason(exc)) from exc
    height, width = pixels.shape[:2]
    if reduction > 1:
        width, height = full if orientation < _SIDEWAYS else full[::-1]
    return DecodedImage(pixels, width, height, reduction)


def _recognise(data: bytes) -> str:
    """Pillow's name of the format, by the first bytes: its own search would try every plugin it has."""
    for magic, kind in _MAGIC.items():
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    if data[4:8] == b"ftyp":
        # AVIF first: its files name HEIF's general brands, too.
        brands = _brands(data)
        if not brands.isdisjoint(_AVIF_BRANDS):
            return _avif()
        if not brands.isdisjoint(_HEIF_BRANDS):
            return _heif()
    raise DecodeError("not an image of a format that can be read")


def _brands(data: bytes) -> set[bytes]:
    """What an ISO media file says it holds: the main brand, and after a version those it goes with."""
    end = min(int.from_bytes(data[:4]), _LONGEST_BRANDS)
    return {data[8:12], *(data[place : place + 4] for place in range(16, end, 4))}


def _avif() -> str:
    if not features.check("avif"):
        raise ReadError("AVIF needs Pillow 11.3 or later: run `pip install --upgrade pillow`")
    return "AVIF"


def _heif() -> str:
    """Teaches Pillow HEIF, where that extra is installed."""
    try:
        import pillow_heif
    except ImportError as exc:
        raise ReadError("HEIF needs the extra heif: run `pip install pillow-heif`") from exc
    pillow_heif.register_heif_opener()
    return "HEIF"


def _check_header(image: ImageFile.ImageFile, data: bytes, max_pixels: int) -> None:
    """Refuses what need not or must not be decoded."""
    pixels = image.width * image.height
    if pixels > max_pixels:
        raise DecodeError(f"image has {pixels:,} pixels, more than the {max_pixels:,} of --max-pixels")
    # A JPEG whose tail was lost and filled with zeros decodes without complaint, grey from there on.
    if image.format == "JPEG" and data.find(_END_OF_JPEG, image.fp.tell() if image.fp else 0) < 0:
        raise DecodeError("truncated image")


@cache
def _silence_libtiff() -> None:
    """Keeps libtiff from writing to the terminal what Pillow raises anyway.

    Its handlers belong to the process and have no setting in Pillow, whose library is asked for them: a
    symbol is looked up in all that a library was linked with. Where libtiff is hidden in it, it stays loud.
    """
    with suppress(AttributeError, OSError):
        library = ctypes.CDLL(_imaging.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


@contextmanager
def pillow_limits() -> Iterator[None]:
    """Silences Pillow's warnings and its own limit of pixels, in place of which ours is checked.

    Both belong to the process: threads that decode side by side need one of these around them all, so that
    the first to end does not restore them for the others.
    """
    limit, lenient = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = None, False
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = limit, lenient


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:  # damaged EXIF raises nearly anything; the pixels are still good
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode == "CMYK" and image.format == "JPEG" and "adobe" not in image.info:
        image = ImageChops.invert(image)  # Pillow takes every CMYK JPEG for Adobe's, which is inverted
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layers = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layers.size, "white"), layers).convert("RGB")
    return image.convert("RGB")


def _to_eight_bits(values: Array) -> Pixels:
    """Scales deep grey (h, w) to 8 bits.

    Integers by the fewest usual bits that hold the largest value, fractions within 0 to 1 by one, values
    below zero from their least to their largest.
    """
    finite = np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0)
    low, high = min(0.0, float(finite.min())), float(finite.max())
    if low == 0 and not (values.dtype.kind == "f" and high <= 1):
        high = next((scale for scale in _FULL_SCALES if scale >= high), high)
    elif low == 0:
        high = 1.0
    scaled: Pixels = np.rint((finite - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return scaled


def _reason(error: Exception) -> str:
    text = str(error).lower()
    if "truncated" in text or "eof" in text or isinstance(error, EOFError):
        return "truncated image"
    if isinstance(error, UnidentifiedImageError):
        return "damaged image: its header cannot be read"
    return f"damaged image: {text.splitlines()[0].rstrip('.')}" if text else "damaged image"
