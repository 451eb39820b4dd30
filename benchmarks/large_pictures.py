"""Faces found in large pictures, and what they cost: portraits, groups, and pictures without a face.

    python benchmarks/large_pictures.py LFW
    python benchmarks/large_pictures.py LFW --people 1600 --pictures 1600 --kinds "20 people at 7%" --accuracy

The pictures are JPEGs made of the images of LFW, enlarged, on backgrounds from scikit-image. A face counts as
found where one is seen near the middle of an image that was put there; its embedding is compared with that of
the image by itself. Times are milliseconds a picture, of all that a worker does to it: processor time (mean
and median), and wall time by stage.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from common import images_of, median, parser, report, spread, table
from landmarks import accuracy, labelled
from PIL import Image, ImageOps
from skimage import data

from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.types import Face
from facededup.workers.steps import Analyser, Analysis, AnalysisSettings, ImageTask

BACKGROUNDS = ("coffee", "chelsea", "rocket", "gravel", "grass", "brick")


@dataclass(frozen=True, slots=True)
class Kind:
    """How pictures of one kind are laid out.

    Attributes:
        size: In pixels.
        grid: Columns and rows of images on the background; (0, 0) for none, None for one that fills it.
        side: Of each image, in pixels.
        smallest: Of the first of them, where they grow to `side`.
        suffix: Of the file.
    """

    size: tuple[int, int]
    grid: tuple[int, int] | None
    side: int = 0
    smallest: int | None = None
    suffix: str = ".jpg"

    @property
    def sides(self) -> list[int]:
        """Of the images of a picture, in pixels."""
        if self.grid is None:
            return [self.size[1]]
        count = self.grid[0] * self.grid[1]
        return np.linspace(self.smallest or self.side, self.side, count).astype(int).tolist()

    @property
    def places(self) -> list[tuple[float, float]]:
        """The middles of the images of a picture."""
        (width, height), (columns, rows) = self.size, self.grid or (1, 1)
        return [
            (width * (column + 0.5) / columns, height * (row + 0.5) / rows)
            for row in range(rows)
            for column in range(columns)
        ]


# LFW's faces (the detector's boxes) are about two fifths of an image wide.
KINDS = {
    "portrait, 1600 x 1200": Kind((1600, 1200), None),
    "portrait, 4000 x 3000": Kind((4000, 3000), None),
    "portrait, 1600 x 1200, PNG": Kind((1600, 1200), None, suffix=".png"),
    "1 person at 20%": Kind((4000, 3000), (1, 1), 2000),
    "1 person at 12%": Kind((4000, 3000), (1, 1), 1200),
    "6 people at 10%": Kind((4000, 3000), (3, 2), 1000),
    "6 people at 7% to 14%": Kind((4000, 3000), (3, 2), 1400, 700),
    "20 people at 7%": Kind((4000, 3000), (5, 4), 700),
    "20 people at 5%": Kind((4000, 3000), (5, 4), 500),
    "20 people at 3%": Kind((4000, 3000), (5, 4), 300),
    "no face": Kind((4000, 3000), (0, 0)),
}


@dataclass(slots=True)
class Figures:
    """What was found in the pictures of one kind."""

    milliseconds: list[float]
    stages: dict[str, float]
    found: dict[str, np.ndarray]
    others: int = 0


def make_picture(kind: Kind, images: Sequence[str], number: int) -> Image.Image:
    """A picture of some people."""
    if kind.grid is None:
        return ImageOps.fit(Image.open(images[0]), kind.size, Image.Resampling.BICUBIC)
    background = Image.fromarray(getattr(data, BACKGROUNDS[number % len(BACKGROUNDS)])()).convert("RGB")
    picture = background.resize(kind.size, Image.Resampling.BICUBIC)
    for image, (x, y), side in zip(images, kind.places, kind.sides, strict=True):
        enlarged = Image.open(image).resize((side, side), Image.Resampling.BICUBIC)
        picture.paste(enlarged, (round(x - side / 2), round(y - side / 2)))
    return picture


def pictures_of(kind: Kind, images: Sequence[str], count: int) -> Iterator[tuple[str, Sequence[str]]]:
    """Makes picture after picture; gives the file and who is on it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture" + kind.suffix)
        for number in range(count):
            people = images[number * len(kind.sides) : (number + 1) * len(kind.sides)]
            make_picture(kind, people, number).save(path, quality=90, compress_level=1)
            yield path, people


