"""How far perceptual hashes of one photo saved again, and of two photos, lie apart, in bits of 64.

Photos saved again: JPEG at two qualities, other sizes, light, contrast, grey, and cut at all four sides. Two
photos: of the same person (one folder a person), and any two.
"""

from __future__ import annotations

import io
import itertools
import os
from collections import defaultdict
from collections.abc import Callable

import numpy as np
from common import images_of, parser, report
from PIL import Image, ImageEnhance

from facededup.images.phash import perceptual_hash

LIMITS = (4, 6, 8, 10, 12)


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def scaled(image: Image.Image, scale: float) -> Image.Image:
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def cut(image: Image.Image, share: float) -> Image.Image:
    x, y = round(image.width * share), round(image.height * share)
    return image.crop((x, y, image.width - x, image.height - y))


SAVED_AGAIN: dict[str, Callable[[Image.Image], Image.Image]] = {
    "JPEG, quality 75": lambda image: jpeg(image, 75),
    "JPEG, quality 30": lambda image: jpeg(image, 30),
    "half the size": lambda image: scaled(image, 0.5),
    "three quarters, JPEG 50": lambda image: jpeg(scaled(image, 0.75), 50),
    "twice the size": lambda image: scaled(image, 2),
    "a fifth brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "a fifth more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.2),
    "grey": lambda image: image.convert("L"),
    "cut by 2% a side": lambda image: cut(image, 0.02),
    "cut by 5% a side": lambda image: cut(image, 0.05),
}


def hash_of(image: Image.Image) -> int:
    return perceptual_hash(np.asarray(image.convert("RGB")))


def within(distances: list[int]) -> dict[str, float]:
    return {str(limit): round(float(np.mean(np.array(distances) <= limit)), 6) for limit in LIMITS}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--images", type=int, default=3000, help="the first so many (%(default)s)")
    given = arguments.parse_args()
    paths = images_of(given.faces)[: given.images]
    hashes = {}
    again = defaultdict(list)
    for number, path in enumerate(paths):
        with Image.open(path) as opened:
            image = opened.convert("RGB")
        hashes[path] = hash_of(image)
        if number % 10 == 0:
            for name, change in SAVED_AGAIN.items():
                again[name].append((hashes[path] ^ hash_of(change(image))).bit_count())
    people = defaultdict(list)
    for path in paths:
        people[os.path.dirname(path)].append(hashes[path])
    same = [(a ^ b).bit_count() for one in people.values() for a, b in itertools.combinations(one, 2)]
    every = np.array(list(hashes.values()), np.uint64)
    strangers = np.zeros(65, np.int64)
    for place in range(len(every)):
        bits = np.unpackbits((every[place] ^ every[place + 1 :]).view(np.uint8).reshape(-1, 8), axis=1)
        strangers += np.bincount(bits.sum(axis=1), minlength=65)
    report(
        {
            "images": len(paths),
            "saved_again": {name: within(distances) for name, distances in again.items()},
            "same_person_pairs": len(same),
            "same_person_within": {str(limit): sum(d <= limit for d in same) for limit in LIMITS},
            "any_two_pairs": int(strangers.sum()),
            "any_two_within": {str(limit): int(strangers[: limit + 1].sum()) for limit in LIMITS},
        },
        given.json,
    )


if __name__ == "__main__":
    main()
