"""PostgreSQL's binary COPY format, to and from numpy: a row is one record of a structured array.

The format is in PostgreSQL's manual under COPY, "Binary Format"; of vectors, in pgvector's `vector_send`.
Columns of a fixed width come first, then columns of bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np

from facededup.types import Array

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)
_TRAILER = b"\xff\xff"
_LENGTH_BYTES = 4
_OID_REAL = 700
_AT_ONCE = 2048
"""Rows taken apart together: so few that they stay in the processor's cache."""

Kind = str | tuple[str, int]
"""A numpy type name such as `i8`; ("bytes", n); ("real", n), an array of n; ("vector", n)."""


class Layout:
    """How the rows of one COPY look.

    Args:
        fixed: Name and kind of the columns of a fixed width.
        texts: Names of the columns of bytes behind them.
    """

    def __init__(self, fixed: Mapping[str, Kind], texts: Sequence[str] = ()) -> None:
        self.names = (*fixed, *texts)
        self._texts = tuple(texts)
        self._row = np.dtype(
            [("columns", ">i2"), *((name, _cell_type(kind)) for name, kind in fixed.items())]
        )
        self._template = np.zeros(1, self._row)
        self._template["columns"] = len(self.names)
        for name, kind in fixed.items():
            _fill_constants(self._template[name], kind)

    def pack(self, columns: Mapping[str, Array], texts: Mapping[str, Sequence[bytes]], count: int) -> bytes:
        """Rows as the payload of COPY ... FROM STDIN.

        Args:
            columns: A value a row for each column of a fixed width.
            texts: Likewise for each column of bytes.
            count: Number of rows.
        """
        rows = np.repeat(self._template, count)
        for name, values in columns.items():
            _values(rows[name])[...] = values
        data = rows.tobytes()
        if not self._texts:
            return b"".join((_HEADER, data, _TRAILER))
        width = self._row.itemsize
        cells = [[data[k : k + width] for k in range(0, len(data), width)]]
        for name in self._texts:
            lengths = np.fromiter(map(len, texts[name]), ">i4", count).tobytes()
            cells += ([lengths[k : k + 4] for k in range(0, len(lengths), 4)], list(texts[name]))
        return b"".join((_HEADER, *chain.from_iterable(zip(*cells, strict=True)), _TRAILER))

    def unpack(self, messages: Iterable[bytes]) -> tuple[dict[str, Array], dict[str, list[bytes]]]:
        """Columns of what COPY ... TO STDOUT gave.

        Args:
            messages: As they came: the protocol has the server send each row in one of its own.

        Raises:
            ValueError: It does not have this layout: a null, or a vector of another length.
        """
        texts: dict[str, list[bytes]] = {name: [] for name in self._texts}
        parts = [self._columns(b"")]
        parts += [
            self._columns(self._take_texts(rows, texts) if texts else b"".join(rows))
            for rows in _cut_rows(messages)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, texts

    def _columns(self, data: bytes) -> dict[str, Array]:
        """The columns of a fixed width, in the machine's byte order."""
        rows = np.frombuffer(data, self._row)
        columns = {}
        for name in self._row.names or ():
            if name == "columns":
                continue
            if (rows[name]["length"] != self._template[name]["length"]).any():
                raise ValueError(f"the column {name} has a value of another width")
            values = _values(rows[name])
            columns[name] = values.astype(values.dtype.newbyteorder("="))
        return columns

    def _take_texts(self, rows: Sequence[bytes], texts: Mapping[str, list[bytes]]) -> bytes:
        """Takes the columns of bytes out; the rest of the rows."""
        data, width = b"".join(rows), self._row.itemsize
        octets = np.frombuffer(data, np.uint8)
        sizes = np.fromiter(map(len, rows), np.int64, len(rows))
        ends = np.cumsum(sizes)
        place = ends - sizes + width
        for values in texts.values():
            if (place + _LENGTH_BYTES > ends).any():
                raise ValueError("a row ends too soon")
            lengths = octets[place[:, None] + np.arange(_LENGTH_BYTES)].view(">i4")[:, 0]
            if (lengths < 0).any():
                raise ValueError("a null among texts")
            place += _LENGTH_BYTES
            stops = place + lengths
            if lengths.any():
                values.extend(data[k:stop] for k, stop in zip(place.tolist(), stops.tolist(), strict=True))
            else:
                values.extend([b""] * len(rows))
            place = stops
        if (place != ends).any():
            raise ValueError("a row has more columns, or fewer")
        return b"".join([row[:width] for row in rows])


def _cut_rows(messages: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Runs of rows, without what comes before the first and after the last."""
    stream = iter(messages)
    first = bytes(next(stream, b""))
    if not first.startswith(_HEADER):
        raise ValueError("no binary COPY")
    first = first[len(_HEADER) :]
    stream = chain([first] if first else [], stream)
    last = b""
    while rows := list(islice(stream, _AT_ONCE)):
        last = rows[-1]
        yield rows[:-1] if last == _TRAILER else rows
    if last != _TRAILER:
        raise ValueError("a COPY without its end")


def _cell_type(kind: Kind) -> np.dtype[np.void]:
    length: tuple[Any, ...] = ("length", ">i4")
    if isinstance(kind, str):
        return np.dtype([length, ("value", np.dtype(kind).newbyteorder(">"))])
    name, count = kind
    match name:
        case "bytes":
            return np.dtype([length, ("value", f"V{count}")])
        case "vector":
            return np.dtype([length, ("head", ">u2", (2,)), ("value", ">f4", (count,))])
        case _:
            item = np.dtype([length, ("value", ">f4")])
            return np.dtype([length, ("head", ">i4", (5,)), ("items", item, (count,))])


def _fill_constants(cell: Array, kind: Kind) -> None:
    cell["length"] = cell.dtype.itemsize - 4
    if not isinstance(kind, str) and kind[0] == "vector":
        cell["head"] = (kind[1], 0)
    elif not isinstance(kind, str) and kind[0] == "real":
        cell["head"] = (1, 0, _OID_REAL, kind[1], 1)  # dimensions, nulls, type, length, first index
        cell["items"]["length"] = 4


def _values(cell: Array) -> Array:
    values: Array = cell["items"]["value"] if "items" in (cell.dtype.names or ()) else cell["value"]
    return values
