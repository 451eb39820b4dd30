"""The store's HDF5 file: written once, then only read, every row checked before it is handed out.

    /                format, uuid, generation, fingerprint, info, next_image_id, next_face_id (attributes)
    /images          one-dimensional columns, a row an image; /roots: path and mount
    /faces           one-dimensional columns, a row a face; `image` is a row of /images
    /embeddings      float32 (faces, dimension), L2-normalised
    /checksums       embeddings: CRC-32 of each block of 4,096 rows
    /findings        meta (attribute), pairs (a, b, cosine, new),
                     clusters (offsets, members, key, min_cosine, new)
    /decisions       one-dimensional columns, a row a decision

Each column of /images, /roots, /faces, /decisions and the clusters carries the CRC-32 of each 4,096 values
as the attribute `crc32`; pairs have HDF5's own checksums, and so has the structure of the file (format 1.10).
All texts have a fixed length: what HDF5 keeps of others has no checksum, and reading it when damaged can hang
the library. A column that later versions of format 1 added may be missing (see `tables.ADDED_COLUMNS`).
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from facededup.errors import DamagedStoreError, JobError, NewerFormatError, StoreNotFoundError, UsageError
from facededup.store.base import DIGEST_BYTES, FORMAT, FaceTable, Fingerprint, ImageTable
from facededup.store.crypto import Key, StoreKey
from facededup.store.decisions import decision_columns, read_decisions
from facededup.store.files import NewFile
from facededup.store.sealed import SealedFile, is_sealed
from facededup.store.tables import (
    ADDED_COLUMNS,
    FACE_COLUMNS,
    IMAGE_COLUMNS,
    TEXT_COLUMNS,
    decode_text,
    encode_text,
    face_table,
    first_rows,
    fixed_length,
)
from facededup.types import Array, Decision, Floats

BLOCK = 4096
"""Rows under one checksum."""

_WIDE = 256
"""Bytes of a text from which on a column is compressed."""


@dataclass(frozen=True, slots=True)
class Header:
    """The attributes of the file's root. `uuid` has 16 bytes."""

    uuid: bytes
    generation: int
    fingerprint: Fingerprint
    info: Mapping[str, Any]
    next_image_id: int
    next_face_id: int


@contextmanager
def reading(path: str) -> Iterator[None]:
    """Turns what h5py raises on a bad file into one sentence.

    Raises:
        DamagedStoreError: The file is damaged, or no store.
    """
    try:
        yield
    except (OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, OverflowError) as exc:
        raise DamagedStoreError(
            f"{path!r} is damaged, or is no store of facededup; "
            "run `facededup verify`, restore it from a backup, or choose another"
        ) from exc


@contextmanager
def opened(
    path: str, key: Key | None, *, rescue: bool = False
) -> Iterator[tuple[h5py.File, StoreKey | None]]:
    """The file as HDF5 reads it, and the store's own key if it is encrypted.

    Args:
        path: Of the file.
        key: The user's; not looked at where the file is not encrypted.
        rescue: Take what is left of a damaged encrypted file.

    Raises:
        DamagedStoreError: It is damaged, or no store.
        WrongKeyError: It is encrypted, and the key is missing or another.
        NewerFormatError: A later version encrypted it.
    """
    with ExitStack() as stack:
        store_key = None
        with reading(path):
            if is_sealed(path):
                sealed = stack.enter_context(closing(SealedFile(path, key, rescue=rescue)))
                store_key = sealed.store_key
                file = stack.enter_context(h5py.File(sealed, "r"))
            else:
                file = stack.enter_context(h5py.File(path, "r", locking=False))
        yield file, store_key


