"""Who is on which image: a folder a person, a file of pairs, a file of groups."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.errors import PathNotFoundError, UsageError


@dataclass(frozen=True, slots=True)
class LabelledPairs:
    """Pairs of images, each of one person or of two.

    Attributes:
        a: Absolute paths.
        b: Absolute paths, as many.
        same: bool (n,).
    """

    a: tuple[str, ...]
    b: tuple[str, ...]
    same: NDArray[np.bool_]


def person_of(path: str, folder: str) -> str:
    """The sub-folder of `folder` that an image below it lies in, "" for an image in `folder` itself."""
    name, _, rest = os.path.relpath(path, folder).partition(os.sep)
    return name if rest else ""


def read_pairs(path: str) -> LabelledPairs:
    """Reads a CSV file with the columns `path_a`, `path_b` and `same` (1 or 0, true or false).

    Relative paths start at the folder of the file.

    Raises:
        PathNotFoundError: The file, or an image it names, is not there.
        UsageError: It is no such file.
    """
    folder = os.path.dirname(os.path.abspath(path))
    left, right, same = [], [], []
    for number, row in _rows(path, ("path_a", "path_b", "same")):
        word = row["same"].strip().lower()
        if word not in ("0", "1", "false", "true"):
            raise UsageError(f"line {number} of {path!r}: same is 1 or 0, not {row['same']!r}")
        left.append(_absolute(folder, row["path_a"]))
        right.append(_absolute(folder, row["path_b"]))
        same.append(word in ("1", "true"))
    for image in (*left, *right):
        if not os.path.isfile(image):
            raise PathNotFoundError(f"{path!r} names an image that is not there: {image!r}")
    if not any(same) or all(same):
        raise UsageError(f"{path!r} needs pairs of one person and pairs of two")
    return LabelledPairs(tuple(left), tuple(right), np.array(same, np.bool_))


def read_groups(path: str) -> dict[str, str]:
    """Reads a CSV file with the columns `person` (or `path`) and `group`.

    Returns:
        The group of each person by name; by absolute path for a file with the column `path`, whose relative
        paths start at the folder of the file.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: It is no such file.
    """
    folder = os.path.dirname(os.path.abspath(path))
    groups: dict[str, str] = {}
    for number, row in _rows(path, ("group",)):
        if "person" in row:
            key = row["person"]
        elif "path" in row:
            key = _absolute(folder, row["path"])
        else:
            raise UsageError(f"{path!r} needs a column person or path beside group")
        if groups.setdefault(key, row["group"]) != row["group"]:
            raise UsageError(f"line {number} of {path!r}: {key!r} is in two groups")
    return groups


def group_members(
    groups: Mapping[str, str], people: Iterable[str], paths: Iterable[str]
) -> dict[str, NDArray[np.int64]]:
    """Which images are in which group, by the group's name.

    Args:
        groups: Of `read_groups`.
        people: The person on each image.
        paths: The path of each image.

    Raises:
        UsageError: No image is in a group.
    """
    members: dict[str, list[int]] = {}
    for row, (person, path) in enumerate(zip(people, paths, strict=True)):
        group = groups.get(path, groups.get(person))
        if group:
            members.setdefault(group, []).append(row)
    if not members:
        raise UsageError("the file of groups names none of the people or images")
    return {group: np.array(members[group], np.int64) for group in sorted(members)}


def _absolute(folder: str, path: str) -> str:
    """A path as the store has it: without `..`, links unresolved."""
    return os.path.abspath(os.path.join(folder, path))


def _rows(path: str, needed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line numbers and rows of a CSV file with a heading; empty cells are ""."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            table = csv.DictReader(file, restval="")
            missing = [name for name in needed if name not in (table.fieldnames or ())]
            if missing:
                raise UsageError(f"{path!r} has no column {missing[0]!r} in its first line")
            for row in table:
                yield table.line_num, {name: value for name, value in row.items() if isinstance(name, str)}
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no file {path!r}") from exc
    except OSError as exc:
        raise UsageError(f"{path!r} cannot be read: {exc.strerror}") from exc
    except csv.Error as exc:
        raise UsageError(f"{path!r} is no CSV file: {exc}") from exc
