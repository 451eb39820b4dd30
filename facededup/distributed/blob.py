"""Binary messages: a JSON document and arrays, in one string of bytes. No pickle, no floats as text."""

from __future__ import annotations

import json
import math
import struct
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from facededup.errors import JobError
from facededup.types import Array

_HEAD = struct.Struct("<4sI")
_MAGIC = b"FDB1"
_KINDS = "biuf"
"""Booleans and numbers: an array of objects would be a pickle."""


def pack(document: Any, *arrays: Array, compress: bool = False) -> bytes:
    """One string of bytes.

    Args:
        document: Anything JSON knows; texts may hold what `os.fsdecode` makes of names that are not UTF-8.
        arrays: Of booleans or numbers.
        compress: Also the arrays; the document always is.
    """
    shapes = [[array.dtype.str, array.shape] for array in arrays]
    header = zlib.compress(json.dumps([document, shapes, compress], separators=(",", ":")).encode(), 1)
    body = b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)
    return _HEAD.pack(_MAGIC, len(header)) + header + (zlib.compress(body, 1) if compress else body)


def unpack(data: bytes) -> tuple[Any, Sequence[Array]]:
    """What `pack` was given; the arrays are read-only.

    Raises:
        JobError: These are not bytes that `pack` made.
    """
    try:
        magic, length = _HEAD.unpack_from(data)
        if magic != _MAGIC:
            raise ValueError("another kind of message")  # noqa: TRY301 - told below like all others
        start = _HEAD.size + length
        document, shapes, compressed = json.loads(zlib.decompress(data[_HEAD.size : start]))
        body = zlib.decompress(data[start:]) if compressed else memoryview(data)[start:]
        arrays, place = [], 0
        for name, shape in shapes:
            dtype = np.dtype(name)
            if dtype.kind not in _KINDS:
                raise ValueError(f"an array of {name}")  # noqa: TRY301
            count = math.prod(shape)
            arrays.append(np.frombuffer(body, dtype, count, place).reshape(shape))
            place += count * dtype.itemsize
    except (ValueError, TypeError, struct.error, zlib.error) as exc:
        raise unreadable(exc) from exc
    return document, arrays


def unreadable(exc: Exception) -> JobError:
    """What is said of a message that holds something else than it should."""
    return JobError(f"a message of the queue is not readable ({exc}): do all machines run one version?")
