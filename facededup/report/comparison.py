"""A comparison of two images as a JSON document and as a picture of the aligned faces side by side."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from facededup.errors import JobError
from facededup.results import ComparedImage, CompareResult, FacePair
from facededup.types import Pixels

if TYPE_CHECKING:
    from PIL.Image import Image

_FACE = 220
"""Side of a face on the sheet, in pixels."""
_MARGIN = 16
_LINE = 22
_PAIRS = 10
"""Pairs on a sheet, at most: the most similar."""
_INK, _PAPER, _MATCH, _NO_MATCH = "#202124", "#ffffff", "#137333", "#a50e0e"


def comparison_document(result: CompareResult) -> dict[str, Any]:
    """The document of `compare --json`, schema facededup/comparison/1."""
    return {
        "schema": "facededup/comparison/1",
        "fingerprint": result.fingerprint.to_dict(),
        "threshold": result.threshold,
        "cosine_cut": result.cosine_cut,
        "operating_cosine": result.operating_cosine,
        "operating_cosine_source": result.operating_cosine_source,
        "matches": result.matches,
        "images": [_image(result.a), _image(result.b)],
        "pairs": [
            {
                "a": pair.a,
                "b": pair.b,
                "similarity": pair.similarity,
                "cosine": pair.cosine,
                "matches": pair.matches,
            }
            for pair in result.pairs
        ],
        "metrics": result.metrics.to_dict(),
    }


def _image(image: ComparedImage) -> dict[str, Any]:
    return {
        "path": image.path,
        "outcome": image.outcome.name,
        "reason": image.reason,
        "width": image.width,
        "height": image.height,
        "faces": [
            {
                "face": number,
                "box": [face.box.x, face.box.y, face.box.w, face.box.h],
                "confidence": face.confidence,
                "landmarks": [list(point) for point in face.landmarks],
            }
            for number, face in enumerate(image.faces)
        ],
    }


def write_sheet(result: CompareResult, path: str) -> None:
    """Draws the most similar pairs, each as two faces as the model saw them, with their scores.

    Args:
        result: With at least one face in each image.
        path: Of the picture; its ending names the format. Replaced in one step.

    Raises:
        JobError: An image has no face to show, or the file cannot be written.
    """
    from PIL import Image

    for image in (result.a, result.b):
        if not image.faces:
            raise JobError(f"there is no sheet to draw: {image.path!r} has no face ({image.outcome.name})")
    rows = [_draw_pair(result, pair) for pair in result.pairs[:_PAIRS]]
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), _PAPER)
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    stem, ending = os.path.splitext(path)
    temporary = f"{stem}.{os.getpid()}.tmp{ending}"
    try:
        sheet.save(temporary)
        os.replace(temporary, path)
    except (OSError, ValueError) as exc:  # ValueError: Pillow knows no format of that ending
        if os.path.exists(temporary):
            os.unlink(temporary)
        reason = getattr(exc, "strerror", None) or exc
        raise JobError(f"cannot write the sheet {path!r}: {reason}; name a .png file") from exc


def _draw_pair(result: CompareResult, pair: FacePair) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    verdict = "match" if pair.matches else "no match"
    score = (
        f"{verdict}: similarity {pair.similarity:.3f} at threshold {result.threshold:g},"
        f" cosine {pair.cosine:.4f}"
    )
    width = 3 * _MARGIN + 2 * _FACE
    row = Image.new("RGB", (width, 2 * _MARGIN + _FACE + 2 * _LINE), _PAPER)
    draw = ImageDraw.Draw(row)
    font = ImageFont.load_default(14)
    draw.text((_MARGIN, _MARGIN), score, _MATCH if pair.matches else _NO_MATCH, font)
    for place, (image, number) in enumerate(((result.a, pair.a), (result.b, pair.b))):
        left = _MARGIN + place * (_FACE + _MARGIN)
        row.paste(_enlarged(image.chips[number]), (left, _MARGIN + _LINE))
        name = f"{os.path.basename(image.path)}, face {number}"
        shown = "".join(letter if letter.isprintable() else "?" for letter in name)
        draw.text((left, _MARGIN + _LINE + _FACE + 4), shown[:28], _INK, font)
    return row


def _enlarged(chip: Pixels) -> Image:
    """A face that fills the square, in its own proportions."""
    from PIL import Image, ImageOps

    size = _FACE, _FACE
    return ImageOps.pad(Image.fromarray(np.ascontiguousarray(chip)), size, Image.Resampling.BICUBIC, _PAPER)
