"""What a batch does to the tables of images and faces; the one place that knows."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.store.base import DIGEST_BYTES, Batch, FaceTable, ImageTable
from facededup.types import Array, Face, Floats, Quality

POINTS = 5
NO_DIGEST = bytes(DIGEST_BYTES)

IMAGE_COLUMNS: dict[str, Any] = {
    "id": "<i8",
    "root": "<i4",
    "size": "<i8",
    "mtime_ns": "<i8",
    "ctime_ns": "<i8",
    "inode": "<u8",
    "digest": f"V{DIGEST_BYTES}",
    "outcome": "|u1",
    "retry": "|b1",
    "unresolved": "|b1",
    "width": "<i4",
    "height": "<i4",
    "indexed_at": "<i8",
    "phash": "<u8",
}
TEXT_COLUMNS = ("path", "reason", "tags")
FACE_COLUMNS: dict[str, Any] = {
    "id": "<i8",
    "number": "<i4",
    "x": "<i4",
    "y": "<i4",
    "w": "<i4",
    "h": "<i4",
    "confidence": "<f4",
    "landmarks": ("<f4", (POINTS, 2)),
    "quality": ("<f4", (5,)),
}
ADDED_COLUMNS: dict[str, Any] = {
    "images/indexed_at": 0,
    "images/phash": 0,
    "images/tags": b"",
    "faces/quality": np.nan,
}
"""Columns that a file or journal of the first days of format 1 lacks, and what they then hold."""
_BOX = ("x", "y", "w", "h")
_NORM_TOLERANCE = 1e-3
_NO_POINTS = ((np.nan, np.nan),) * POINTS
_NO_QUALITY = Quality(*(np.nan,) * 5)

_IMAGE_VALUES: Mapping[str, str] = {
    **{name: f"stat.{name}" for name in ("size", "mtime_ns", "ctime_ns", "inode")},
    "outcome": "outcome._value_",  # as `value` says, in a fraction of the time
    **{name: name for name in ("retry", "unresolved", "width", "height", "indexed_at", "phash")},
}
"""Columns of a batch whose values records and faces hold as they are, and where."""
_FACE_VALUES: Mapping[str, str] = {**{name: f"box.{name}" for name in _BOX}, "confidence": "confidence"}


def batch_arrays(batch: Batch, dimension: int) -> dict[str, Array]:
    """A batch as the arrays its journal record holds; `embeddings` comes last.

    Args:
        batch: To be written.
        dimension: Length of the store's embeddings.

    Raises:
        ValueError: The batch breaks a rule of `Batch`; the message says which.
    """
    _validate(batch, dimension)
    images, contents = batch.images, batch.contents
    found_under = list(map(attrgetter("root", "mount"), images))
    roots = {root: k for k, root in enumerate(dict.fromkeys(found_under))}
    arrays = {
        **_strings("removed", batch.removed),
        **_strings("moved.old", [old for old, _ in batch.moved]),
        **_strings("moved.new", [new for _, new in batch.moved]),
        **_strings("root.path", [path for path, _ in roots]),
        **_strings("root.mount", [mount for _, mount in roots]),
        **_strings("image.path", [image.path for image in images]),
        **_strings("image.reason", [encode_text(image.reason) for image in images]),
        **_strings("image.tags", [encode_text(image.tags) for image in images]),
        **_columns("image", _IMAGE_VALUES, IMAGE_COLUMNS, images),
        "image.root": np.fromiter(map(roots.__getitem__, found_under), IMAGE_COLUMNS["root"], len(images)),
        "image.digest": _join_digests(image.digest or NO_DIGEST for image in images),
    }
    times = arrays["image.indexed_at"]
    times[times == 0] = int(time.time())
    faces = [face for content in contents for face in content.faces]
    counts = [len(content.faces) for content in contents]
    arrays |= {
        "content.digest": _join_digests(content.digest for content in contents).ravel(),
        "content.faces": np.array(counts, "<i4"),
        "face.number": np.fromiter(
            chain.from_iterable(map(range, counts)), FACE_COLUMNS["number"], len(faces)
        ),
        **_columns("face", _FACE_VALUES, FACE_COLUMNS, faces),
        "face.landmarks": _points(faces),
        "face.quality": _qualities(faces),
    }
    vectors = [np.asarray(content.embeddings, "<f4") for content in contents if content.faces]
    arrays["embeddings"] = np.concatenate(vectors) if vectors else np.empty((0, dimension), "<f4")
    _validate_norms(arrays["embeddings"])
    return arrays


def _validate(batch: Batch, dimension: int) -> None:
    lengths = {len(image.digest) for image in batch.images}
    if not lengths <= {0, DIGEST_BYTES}:
        raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {max(lengths - {DIGEST_BYTES})}")
    for content in batch.contents:
        if len(content.digest) != DIGEST_BYTES or content.digest == NO_DIGEST:
            raise ValueError(f"a content needs a digest of {DIGEST_BYTES} bytes")
        shape = (len(content.faces), dimension)
        if content.faces and content.embeddings.shape != shape:
            raise ValueError(f"the embeddings have the shape {content.embeddings.shape}, not {shape}")
    paths = [image.path for image in batch.images] + [path for pair in batch.moved for path in pair]
    if not all(paths) or b"\0" in b"".join(paths):
        raise ValueError("a path is empty or has a zero byte")


def _validate_norms(embeddings: Floats) -> None:
    squares = np.einsum("ij,ij->i", embeddings, embeddings)
    # Written this way round, what is not a number fails too.
    if not np.all(np.abs(np.sqrt(squares) - 1) < _NORM_TOLERANCE):
        raise ValueError("the embeddings are not L2-normalised")


def encode_text(text: str) -> bytes:
    """A text as bytes; HDF5 strings end at a zero byte."""
    return text.replace("\0", "").encode("utf-8", "surrogateescape") if text else b""


def decode_text(text: bytes) -> str:
    """What `encode_text` was given."""
    return text.decode("utf-8", "surrogateescape") if text else ""


def fixed_length(values: Sequence[bytes]) -> NDArray[np.bytes_]:
    """As an array, padded with zero bytes to the length of the longest."""
    return np.array(values, f"S{max(map(len, values), default=0) or 1}")


def _columns(
    prefix: str, values: Mapping[str, str], kinds: Mapping[str, Any], records: Sequence[Any]
) -> dict[str, Array]:
    """What records hold as it is, a column each: a row of Python values a record would take twice as long."""
    return {
        f"{prefix}.{name}": np.fromiter(map(attrgetter(place), records), kinds[name], len(records))
        for name, place in values.items()
    }


def _points(faces: Sequence[Face]) -> Floats:
    """Landmarks, float32 (n, 5, 2): the first five of each face, filled up with NaN."""
    points = chain.from_iterable((*face.landmarks, *_NO_POINTS)[:POINTS] for face in faces)
    return np.fromiter(chain.from_iterable(points), "<f4", len(faces) * POINTS * 2).reshape(-1, POINTS, 2)


def _qualities(faces: Sequence[Face]) -> Floats:
    """float32 (n, 5), NaN where it was not measured."""
    parts = attrgetter("score", "size", "sharpness", "frontality", "brightness")
    values = chain.from_iterable(parts(face.quality or _NO_QUALITY) for face in faces)
    return np.fromiter(values, "<f4", len(faces) * 5).reshape(-1, 5)


def _join_digests(digests: Iterable[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), "|u1").reshape(-1, DIGEST_BYTES)


def _row_type(columns: Mapping[str, Any]) -> np.dtype[np.void]:
    return np.dtype(
        [(name, *kind) if isinstance(kind, tuple) else (name, kind) for name, kind in columns.items()]
    )


def _as_bytes(digests: Array) -> NDArray[np.uint8]:
    return np.ascontiguousarray(digests).view("|u1").reshape(len(digests), DIGEST_BYTES)


def _strings(name: str, values: Sequence[bytes]) -> dict[str, Array]:
    lengths = np.fromiter(map(len, values), "<u4", len(values))
    return {f"{name}.lengths": lengths, f"{name}.bytes": np.frombuffer(b"".join(values), "|u1")}


def _split(arrays: Mapping[str, Array], name: str) -> list[bytes]:
    text = arrays[f"{name}.bytes"].tobytes()
    values, start = [], 0
    for length in arrays[f"{name}.lengths"].tolist():
        values.append(text[start : start + length])
        start += length
    return values


def _cut_digests(digests: Array) -> list[bytes]:
    data = digests.tobytes()
    return [data[k : k + DIGEST_BYTES] for k in range(0, len(data), DIGEST_BYTES)]


class _Rows:
    """Rows of a table that grows, in one structured array with room to spare."""

    def __init__(self, columns: Mapping[str, Any], count: int) -> None:
        self._data = np.zeros(count, _row_type(columns))
        self.count = count

    def __getitem__(self, name: str) -> Array:
        return self._data[name][: self.count]

    def grow(self, count: int) -> slice:
        """Adds rows; their place."""
        start, self.count = self.count, self.count + count
        if self.count > len(self._data):
            room = np.zeros(max(self.count, 2 * len(self._data), 1024), self._data.dtype)
            room[:start] = self._data[:start]
            self._data = room
        return slice(start, self.count)


class Tables:
    """The images and faces of a store while batches are applied to them.

    A face's `source` is its place among all embeddings that were ever offered: those of the store's file,
    then those of each batch in turn, also of contents that were not taken.

    Args:
        images: To start from.
        faces: To start from; their sources are 0, 1, ...
        next_image_id: For the next new image.
        next_face_id: For the next new face.
    """

    def __init__(self, images: ImageTable, faces: FaceTable, next_image_id: int, next_face_id: int) -> None:
        self.next_image_id = next_image_id
        self.next_face_id = next_face_id
        self._images = _Rows(IMAGE_COLUMNS, len(images))
        for name in IMAGE_COLUMNS:
            column = getattr(images, name)
            self._images[name][:] = column.view(f"V{DIGEST_BYTES}").ravel() if name == "digest" else column
        self._live = bytearray(b"\1" * len(images))
        self._paths = list(images.path)
        self._reasons = list(images.reason)
        self._tags = list(images.tags)
        self._digests = _cut_digests(images.digest)
        self._roots = list(images.roots)
        self._root_numbers = {root: k for k, root in enumerate(self._roots)}
        self._row_of = {path: row for row, path in enumerate(self._paths)}

        self._faces = _Rows({**FACE_COLUMNS, "content": "<i8", "source": "<i8"}, len(faces))
        for name in FACE_COLUMNS:
            self._faces[name][:] = faces.box[:, _BOX.index(name)] if name in _BOX else getattr(faces, name)
        starts = np.flatnonzero(np.diff(faces.image, prepend=-1))
        counts = np.diff(starts, append=len(faces))
        self._faces["content"][:] = np.repeat(np.arange(len(starts)), counts)
        self._faces["source"][:] = np.arange(len(faces))
        self._contents = [self._digests[row] for row in faces.image[starts].tolist()]
        self._known = set(self._contents)
        self._sources = len(faces)

    def apply(self, batch: Mapping[str, Array]) -> None:
        """Applies the arrays of one batch, in the order `Batch` gives."""
        self._move(_split(batch, "moved.old"), _split(batch, "moved.new"))
        for path in _split(batch, "removed"):
            self._drop_image(path)
        self._add_contents(batch)
        self._put_images(batch)

    def images(self) -> ImageTable:
        """The images that are left, with fresh arrays."""
        live = np.flatnonzero(np.frombuffer(self._live, np.bool_))
        rows = live.tolist()
        columns = {name: self._images[name][live] for name in IMAGE_COLUMNS}
        columns["digest"] = _as_bytes(columns["digest"])
        used, columns["root"] = np.unique(columns["root"], return_inverse=True)
        columns["root"] = columns["root"].astype(np.int32)
        return ImageTable(
            **columns,
            path=[self._paths[row] for row in rows],
            roots=[self._roots[k] for k in used.tolist()],
            reason=[self._reasons[row] for row in rows],
            tags=[self._tags[row] for row in rows],
            first=first_rows(columns["digest"]),
        )

    def faces(self, images: ImageTable) -> tuple[FaceTable, NDArray[np.int64]]:
        """The faces of contents that an image has, and their sources.

        Args:
            images: What `images` gave.
        """
        row_of = {digest: row for row, digest in enumerate(_cut_digests(images.digest))}
        rows = np.array([row_of.get(digest, -1) for digest in self._contents], np.int64)
        live = np.flatnonzero(rows[self._faces["content"]] >= 0)
        columns = {name: self._faces[name][live] for name in FACE_COLUMNS}
        columns["image"] = images.first[rows[self._faces["content"][live]]]
        return face_table(columns), self._faces["source"][live]

    def _move(self, old: Iterable[bytes], new: Iterable[bytes]) -> None:
        # All leave before any arrives, so that a chain or a swap works.
        taken = [
            (target, self._row_of.pop(source))
            for source, target in zip(old, new, strict=True)
            if source in self._row_of
        ]
        for path, row in taken:
            self._drop_image(path)
            self._row_of[path] = row
            self._paths[row] = path

    def _drop_image(self, path: bytes) -> None:
        row = self._row_of.pop(path, None)
        if row is not None:
            self._live[row] = False

    def _add_contents(self, batch: Mapping[str, Array]) -> None:
        counts = batch["content.faces"]
        taken = []
        place = self._faces.count
        for digest, count in zip(_cut_digests(batch["content.digest"]), counts.tolist(), strict=True):
            fresh = count > 0 and digest not in self._known
            taken.append(fresh)
            if fresh:
                self._known.add(digest)
                self._contents.append(digest)
                place += count
        offered = int(counts.sum())
        chosen = np.flatnonzero(np.repeat(np.array(taken, np.bool_), counts))
        contents = len(self._contents) - sum(taken) + np.arange(sum(taken))
        added = self._faces.grow(len(chosen))
        for name in FACE_COLUMNS:
            if f"face.{name}" in batch:
                self._faces[name][added] = batch[f"face.{name}"][chosen]
            elif name != "id":
                self._faces[name][added] = ADDED_COLUMNS[f"faces/{name}"]
        self._faces["id"][added] = self.next_face_id + np.arange(len(chosen))
        self._faces["content"][added] = np.repeat(contents, counts[np.array(taken, np.bool_)])
        self._faces["source"][added] = self._sources + chosen
        self.next_face_id += len(chosen)
        self._sources += offered

    def _put_images(self, batch: Mapping[str, Array]) -> None:
        rows = []
        digests = _cut_digests(batch["image.digest"])
        names, reasons = _split(batch, "image.path"), _split(batch, "image.reason")
        tags = _split(batch, "image.tags") if "image.tags.bytes" in batch else [b""] * len(names)
        for path, digest, reason, tag in zip(names, digests, reasons, tags, strict=True):
            row = self._row_of.get(path)
            if row is None or self._digests[row] != digest:
                self._drop_image(path)
                row = self._append_image(path, digest)
            self._reasons[row], self._tags[row] = decode_text(reason), decode_text(tag)
            rows.append(row)
        added = self._images.grow(len(self._paths) - self._images.count)
        ids = self.next_image_id + np.arange(added.stop - added.start)
        self._images["id"][added] = ids
        self.next_image_id += len(ids)
        place = np.array(rows, np.int64)
        for name in IMAGE_COLUMNS:
            if name not in ("id", "root", "digest", "indexed_at"):
                added_later = ADDED_COLUMNS.get(f"images/{name}")
                self._images[name][place] = batch.get(f"image.{name}", added_later)
        # An image that is put again keeps its first time, like its id.
        if "image.indexed_at" in batch and len(ids):
            fresh = place >= added.start
            self._images["indexed_at"][place[fresh]] = batch["image.indexed_at"][fresh]
        self._images["digest"][place] = np.frombuffer(b"".join(digests), f"V{DIGEST_BYTES}")
        self._images["root"][place] = self._number_roots(batch)[batch["image.root"]]

    def _append_image(self, path: bytes, digest: bytes) -> int:
        row = self._row_of[path] = len(self._paths)
        self._live.append(True)
        self._paths.append(path)
        self._digests.append(digest)
        self._reasons.append("")
        self._tags.append("")
        return row

    def _number_roots(self, batch: Mapping[str, Array]) -> NDArray[np.int32]:
        numbers = []
        for root in zip(_split(batch, "root.path"), _split(batch, "root.mount"), strict=True):
            if root not in self._root_numbers:
                self._root_numbers[root] = len(self._roots)
                self._roots.append(root)
            numbers.append(self._root_numbers[root])
        return np.array(numbers, np.int32)


def empty_tables() -> tuple[ImageTable, FaceTable]:
    """No images and no faces."""
    images = {name: np.empty(0, kind) for name, kind in IMAGE_COLUMNS.items()}
    images["digest"] = _as_bytes(images["digest"])
    faces = np.empty(0, _row_type({**FACE_COLUMNS, "image": "<i8"}))
    return (
        ImageTable(**images, path=[], roots=[], reason=[], tags=[], first=np.empty(0, np.int64)),
        face_table({name: faces[name] for name in faces.dtype.names or ()}),
    )


def first_rows(digest: NDArray[np.uint8]) -> NDArray[np.int64]:
    """For each image the row of the first one with its digest; its own row where it has none.

    Args:
        digest: uint8 (n, 32), zeros where unknown.
    """
    words = np.ascontiguousarray(digest).view(np.uint64)
    order = np.argsort(words[:, 0], kind="stable")  # within a group by row
    ordered = words[order]
    tied = ordered[1:, 0] == ordered[:-1, 0]
    if (ordered[1:][tied] != ordered[:-1][tied]).any():  # one in 2^64, unless somebody made them so
        order = np.lexsort(words.T)
        ordered = words[order]
    start = np.ones(len(order), np.bool_)
    start[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    start |= ~ordered.any(axis=1)
    first = np.empty(len(order), np.int64)
    first[order] = order[np.flatnonzero(start)[np.cumsum(start) - 1]]
    return first


def face_table(columns: Mapping[str, Array]) -> FaceTable:
    """A `FaceTable` from its columns, the box in four."""
    return FaceTable(
        id=columns["id"],
        image=columns["image"],
        number=columns["number"],
        box=np.stack([columns[name] for name in _BOX], axis=1),
        confidence=columns["confidence"],
        landmarks=columns["landmarks"],
        quality=columns["quality"],
    )
