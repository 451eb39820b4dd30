"""Rows as CSV that every reader takes apart again, whatever characters a file name has."""

from __future__ import annotations

import csv
from typing import Any, TextIO


class _Lines:
    """Gets one row at a time from the csv module and ends it as text files end their lines here."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, row: str) -> int:
        return self._file.write(row.removesuffix("\r\n") + "\n")


def csv_writer(file: TextIO) -> Any:
    """A writer of the csv module that also quotes texts with a carriage return.

    The module quotes only those characters of a line's end that end its own lines: a lone carriage return in
    a name would break its row in two.

    Args:
        file: To write to, opened with `newline=""`.
    """
    return csv.writer(_Lines(file), lineterminator="\r\n")
