"""Real pictures of two people, and some without a face, out of installed packages; nothing is downloaded.

Eileen Collins, a coffee, a cat and a rocket come with scikit-image, Grace Hopper with matplotlib.
"""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING, NamedTuple

from facededup.errors import PackageMissingError

if TYPE_CHECKING:
    from PIL.Image import Image


class Picture(NamedTuple):
    """A picture in a package, and the part of it that is taken (left, upper, right, lower)."""

    package: str
    path: str
    part: tuple[int, int, int, int] | None = None


PEOPLE = {
    # Without the suit, whose badges and rings a detector takes for faces now and then.
    "collins": Picture("skimage", "data/astronaut.png", (40, 0, 440, 300)),
    "hopper": Picture("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
FACELESS = {
    "no-face-cat": Picture("skimage", "data/chelsea.png"),
    "no-face-coffee": Picture("skimage", "data/coffee.png"),
    "no-face-rocket": Picture("skimage", "data/rocket.jpg"),
}
_DISTRIBUTIONS = {"skimage": "scikit-image", "matplotlib": "matplotlib"}


def open_picture(picture: Picture) -> Image:
    """The part of the picture that is taken, RGB.

    Raises:
        PackageMissingError: Its package is not installed.
    """
    from PIL import Image

    with Image.open(_find(picture)) as image:
        return image.convert("RGB").crop(picture.part)


def _find(picture: Picture) -> str:
    """Its file, found without the seconds that importing the package takes."""
    spec = importlib.util.find_spec(picture.package)
    for place in (spec.submodule_search_locations if spec else None) or ():
        file = os.path.join(place, *picture.path.split("/"))
        if os.path.isfile(file):
            return file
    raise PackageMissingError(
        f"the pictures come with {_DISTRIBUTIONS[picture.package]}, which is not installed: "
        "pip install 'facededup[cpu,demo]'"
    )