class BaseFile:
    """The file opened for reading. It stays readable when another is put in its place.

    Args:
        path: Of the file.
        key: The user's, of an encrypted one.

    Attributes:
        header: The attributes of the file's root.
        store_key: Of an encrypted store, None for any other.

    Raises:
        WrongKeyError: It is encrypted, and the key is missing or another.
        StoreNotFoundError: There is no file.
        UsageError: It is a folder.
        JobError: It may not be read.
        DamagedStoreError: It is damaged, or no store.
        NewerFormatError: It was made by a later version.
    """

    def __init__(self, path: str, key: Key | None = None) -> None:
        self._path = path
        refuse_unreadable(path)
        self._open = ExitStack()
        try:
            self._file, self.store_key = self._open.enter_context(opened(path, key))
            with reading(path):
                self.header = read_header(path, self._file)
                self._embeddings = self._file["embeddings"]
                self._checksums = self._file["checksums/embeddings"][:]
                self._refuse_misshapen()
        except BaseException:
            self.close()
            raise
        self._checked = np.zeros(len(self._checksums), np.bool_)

    @cached_property
    def images(self) -> ImageTable:
        """All images."""
        with reading(self._path):
            columns = {name: self._column(f"images/{name}") for name in IMAGE_COLUMNS}
            digest = columns["digest"].view(np.uint8).reshape(-1, DIGEST_BYTES)
            root_paths, mounts = self._column("roots/path"), self._column("roots/mount")
            if len(columns["root"]) and not 0 <= columns["root"].min() <= columns["root"].max() < len(
                root_paths
            ):
                raise ValueError("an image has no root")
            return ImageTable(
                **{**columns, "digest": digest},
                path=self._column("images/path").tolist(),
                reason=list(map(decode_text, self._column("images/reason").tolist())),
                tags=list(map(decode_text, self._column("images/tags").tolist())),
                roots=list(zip(root_paths.tolist(), mounts.tolist(), strict=True)),
                first=first_rows(digest),
            )

    @cached_property
    def faces(self) -> FaceTable:
        """All faces."""
        with reading(self._path):
            columns = {name: self._column(f"faces/{name}") for name in (*FACE_COLUMNS, "image")}
            image = columns["image"]
            if len(image) and not 0 <= image.min() <= image.max() < len(self._file["images/id"]):
                raise ValueError("a face has no image")
            return face_table(columns)

    @property
    def face_count(self) -> int:
        """Rows of the embeddings."""
        return int(self._embeddings.shape[0])

    def embeddings(self, start: int, stop: int) -> Floats:
        """Rows start to stop, each block compared with its checksum when it is first read.

        Raises:
            DamagedStoreError: A block differs from what was written.
        """
        with reading(self._path):
            for block in range(start // BLOCK, -(-stop // BLOCK)):
                if not self._checked[block]:
                    rows: Floats = self._embeddings[block * BLOCK : (block + 1) * BLOCK]
                    if zlib.crc32(rows.data) != self._checksums[block]:
                        raise ValueError(f"checksum of embeddings block {block}")
                    self._checked[block] = True
                    if start == block * BLOCK and stop <= start + BLOCK:
                        return rows[: stop - start]
            return np.asarray(self._embeddings[start:stop], np.float32)

    def decisions(self) -> tuple[Decision, ...]:
        """The decisions, in order."""
        group = self.group("decisions")
        with reading(self._path):
            return read_decision_log(group)

    def group(self, name: str) -> h5py.Group | None:
        """The group `findings` or `decisions`, None where there is none."""
        with reading(self._path):
            # `get` and `in` take a group that is damaged for one that is not there.
            return self._file[name] if name in list(self._file) else None

    def close(self) -> None:
        """Lets the file go."""
        self._open.close()

    def _refuse_misshapen(self) -> None:
        images = self._shapes("images", (*IMAGE_COLUMNS, *TEXT_COLUMNS))
        faces = self._shapes("faces", (*FACE_COLUMNS, "image"))
        roots = self._shapes("roots", ("path", "mount"))
        count = self._embeddings.shape[0]
        if (
            len(images) != 1
            or len(roots) != 1
            or faces != {(count,)}
            or len(self._checksums) != -(-count // BLOCK)
        ):
            raise ValueError("columns of different lengths")
        if self._embeddings.shape != (count, self.header.fingerprint.dimension):
            raise ValueError("embeddings of another dimension")

    def _shapes(self, group: str, names: Sequence[str]) -> set[tuple[int, ...]]:
        # A tenth of the time of h5py's objects, and this is asked of every column whenever a store is opened.
        there = [name for name in (f"{group}/{name}" for name in names) if name not in self._absent]
        return {h5py.h5d.open(self._file.id, name.encode()).shape for name in there}

    @cached_property
    def _absent(self) -> frozenset[str]:
        """The columns that came after this file was written."""
        # `in` takes a group that is damaged for one that is not there.
        there = {f"{group}/{name}" for group in ("images", "faces") for name in list(self._file[group])}
        return frozenset(ADDED_COLUMNS) - there

    def _column(self, name: str) -> Array:
        if name not in self._absent:
            return read_column(self._file, name)
        group, _, column = name.partition("/")
        count = self._file[f"{group}/id"].shape[0]
        kind = {**IMAGE_COLUMNS, **FACE_COLUMNS, "tags": "S1"}[column]
        return np.full(count, ADDED_COLUMNS[name], kind)


def read_header(path: str, file: h5py.File, *, with_info: bool = True) -> Header:
    """The attributes of a file's root; `info` is empty where it is not wanted.

    Raises:
        NewerFormatError: A later version made it.
        UsageError: It has an older format; see `migrate`.
        Exception: Whatever h5py and json raise on a damaged file; wrap the call in `reading`.
    """
    attributes = file.attrs
    version = int(attributes["format"])
    if version > FORMAT:
        raise NewerFormatError(
            f"the store {path!r} was made by a later version of facededup; update facededup"
        )
    if version < FORMAT:
        raise UsageError(
            f"the store {path!r} was made by an earlier version of facededup; "
            "`facededup store pack` brings it up to date"
        )
    return Header(
        uuid=bytes.fromhex(read_text(file, "uuid")),
        generation=int(attributes["generation"]),
        fingerprint=Fingerprint(**json.loads(read_text(file, "fingerprint"))),
        info=json.loads(read_text(file, "info")) if with_info else {},
        next_image_id=int(attributes["next_image_id"]),
        next_face_id=int(attributes["next_face_id"]),
    )


def refuse_unreadable(path: str) -> None:
    """Says what is wrong with a path that cannot be opened at all.

    Raises:
        StoreNotFoundError: There is nothing.
        UsageError: It is a folder.
        JobError: It may not be read.
    """
    if os.path.isdir(path):
        raise UsageError(
            f"{path!r} is a folder; --store names the store's file, such as facededup.h5 inside it"
        )
    try:
        with open(path, "rb"):
            pass
    except (FileNotFoundError, NotADirectoryError) as exc:
        raise StoreNotFoundError(
            f"there is no store at {path!r}; make one with `facededup index PATH`"
        ) from exc
    except OSError as exc:
        raise JobError(f"the store {path!r} cannot be read: {exc.strerror}") from exc


def new_file(target: NewFile) -> h5py.File:
    """An empty HDF5 file in `target`, of a format that HDF5 1.10 and later read."""
    return h5py.File(target, "w", libver=("v110", "v110"))


def write_base(
    file: h5py.File,
    header: Header,
    *,
    images: ImageTable,
    faces: FaceTable,
    embeddings: Iterator[Floats],
    decisions: Sequence[Decision],
) -> None:
    """Writes everything but the findings.

    Args:
        file: Open for writing.
        header: Becomes the root's attributes.
        images: All images.
        faces: All faces.
        embeddings: Their embeddings in blocks of `BLOCK` rows, the last one shorter.
        decisions: All decisions, in order.
    """
    file.attrs["format"] = FORMAT
    write_text(file, "uuid", header.uuid.hex())
    file.attrs["generation"] = header.generation
    write_text(file, "fingerprint", json.dumps(header.fingerprint.to_dict()))
    write_text(file, "info", json.dumps(dict(header.info)))
    file.attrs["next_image_id"] = header.next_image_id
    file.attrs["next_face_id"] = header.next_face_id

    for name in IMAGE_COLUMNS:
        values = getattr(images, name)
        write_column(
            file, f"images/{name}", values.view(f"V{DIGEST_BYTES}").ravel() if name == "digest" else values
        )
    write_column(file, "images/path", fixed_length(images.path))
    write_column(file, "images/reason", fixed_length([encode_text(text) for text in images.reason]))
    write_column(file, "images/tags", fixed_length([encode_text(text) for text in images.tags]))
    write_column(file, "roots/path", fixed_length([path for path, _ in images.roots]))
    write_column(file, "roots/mount", fixed_length([mount for _, mount in images.roots]))

    for k, name in enumerate("xywh"):
        write_column(file, f"faces/{name}", faces.box[:, k])
    for name in ("id", "image", "number", "confidence"):
        write_column(file, f"faces/{name}", getattr(faces, name))
    for name in ("landmarks", "quality"):
        write_column(file, f"faces/{name}", getattr(faces, name), np.dtype(FACE_COLUMNS[name]))

    _write_embeddings(file, len(faces), header.fingerprint.dimension, embeddings)
    log = file.create_group("decisions")
    for name, column in decision_columns(decisions).items() if decisions else ():
        write_column(log, name, column, np.dtype((column.dtype, column.shape[1:])))


def _write_embeddings(file: h5py.File, count: int, dimension: int, blocks: Iterator[Floats]) -> None:
    # Small stores get small chunks: a chunk takes its full size on disk.
    chunk = (min(count, BLOCK), dimension) if count else None
    dataset = file.create_dataset("embeddings", (count, dimension), "<f4", chunks=chunk)
    checksums: list[int] = []
    for rows in blocks:
        start = len(checksums) * BLOCK
        dataset[start : start + len(rows)] = rows
        checksums.append(zlib.crc32(np.ascontiguousarray(rows, "<f4").tobytes()))
    file.create_dataset("checksums/embeddings", data=np.array(checksums, "<u4"))


def read_decision_log(group: h5py.Group | None) -> tuple[Decision, ...]:
    """The decisions in the group that `write_base` wrote; none where it is missing or empty.

    Raises:
        Exception: Whatever h5py raises on a damaged file; wrap the call in `reading`.
    """
    names = [] if group is None else list(group)
    return read_decisions({name: read_column(group, name) for name in names}) if names else ()


def read_text(group: h5py.Group, name: str) -> str:
    """An attribute made by `write_text`.

    Raises:
        Exception: Whatever h5py raises on a damaged file; wrap the call in `reading`.
    """
    text: bytes | str = group.attrs[name]
    return text.decode() if isinstance(text, bytes) else text


def write_text(group: h5py.Group, name: str, text: str) -> None:
    """Writes an attribute of fixed length, which lies where HDF5 has checksums."""
    group.attrs[name] = np.bytes_(text.encode())


def read_column(group: h5py.Group, name: str) -> Array:
    """All values of a dataset made by `write_column`.

    Raises:
        ValueError: They differ from what was written.
        Exception: Whatever h5py raises on a damaged file; wrap the call in `reading`.
    """
    dataset = group[name]
    values: Array = dataset[:]
    if not np.array_equal(_checksums(values), dataset.attrs["crc32"]):
        raise ValueError(f"checksum of {name}")
    return values


def read_block(dataset: h5py.Dataset, block: int) -> Array | None:
    """Some `BLOCK` values of a dataset made by `write_column`, None where they are damaged."""
    try:
        values: Array = dataset[block * BLOCK : (block + 1) * BLOCK]
        sound = _crc(values) == dataset.attrs["crc32"][block]
    except Exception:  # h5py raises nearly anything on a damaged file
        return None
    return values if sound else None


def write_column(group: h5py.Group, name: str, values: Array, kind: Any = None) -> None:
    """Writes a one-dimensional dataset and its checksums; `kind` where the type is not that of the array."""
    layout: dict[str, Any] = {}
    if values.dtype.itemsize > _WIDE and len(values):
        # One long path must not make room for as many bytes in every row.
        layout = {"chunks": (min(len(values), BLOCK),), "compression": "gzip", "compression_opts": 1}
    dataset = group.create_dataset(name, values.shape[:1], kind or values.dtype, **layout)
    if len(values):
        dataset[:] = values
    dataset.attrs["crc32"] = _checksums(values)


def _checksums(values: Array) -> NDArray[np.uint32]:
    starts = range(0, max(len(values), 1), BLOCK)
    return np.array([_crc(values[start : start + BLOCK]) for start in starts], np.uint32)


def _crc(values: Array) -> int:
    return zlib.crc32(np.ascontiguousarray(values).tobytes())
