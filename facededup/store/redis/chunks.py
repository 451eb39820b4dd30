"""The tables of a store in chunks, as they lie in the hash `base`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from facededup.store.base import DIGEST_BYTES, FaceTable, ImageTable
from facededup.store.journal import pack_arrays, unpack_arrays
from facededup.store.tables import (
    FACE_COLUMNS,
    IMAGE_COLUMNS,
    decode_text,
    empty_tables,
    encode_text,
    face_table,
    first_rows,
)
from facededup.types import Array

ROWS = 8192
"""Images, faces or embeddings in a chunk."""


def image_chunks(images: ImageTable) -> Iterator[bytes]:
    """All images."""
    for rows in slices(len(images)):
        arrays = {name: getattr(images, name)[rows] for name in IMAGE_COLUMNS}
        arrays["path"] = _join(images.path[rows])
        arrays["reason"] = _join(list(map(encode_text, images.reason[rows])))
        arrays["tags"] = _join(list(map(encode_text, images.tags[rows])))
        yield pack_arrays(arrays)


def read_images(chunks: Sequence[Any], roots: Mapping[str, Array]) -> ImageTable:
    """The images of `image_chunks`, with the roots of `pack_roots`."""
    if not chunks:
        return empty_tables()[0]
    parts = [unpack_arrays(chunk) for chunk in chunks]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in IMAGE_COLUMNS}
    columns["digest"] = columns["digest"].reshape(-1, DIGEST_BYTES)
    texts = {
        name: [text for part in parts for text in _split(part[name], len(part["id"]))]
        for name in ("path", "reason", "tags")
    }
    count = int(columns["root"].max()) + 1
    return ImageTable(
        **columns,
        path=texts["path"],
        reason=list(map(decode_text, texts["reason"])),
        tags=list(map(decode_text, texts["tags"])),
        roots=list(zip(_split(roots["path"], count), _split(roots["mount"], count), strict=True)),
        first=first_rows(columns["digest"]),
    )


def pack_roots(images: ImageTable) -> bytes:
    """The roots of all images."""
    return pack_arrays(
        {
            "path": _join([path for path, _ in images.roots]),
            "mount": _join([mount for _, mount in images.roots]),
        }
    )


def face_chunks(faces: FaceTable) -> Iterator[bytes]:
    """All faces."""
    for rows in slices(len(faces)):
        box = dict(zip("xywh", faces.box[rows].T, strict=True))
        others = {name: getattr(faces, name)[rows] for name in (*FACE_COLUMNS, "image") if name not in box}
        yield pack_arrays({**others, **box})


def read_faces(chunks: Sequence[Any]) -> FaceTable:
    """The faces of `face_chunks`."""
    if not chunks:
        return empty_tables()[1]
    parts = [unpack_arrays(chunk) for chunk in chunks]
    return face_table(
        {name: np.concatenate([part[name] for part in parts]) for name in (*FACE_COLUMNS, "image")}
    )


def slices(count: int) -> Iterator[slice]:
    """Rows chunk by chunk."""
    for start in range(0, count, ROWS):
        yield slice(start, min(start + ROWS, count))


def _join(texts: Sequence[bytes]) -> Array:
    # None of them has a zero byte.
    return np.frombuffer(b"\0".join(texts), "|u1")


def _split(data: Array, count: int) -> list[bytes]:
    texts = data.tobytes().split(b"\0")
    if len(texts) != count:
        raise ValueError("texts of another number")
    return texts