def is_at(face: Face, place: tuple[float, float], reach: float) -> bool:
    """Whether the middle of a face is near a place."""
    x, y = face.box.x + face.box.w / 2, face.box.y + face.box.h / 2
    return max(abs(x - place[0]), abs(y - place[1])) < reach


def measure(analyse: Analyser, kind: Kind, images: Sequence[str], count: int) -> Figures:
    """Analyses the pictures of one kind."""
    figures = Figures([], {}, {})
    for path, people in pictures_of(kind, images, count):
        started = time.process_time()
        analysis: Analysis = analyse(ImageTask(path, ""))
        figures.milliseconds.append(1e3 * (time.process_time() - started))
        for stage, seconds in analysis.seconds.items():
            figures.stages[stage] = figures.stages.get(stage, 0.0) + 1e3 * seconds / count
        seen = list(zip(analysis.faces, analysis.chips, strict=True))
        for person, place, side in zip(people, kind.places, kind.sides, strict=True):
            here = [each for each in seen if is_at(each[0], place, side / 5)]
            if here:
                best = max(here, key=lambda each: each[0].confidence)
                figures.found[person] = best[1]
                seen = [each for each in seen if each is not best]
        figures.others += len(seen)
    return figures


def likeness(found: dict[str, np.ndarray], alone: Analyser, encoder: Encoder) -> dict[str, str]:
    """Cosines of the faces found with those in the middle of the images by themselves."""
    chips = {path: alone(ImageTask(path, "")).chips for path in found}
    known = [path for path in found if len(chips[path])]
    if not known:
        return {"cosine": "", "lowest 5%": ""}
    one = encoder.encode(np.concatenate([chips[path] for path in known]))
    other = encoder.encode(np.stack([found[path] for path in known]))
    cosines = (one * other).sum(axis=1)
    return {"cosine": f"{np.median(cosines):.4f}", "lowest 5%": f"{np.quantile(cosines, 0.05):.4f}"}


def evaluated(images: Sequence[str], chips: dict[str, np.ndarray], encoder: Encoder) -> dict[str, str]:
    """Ten-fold accuracy and true match rates, as if each image had the face found of it or none."""
    row_of = {path: row for row, path in enumerate(chips)}
    rows = np.array([row_of.get(path, -1) for path in images])
    vectors = encoder.encode(np.stack(list(chips.values())))
    return {name: f"{value:.4f}" for name, value in accuracy(labelled(list(images), rows, vectors)).items()}


def main() -> None:
    arguments = parser(__doc__.partition("\n")[0])
    arguments.add_argument("--people", type=int, default=200, help="people on the pictures of each kind")
    arguments.add_argument("--pictures", type=int, default=40, help="pictures of each kind at most")
    arguments.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    arguments.add_argument("--accuracy", action="store_true", help="of the faces found, as if one an image")
    given = arguments.parse_args()
    images = spread(images_of(given.faces), given.people)
    random.Random(0).shuffle(images)

    def settings(faces: str) -> AnalysisSettings:
        return AnalysisSettings(detector="dlib", align="chip", faces=faces, max_pixels=10**8)

    analyse, alone = Analyser(settings("all")), Analyser(settings("center"))
    encoder = Encoder(open_engine(describe_model("Dlib"), threads=1))
    rows = []
    for name in given.kinds:
        kind = KINDS[name]
        count = min(given.pictures, len(images) // max(1, len(kind.sides)))
        figures = measure(analyse, kind, images, count)
        row: dict[str, Any] = {
            "picture": name,
            "ms": round(float(np.mean(figures.milliseconds))),
            "median": round(median(figures.milliseconds)),
            **{stage: round(figures.stages.get(stage, 0.0)) for stage in ("decode", "detect", "align")},
            "found": f"{len(figures.found)} of {count * len(kind.sides)}",
            "others": figures.others,
            **likeness(figures.found, alone, encoder),
        }
        if given.accuracy and figures.found:
            row |= evaluated(sorted(images[: count * len(kind.sides)]), figures.found, encoder)
        rows.append(row)
    report({"pictures of a kind, at most": given.pictures, "kinds": rows}, given.json)
    table(list(rows[0]), [list(row.values()) for row in rows])


if __name__ == "__main__":
    main()
