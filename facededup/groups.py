"""Images that are known to show one person: a folder each, or an id in the name.

Groups are a view of the findings: pairs within a group are stored like all others, so that another choice of
groups needs no new search, and left out where pairs and clusters are listed.
"""

from __future__ import annotations

import os
import re

import numpy as np
from numpy.typing import NDArray

from facededup.errors import UsageError
from facededup.manifest import GROUP, decode_tags, tag_columns
from facededup.store.base import ImageTable

PARENT = "parent"
NONE = "none"
COLUMN = "column:"

Rows = NDArray[np.int64]


def chosen_grouping(images: ImageTable, group_by: str | None) -> str | None:
    """What groups the images: what is given, else the column `group` of a manifest, else nothing.

    Args:
        images: All images.
        group_by: As `image_groups` takes it, or `none`: nothing, also where a manifest has groups.

    Raises:
        UsageError: No image has the column.
    """
    if group_by is None:
        named = any(f'"{GROUP}":' in tags and GROUP in decode_tags(tags) for tags in images.tags)
        return COLUMN + GROUP if named else None
    if group_by.startswith(COLUMN):
        check_column(images, group_by, "--group-by")
    return None if group_by == NONE else group_by


def image_groups(images: ImageTable, group_by: str | None) -> Rows | None:
    """The group of each image.

    Args:
        images: All images.
        group_by: `parent` for the folder an image is in, `column:NAME` for what a manifest's column says of
            it, else a regular expression searched for in its path: its first group, or all it matches. An
            image where that is nothing, or without the column, is a group of its own.

    Returns:
        int64 (n,), equal numbers for one group; None where nothing groups them.

    Raises:
        UsageError: It is not a regular expression.
    """
    if group_by is None:
        return None
    if group_by == PARENT:
        names = [os.path.dirname(path) for path in images.path]
    elif group_by.startswith(COLUMN):
        names = _said(images, group_by.removeprefix(COLUMN))
    else:
        pattern = compiled(group_by, "--group-by", "`parent`, `column:NAME`, `none`")
        names = [_named(pattern, path) for path in images.path]
    numbers: dict[bytes, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int64)


def check_column(images: ImageTable, choice: str, option: str) -> None:
    """Makes sure that a manifest has the column of a `column:NAME`.

    Args:
        images: All images.
        choice: What was given.
        option: The option it was given to.

    Raises:
        UsageError: No image has the column.
    """
    known = tag_columns(images.tags)
    if images.tags and (column := choice.removeprefix(COLUMN)) not in known:
        listed = ", ".join(known) or "none: `index --manifest` brings them"
        raise UsageError(f"{option}: no image has a column {column!r}; the columns known are {listed}")


def compiled(choice: str, option: str, others: str) -> re.Pattern[str]:
    """The regular expression given to an option.

    Args:
        choice: What was given.
        option: The option.
        others: What else it takes, as text for the error.

    Raises:
        UsageError: It is none.
    """
    try:
        return re.compile(choice)
    except re.error as exc:
        raise UsageError(
            f"{option} takes {others} or a regular expression, and {choice!r} is none of them: {exc}"
        ) from exc


def _said(images: ImageTable, column: str) -> list[bytes]:
    """What a manifest's column says of each image."""
    said = [decode_tags(tags).get(column) for tags in images.tags]
    return [
        _alone(path) if value is None else b"group\0" + value.encode("utf-8", "surrogateescape")
        for path, value in zip(images.path, said, strict=True)
    ]


def _alone(path: bytes) -> bytes:
    return b"alone\0" + path  # no path has a zero byte, so this is no name of a group


def _named(pattern: re.Pattern[str], path: bytes) -> bytes:
    found = pattern.search(os.fsdecode(path))
    name = found and found.group(1 if pattern.groups else 0)
    return b"group\0" + os.fsencode(name) if name else _alone(path)
