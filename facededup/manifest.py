"""`--manifest`: a table that says what the user knows of each image, and what becomes of it in the store.

CSV in UTF-8 with a heading. `path` names the image, relative to the manifest's folder (to the current one for
standard input); `id`, `group` and whatever other columns there are go along with the image as its *tags*, a
JSON object of texts in the store. Empty fields are no tags.
"""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import TextIO

from facededup.errors import PathNotFoundError, UsageError

STANDARD_INPUT = "-"
PATH = "path"
GROUP = "group"
_SPECIAL = (PATH, "id", GROUP)
"""Columns that are known in any letter case."""
_UTF_16 = ("\udcff\udcfe", "\udcfe\udcff")
"""What UTF-16 begins with, as it is read here."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is known of some images.

    Attributes:
        columns: Names of the tags, in the order of the file.
        tags: By absolute path, as `ImageRecord.tags` holds them.
    """

    columns: tuple[str, ...]
    tags: Mapping[bytes, str]


def read_manifest(source: str) -> Manifest:
    """Reads a manifest whole.

    Args:
        source: Path of a CSV file, or `-` for standard input.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: It cannot be read, or a line of it means nothing; the message names the line.
    """
    name = "the manifest on standard input" if source == STANDARD_INPUT else f"the manifest {source!r}"
    folder = os.getcwd() if source == STANDARD_INPUT else os.path.dirname(os.path.abspath(source))
    with _opened(source, name) as file:
        rows = csv.reader(file, strict=True)
        try:
            return _read(rows, name, os.fsencode(folder))
        except csv.Error as exc:
            raise UsageError(f"line {rows.line_num} of {name} is not CSV: {exc}") from exc
        except OSError as exc:
            raise UsageError(f"{name} cannot be read: {exc.strerror or exc}") from exc


def encode_tags(tags: Mapping[str, str]) -> str:
    """Tags as the store keeps them, "" for none."""
    return json.dumps(tags, separators=(",", ":")) if tags else ""


def decode_tags(text: str) -> dict[str, str]:
    """The tags of an image; its own dictionary each time."""
    return dict(_decoded(text)) if text else {}


def tag_columns(tags: Iterable[str]) -> tuple[str, ...]:
    """The names of all tags of some images, in the order they come."""
    return tuple(dict.fromkeys(name for text in dict.fromkeys(tags) for name in decode_tags(text)))


def tag_heading(side: str, name: str) -> str:
    """The heading of a tag in tables of pairs, where `a_face` is taken.

    Args:
        side: `a` or `b`.
        name: Of the tag.
    """
    return f"{side}_tag_{name}" if name == "face" else f"{side}_{name}"


@lru_cache(maxsize=4096)
def _decoded(text: str) -> dict[str, str]:
    return {str(name): str(value) for name, value in json.loads(text).items()}


@contextmanager
def _opened(source: str, name: str) -> Iterator[TextIO]:
    # A byte order mark is what spreadsheets begin with; bytes that are no UTF-8 are kept, as in file names.
    if source == STANDARD_INPUT:
        text = io.TextIOWrapper(sys.stdin.buffer, "utf-8-sig", errors="surrogateescape", newline="")
        try:
            yield text
        finally:
            text.detach()  # standard input stays open
        return
    try:
        with open(source, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no manifest {source!r}; check the spelling") from exc
    except OSError as exc:
        raise UsageError(f"{name} cannot be read: {exc.strerror or exc}") from exc


def _read(rows: Iterator[list[str]], name: str, folder: bytes) -> Manifest:
    lines = _numbered(rows)
    number, heading = next(lines, (0, []))
    columns = _columns(heading, name)
    place = columns.index(PATH)
    tags: dict[bytes, str] = {}
    line_of: dict[bytes, int] = {}
    for number, row in lines:
        if len(row) != len(columns):
            raise UsageError(
                f"line {number} of {name} has {len(row)} fields, and the heading has {len(columns)}"
            )
        if not row[place] or "\0" in row[place]:
            raise UsageError(f"line {number} of {name} names no image: `path` is empty or no file name")
        path = os.path.abspath(os.path.join(folder, os.fsencode(row[place])))
        if path in line_of:
            raise UsageError(
                f"line {number} of {name} names {os.fsdecode(path)!r}, which line {line_of[path]} has already"
            )
        line_of[path] = number
        said = {column: value for column, value in zip(columns, row, strict=True) if value}
        del said[PATH]
        tags[path] = encode_tags(said)
    return Manifest(tuple(column for column in columns if column != PATH), tags)


def _numbered(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    """The rows that are not empty, with the number of the line each ends in."""
    for row in rows:
        if row:
            yield rows.line_num, row  # type: ignore[attr-defined] # a csv.reader has it


def _columns(heading: list[str], name: str) -> list[str]:
    stripped = [column.strip() for column in heading]
    columns = [column.lower() if column.lower() in _SPECIAL else column for column in stripped]
    if heading and heading[0].startswith(_UTF_16):
        raise UsageError(f"{name} is in UTF-16: save it as UTF-8, in a spreadsheet as `CSV UTF-8`")
    if PATH not in columns:
        raise UsageError(
            f"{name} has no column `path`: its first line must name the columns, with commas between them, "
            f"not {','.join(heading)[:100]!r}"
        )
    for column in columns:
        if not column or columns.count(column) > 1:
            raise UsageError(
                f"the heading of {name} has {'two columns' if column else 'a column'} {column!r}"
            )
    return columns
