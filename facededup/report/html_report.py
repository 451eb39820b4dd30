"""The HTML report: one file that needs nothing else, unless its pictures outgrow it."""

from __future__ import annotations

import base64
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from typing import Any, Self, TextIO

import numpy as np

from facededup.errors import JobError, UsageError
from facededup.listing import Listing
from facededup.progress import Progress
from facededup.report.files import STANDARD_OUTPUT, writing
from facededup.report.page_data import PageData, PageOptions, page_data
from facededup.report.page_template import embedded, page_parts
from facededup.report.pictures import PictureMaker, Pictures
from facededup.results import FindResult
from facededup.settings import Settings
from facededup.store.base import Findings, Snapshot
from facededup.store.opener import open_store

INLINE_LIMIT = 30_000_000
"""Bytes of pictures inside the file; further ones lie in a folder beside it."""
_A_FOLDER = 1_000
_RUN = re.compile(r"[0-9a-f]{8}")


def write_html(
    settings: Settings,
    path: str,
    options: PageOptions,
    progress: Progress,
    *,
    inline_limit: int = INLINE_LIMIT,
    result: FindResult | None = None,
) -> None:
    """Writes the last findings of a store as a page to read, decide on and print.

    Pictures are made anew from the images on disk; one that is gone or has changed is a grey square. The
    first `inline_limit` bytes of them are in the file, the rest in `NAME_files` beside it. The file appears
    complete or not at all, and so does what it shows.

    Args:
        settings: `store`, `processes` and `max_pixels` are looked at.
        path: The file, replaced in one step; `-` for standard output, without pictures beyond the limit.
        options: What is listed.
        progress: Receives the advance, step `pictures`.
        inline_limit: See above; as base64 they take a third more.
        result: Of the `find` that found them: timing for the summary, and a second model's scores.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: The store has no findings.
        JobError: The file or the folder cannot be written.
    """
    store = open_store(settings.store, settings.key_file)
    with store.snapshot() as snapshot:
        listing = Listing(snapshot, *last_findings(snapshot, store.location))
        data = page_data(snapshot, listing, store.location, options, result)
        maker = PictureMaker(
            listing.images, listing.faces, listing.copies, snapshot.fingerprint.detector, settings.max_pixels
        )
        with _Beside(path) as beside, writing(path) as file:
            before, between, after = page_parts(connects=False)
            file.write(before)
            file.write(embedded({**data.document, "live": None}))
            file.write(between)
            made = maker.make_many(_wanted(data), settings.processes or os.cpu_count() or 1)
            _write_pictures(file, data, made, beside, progress, inline_limit=inline_limit)
            file.write(after)
        beside.keep()


def last_findings(snapshot: Snapshot, location: str) -> tuple[Findings, float]:
    """The findings of a store and the cosine that similarity 0.40 stands for in them.

    Raises:
        UsageError: There are none.
    """
    findings = snapshot.findings()
    if findings is None:
        raise UsageError(f"the store {location!r} has no findings yet: run `facededup find` first")
    return findings, float(findings.meta["operating_cosine"])


def _write_pictures(
    file: TextIO,
    data: PageData,
    made: Iterator[Pictures],
    beside: _Beside,
    progress: Progress,
    *,
    inline_limit: int,
) -> None:
    """Writes one list a content: its photo, then its faces by number; see docs/report.md."""
    progress.start("pictures", len(data.contents))
    file.write(f'{{"base":{embedded(beside.base)},"contents":[')
    budget = _Budget(inline_limit)
    for number, pictures in enumerate(made):
        entry = []
        for place, picture in enumerate((pictures.photo, *pictures.faces)):
            if picture is None:
                entry.append("null")
            elif budget.takes(len(picture), is_photo=place == 0):
                entry.append(f'"{base64.b64encode(picture).decode("ascii")}"')
            else:
                entry.append("1" if beside.add(number, place, picture) else "null")
        file.write(f"{',' if number else ''}[{','.join(entry)}]")
        progress.advance()
    file.write("]}")
    progress.finish()


def _wanted(data: PageData) -> Iterator[tuple[int, tuple[int, ...]]]:
    """Each content's row and the rows of its faces that are shown, in the order of their numbers."""
    order = np.argsort(data.face_content, kind="stable")
    bounds = np.searchsorted(data.face_content[order], np.arange(len(data.contents) + 1)).tolist()
    faces = data.faces[order].tolist()
    for number, row in enumerate(data.contents.tolist()):
        yield row, tuple(faces[bounds[number] : bounds[number + 1]])


class _Budget:
    """How much may be inlined; photos, which are larger and less needed, get half of it at most."""

    def __init__(self, limit: int) -> None:
        self._left = limit
        self._left_for_photos = limit // 2

    def takes(self, size: int, *, is_photo: bool) -> bool:
        if size > (min(self._left, self._left_for_photos) if is_photo else self._left):
            return False
        self._left -= size
        if is_photo:
            self._left_for_photos -= size
        return True


class _Beside:
    """The folder of pictures beside a report.

    Each report has a sub-folder of its own, so that the one before keeps its pictures until the new file has
    taken its place.
    """

    def __init__(self, path: str) -> None:
        target = os.path.realpath(path)
        self._possible = path != STANDARD_OUTPUT and (os.path.isfile(target) or not os.path.exists(target))
        self._folder = os.path.splitext(target)[0] + "_files"
        self._run = secrets.token_hex(4)
        self.base = f"{_quoted(os.path.basename(self._folder))}/{self._run}/"
        self._kept = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._remove(lambda run: run == self._run)

    def add(self, content: int, place: int, picture: bytes) -> bool:
        """Keeps a picture in the folder; whether there can be one."""
        if not self._possible:
            return False
        folder = os.path.join(self._folder, self._run, str(content // _A_FOLDER))
        try:
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{content}-{place}.jpg"), "xb") as file:
                file.write(picture)
        except OSError as exc:
            raise JobError(f"cannot write the pictures in {folder!r}: {exc.strerror or exc}") from exc
        return True

    def keep(self) -> None:
        """The report is in place: the pictures of the one before can go."""
        self._remove(lambda run: run != self._run)

    def _remove(self, goes: Any) -> None:
        if not os.path.isdir(self._folder):
            return
        for name in os.listdir(self._folder):
            if _RUN.fullmatch(name) and goes(name):
                shutil.rmtree(os.path.join(self._folder, name), ignore_errors=True)
        if not os.listdir(self._folder):
            os.rmdir(self._folder)


def _quoted(name: str) -> str:
    from urllib.parse import quote_from_bytes

    return quote_from_bytes(os.fsencode(name))
