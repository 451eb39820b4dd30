"""When images came about: by the times of their files, by dates in their paths, or by a manifest's column."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.groups import COLUMN, check_column, compiled
from facededup.manifest import decode_tags
from facededup.store.base import ImageTable

FILE_TIME = "mtime"
UNKNOWN = -1

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Dates:
    """Of each image.

    Attributes:
        key: int64, the earlier the lower; the highest where the date is not known.
        month: int64, as 202411; 202400 where only the year is known, `UNKNOWN` where nothing is.
    """

    key: Rows
    month: Rows


def check_dating(images: ImageTable, date_by: str) -> None:
    """Finds out before the long work whether images can be dated so.

    Raises:
        UsageError: It is not a regular expression, or no image has the column.
    """
    if date_by.startswith(COLUMN):
        check_column(images, date_by, "--date-by")
    elif date_by != FILE_TIME:
        _pattern(date_by)


def image_dates(images: ImageTable, date_by: str) -> Dates:
    """The date of each image.

    Args:
        images: All images.
        date_by: `mtime` for the time of the file's last change, `column:NAME` for what a manifest's column
            says, else a regular expression searched for in the path. Of what a column says, and of the groups
            of a match one after the other (or all it matches), the digits count: year, month and day, as in
            2024, 2024-11, 20241130.

    Raises:
        UsageError: It is not a regular expression.
    """
    if date_by == FILE_TIME:
        return _of_files(images.mtime_ns)
    if date_by.startswith(COLUMN):
        column = date_by.removeprefix(COLUMN)
        return _of_texts(decode_tags(tags).get(column, "") for tags in images.tags)
    pattern = _pattern(date_by)
    return _of_texts(_matched(pattern, path) for path in images.path)


def month_name(month: int) -> str:
    """`2024-11`, `2024` where the month is not known, `?` where nothing is."""
    if month == UNKNOWN:
        return "?"
    year, number = divmod(month, 100)
    return f"{year:04}-{number:02}" if number else f"{year:04}"


def _of_files(mtime_ns: Rows) -> Dates:
    months = (mtime_ns // 1_000_000_000).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    year, number = np.divmod(months, 12)
    year += 1970
    sane = (year >= 1) & (year <= 9_999)  # a file's time may be any number
    return Dates(
        np.where(sane, mtime_ns, np.iinfo(np.int64).max), np.where(sane, year * 100 + number + 1, UNKNOWN)
    )


def _of_texts(texts: Iterable[str]) -> Dates:
    days: Rows = np.fromiter(map(_day, texts), np.int64)
    known = days != UNKNOWN
    return Dates(np.where(known, days, np.iinfo(np.int64).max), np.where(known, days // 100, UNKNOWN))


def _day(text: str) -> int:
    """A date as 20241130, zeros for what is not said, `UNKNOWN` where it is none."""
    digits = "".join(letter for letter in text if "0" <= letter <= "9")
    year, month, day = digits[:4], digits[4:6], digits[6:8]
    if len(year) < 4 or len(month) == 1 or len(day) == 1:
        return UNKNOWN
    if int(month or 0) > 12 or int(day or 0) > 31 or int(month or 1) == 0:
        return UNKNOWN
    return int(year) * 10_000 + int(month or 0) * 100 + int(day or 0)


def _matched(pattern: re.Pattern[str], path: bytes) -> str:
    found = pattern.search(os.fsdecode(path))
    if found is None:
        return ""
    return " ".join(part or "" for part in found.groups()) if pattern.groups else found.group()


def _pattern(date_by: str) -> re.Pattern[str]:
    return compiled(date_by, "--date-by", "`mtime`, `column:NAME`")
