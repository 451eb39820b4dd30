"""PostgreSQL's binary COPY format, to and from numpy: a row is one record of a structured array.

The format is in PostgreSQL's manual under COPY, "Binary Format"; of vectors, in pgvector's `vector_send`.
Columns of a fixed width come first, then columns of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from facededup.types import Array

_SIGNATURE = b"PGCOPY\n\xff\r\n\0"
_HEADER = _SIGNATURE + bytes(8)
_TRAILER = b"\xff\xff"
_LENGTH = struct.Struct(">i")
_OID_REAL = 700

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
        if not self._texts:
            return b"".join((_HEADER, rows.tobytes(), _TRAILER))
        data, width = rows.tobytes(), self._row.itemsize
        parts = [_HEADER]
        for k, row in enumerate(zip(*(texts[name] for name in self._texts), strict=True)):
            parts.append(data[k * width : (k + 1) * width])
            for text in row:
                parts += (_LENGTH.pack(len(text)), text)
        parts.append(_TRAILER)
        return b"".join(parts)

    def unpack(self, blocks: Iterable[bytes]) -> tuple[dict[str, Array], dict[str, list[bytes]]]:
        """Columns of what COPY ... TO STDOUT gave.

        Raises:
            ValueError: It does not have this layout: a null, or a vector of another length.
        """
        data = b"".join(blocks)
        if not data.startswith(_SIGNATURE) or not data.endswith(_TRAILER):
            raise ValueError("no binary COPY")
        texts: dict[str, list[bytes]] = {name: [] for name in self._texts}
        if self._texts:
            data = self._split_texts(data, list(texts.values()))
        else:
            data = data[len(_HEADER) : -len(_TRAILER)]
        rows = np.frombuffer(data, self._row)
        columns = {name: _values(rows[name]) for name in self._row.names or () if name != "columns"}
        for name in columns:
            if (rows[name]["length"] != self._template[name]["length"]).any():
                raise ValueError(f"the column {name} has a value of another width")
        return {
            name: values.astype(values.dtype.newbyteorder("=")) for name, values in columns.items()
        }, texts

    def _split_texts(self, data: bytes, texts: list[list[bytes]]) -> bytes:
        """Takes the columns of bytes out; the rest of the rows."""
        parts, place, end, width = [], len(_HEADER), len(data) - len(_TRAILER), self._row.itemsize
        while place < end:
            parts.append(data[place : place + width])
            place += width
            for values in texts:
                (length,) = _LENGTH.unpack_from(data, place)
                if length < 0:
                    raise ValueError("a null among texts")
                place += 4
                values.append(data[place : place + length])
                place += length
        return b"".join(parts)


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
