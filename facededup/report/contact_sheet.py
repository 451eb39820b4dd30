"""A cluster's faces as one picture, for those who look at files and not at pages."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from facededup.errors import JobError
from facededup.images.decode import pillow_limits
from facededup.listing import Listing
from facededup.matching.merge_tree import TREE_UP_TO, merge_tree
from facededup.matching.source import StoredVectors
from facededup.progress import Progress
from facededup.report.html_report import last_findings
from facededup.report.pictures import PictureMaker
from facededup.settings import Settings
from facededup.store.base import Snapshot
from facededup.store.opener import open_store
from facededup.types import Cluster

if TYPE_CHECKING:
    from PIL.Image import Image

FACES = 120
"""Faces on a sheet, at most."""
_SIDE, _MARGIN, _HEAD, _LINE = 140, 12, 40, 18
_COLUMNS = 8
_LETTERS = 20
_INK, _SOFT, _PAPER, _GREY, _WEAK = "#202124", "#5f6368", "#ffffff", "#e4e7ec", "#b06000"

Rows = NDArray[np.int64]


def write_contact_sheets(settings: Settings, folder: str, progress: Progress) -> int:
    """Draws each listed cluster of the last findings: its faces in a grid, the weakest link framed.

    The files are named by place in the list and by cluster, `0001-0123456789ab.png`. A face whose image is
    gone or has changed is a grey square.

    Args:
        settings: `store`, `key_file`, `limit` and `max_pixels` are looked at.
        folder: Where they go; made if it is not there.
        progress: Receives the advance, step `sheets`.

    Returns:
        How many were written.

    Raises:
        UsageError: The store has no findings.
        JobError: The folder cannot be written.
    """
    store = open_store(settings.store, settings.key_file)
    with store.snapshot() as snapshot, pillow_limits():
        listing = Listing(snapshot, *last_findings(snapshot, store.location))
        detector, limit = snapshot.fingerprint.detector, settings.max_pixels
        maker = PictureMaker(listing.images, listing.faces, listing.copies, detector, limit)
        clusters = listing.clusters(settings.limit)
        progress.start("sheets", len(clusters))
        for place, number in enumerate(clusters.order.tolist()):
            cluster = clusters[place]
            sheet = _draw(snapshot, listing, maker, number, cluster)
            _save(sheet, os.path.join(folder, f"{place + 1:04}-{cluster.id}.png"))
            progress.advance()
        progress.finish()
        return len(clusters)


def _draw(snapshot: Snapshot, listing: Listing, maker: PictureMaker, number: int, cluster: Cluster) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    table = listing.findings.clusters
    members = table.members[table.offsets[number] : table.offsets[number + 1]]
    rows = np.searchsorted(listing.faces.id, members)
    weakest = _weakest(snapshot, rows)
    shown = np.concatenate([weakest, rows[~np.isin(rows, weakest)]])[:FACES]
    columns = min(_COLUMNS, len(shown))
    width = max(columns * (_SIDE + _MARGIN), 3 * (_SIDE + _MARGIN)) + _MARGIN
    height = _HEAD + -(-len(shown) // columns) * (_SIDE + 2 * _LINE + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(16), ImageFont.load_default(12)
    head = f"{cluster.size} images, weakest link {cluster.min_similarity:.3f}"
    if len(shown) < len(rows):
        head += f", {len(rows) - len(shown)} faces not shown"
    draw.text((_MARGIN, _MARGIN), head, _INK, large)
    for place, row in enumerate(shown.tolist()):
        left = _MARGIN + place % columns * (_SIDE + _MARGIN)
        top = _HEAD + place // columns * (_SIDE + 2 * _LINE + _MARGIN)
        draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), _GREY)
        face = maker.cut(int(listing.faces.image[row]), row, _SIDE)
        if face is not None:
            sheet.paste(face, (left, top))
        if row in weakest:
            draw.rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), outline=_WEAK, width=3)
        path = listing.path(int(listing.faces.image[row]))
        draw.text((left, top + _SIDE + 2), _printable(os.path.basename(path)), _INK, small)
        draw.text(
            (left, top + _SIDE + _LINE), _printable(os.path.basename(os.path.dirname(path))), _SOFT, small
        )
    return sheet


def _weakest(snapshot: Snapshot, rows: Rows) -> Rows:
    """The two faces that are least alike; none in a cluster of one face or too many."""
    if not 2 <= len(rows) <= TREE_UP_TO:
        return rows[:0]
    ordered = np.sort(rows)
    tree = merge_tree(StoredVectors(snapshot).gather(ordered), np.ones(len(rows), np.int64))
    weakest: Rows = ordered[tree.weakest[-1]]
    return weakest


def _printable(text: str) -> str:
    """As much of a name as fits below a face, in letters the font has."""
    shown = "".join(letter if letter.isprintable() and ord(letter) < 0x250 else "?" for letter in text)
    return shown if len(shown) <= _LETTERS else f"{shown[: _LETTERS - 9]}…{shown[-8:]}"


def _save(sheet: Image, path: str) -> None:
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        sheet.save(temporary, "PNG")
        os.replace(temporary, path)
    except OSError as exc:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise JobError(f"cannot write the contact sheet {path!r}: {exc.strerror or exc}") from exc
