"""Hostile input: mutated images for the decoder, mutated stores for the opener, the check and the repair."""

from __future__ import annotations

import io
import random
import signal
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FrameType

import faults
import numpy as np
from PIL import Image

from facededup.errors import FacededupError
from facededup.images.decode import DecodeError, decode
from facededup.images.read import ReadError

SECONDS = 20
"""No input may take longer."""
MAX_PIXELS = 4_000_000
_NUMBERS = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@contextmanager
def in_time() -> Iterator[None]:
    """Raises AssertionError where the block takes too long."""

    def overdue(_number: int, _frame: FrameType | None) -> None:
        raise AssertionError(f"took longer than {SECONDS} seconds")

    before = signal.signal(signal.SIGALRM, overdue)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def mutate(data: bytes, others: list[bytes], chance: random.Random) -> bytes:
    """The data with one to eight changes: bits, numbers, pieces lost, doubled, swapped or from elsewhere."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        # Headers matter more than pixels.
        reach = chance.choice((64, 512, len(made) + 1))
        place = chance.randrange(min(reach, len(made) + 1))
        length = chance.choice((1, 2, 4, 16, 300))
        kind = chance.randrange(8)
        if kind == 0 and place < len(made):
            made[place] ^= 1 << chance.randrange(8)
        elif kind == 1:
            number = chance.choice(_NUMBERS)
            size = 2 if number <= 0xFFFF and chance.random() < 0.5 else 4
            order = chance.choice(("little", "big"))
            made[place : place + size] = (number & (256**size - 1)).to_bytes(size, order)
        elif kind == 2:
            del made[place : place + length]
        elif kind == 3:
            made[place:place] = made[place : place + length]
        elif kind == 4:
            made[place : place + length] = chance.randbytes(length)
        elif kind == 5:
            del made[chance.randrange(len(made) + 1) :]
        elif kind == 6:
            other = chance.choice(others)
            start = chance.randrange(len(other))
            made[place : place + length] = other[start : start + length]
        else:
            made[place : place + length] = bytes(length)
    return bytes(made)


@cache
def images() -> list[bytes]:
    """A file of each format and kind that is read, and some that only pretend."""
    chance = np.random.default_rng(0)
    plain = Image.fromarray(chance.integers(0, 256, (24, 30, 3), np.uint8))
    deep = Image.fromarray(chance.integers(0, 65535, (24, 30)).astype(np.uint16))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: list[tuple[Image.Image, str, dict[str, object]]] = [
        (plain, "JPEG", {"exif": exif}),
        (plain, "JPEG", {"progressive": True}),
        (plain.convert("CMYK"), "JPEG", {}),
        (plain.convert("L"), "JPEG", {}),
        (plain, "PNG", {}),
        (plain.convert("RGBA"), "PNG", {}),
        (plain.convert("P"), "PNG", {"transparency": 3}),
        (deep, "PNG", {}),
        (plain, "WEBP", {}),
        (plain, "WEBP", {"lossless": True, "exif": exif}),
        (plain, "BMP", {}),
        (plain, "TIFF", {"compression": "tiff_lzw"}),
        (plain, "TIFF", {"compression": "jpeg"}),
        (deep, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (plain.convert("P"), "GIF", {"save_all": True, "append_images": [plain.convert("P")]}),
    ]
    made = []
    for image, kind, options in kinds:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        made.append(buffer.getvalue())
    return [*made, *pretenders(made[4])]


def pretenders(png: bytes) -> list[bytes]:
    """Texts named like images, and a PNG full of compressed text."""
    text = zlib.compress(b"A" * 50_000_000, 9)
    bombs = b"".join(_chunk(b"zTXt", b"k%d\0\0" % k + text) for k in range(20))
    return [
        b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        b"<!doctype html><html><img src='x' onerror='alert(1)'></html>",
        b"%PDF-1.7\n%%EOF",
        png[:33] + bombs + png[33:],
        png[:33] + _chunk(b"iTXt", b"k\0\1\0\0\0" + text) + png[33:],
    ]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def try_image(data: bytes) -> str:
    """What became of one file, in a word.

    Raises:
        AssertionError: It took too long.
        Exception: Anything but a DecodeError or ReadError is a fault of the decoder.
    """
    with in_time():
        try:
            decoded = decode(data, max_pixels=MAX_PIXELS)
        except (DecodeError, ReadError):
            return "refused"
    assert decoded.pixels.shape == (decoded.height, decoded.width, 3)
    return "read"


def image_case(seed: int) -> str:
    """One mutated image."""
    chance = random.Random(seed)
    base = chance.choice(images())
    return try_image(mutate(base, images(), chance))


@cache
def store_files(*, encrypted: bool) -> tuple[dict[str, bytes], frozenset[int]]:
    """The files of a store with findings and a journal that waits, and the batches in them."""
    with faults.place_for_a_store(encrypted=encrypted) as path:
        faults.work(path, 4, lambda _: None)
        with faults.store_at(path).writer() as writer:
            for number in (4, 5, 6):
                writer.commit(faults.batch(number))
            names = ("s.h5", "s.h5.journal")
            folder = Path(path).parent
            return {name: (folder / name).read_bytes() for name in names}, frozenset(range(7))


def store_case(seed: int) -> str:
    """One mutated store: read, checked and repaired; what became of it, in a word.

    Raises:
        AssertionError: It took too long, or gave other data than was written.
        Exception: Anything but one of facededup's own errors is a fault of the store.
    """
    chance = random.Random(seed)
    encrypted = chance.random() < 0.3
    files, batches = store_files(encrypted=encrypted)
    hit = chance.choice(("s.h5", "s.h5", "s.h5.journal"))
    with faults.place_for_a_store(encrypted=encrypted) as path, in_time():
        for name, data in files.items():
            changed = mutate(data, [files["s.h5"]], chance) if name == hit else data
            (Path(path).parent / name).write_bytes(changed)
        store = faults.store_at(path)
        try:
            state = faults.observe(path)
        except FacededupError:
            sound = False
        except AssertionError:
            # `observe` also reads what `check` finds wrong.
            sound = False
            assert store.check()
        else:
            assert state is not None
            assert state[0] <= batches
            sound = True
        if sound:
            return "unharmed"
        try:
            repair = store.repair()
        except FacededupError:
            return "refused"
        assert store.check() == [], "a repaired store is damaged"
        _expect_own(path, batches)
        return "repaired" if repair.images else "nothing kept"


def _expect_own(path: str, batches: frozenset[int]) -> None:
    """Every image and embedding of a repaired store is one that was put in."""
    own = {image.path: image.digest for number in batches for image in faults.batch(number).images}
    vectors = {
        content.digest: content.embeddings[0]
        for number in batches
        for content in faults.batch(number).contents
    }
    with faults.store_at(path).snapshot() as snapshot:
        images, faces = snapshot.images, snapshot.faces
        assert set(images.path) <= set(own)
        rows = snapshot.embeddings(0, len(faces))
        for row, vector in zip(faces.image.tolist(), rows, strict=True):
            digest = images.digest[row].tobytes()
            assert own[images.path[row]] == digest
            assert np.array_equal(vectors[digest], vector)


def run(count: int, seed: int) -> Counter[str]:
    """Half of the inputs are images, half are stores; how often what became of them."""
    outcomes: Counter[str] = Counter()
    for k in range(count // 2):
        outcomes[f"images {image_case(seed + k)}"] += 1
        outcomes[f"stores {store_case(seed + k)}"] += 1
    return outcomes
