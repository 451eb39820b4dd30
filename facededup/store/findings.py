"""Findings in the store's HDF5 file: read from it, and written into the file that will replace it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from facededup.store.base import ClusterTable, PairBlock
from facededup.store.basefile import (
    new_file,
    read_column,
    read_text,
    reading,
    write_column,
    write_text,
)
from facededup.store.crypto import StoreKey
from facededup.store.files import NewFile, writing
from facededup.store.living import living_clusters, living_pairs
from facededup.store.pairbuffer import PairBuffer
from facededup.store.sealed import new_target
from facededup.types import Array

_BUFFER_PAIRS = 1 << 20
_CHUNK_PAIRS = 1 << 16
_SMALL_CHUNK_PAIRS = 1 << 10
_COLUMNS = ("a", "b", "cosine", "new")
_CLUSTER_COLUMNS = ("offsets", "members", "min_cosine", "new")
_SHAPE_COLUMNS = ("mean_cosine", "medoid", "bridge")
"""Findings of the first version lack them."""


class Hdf5Findings:
    """The findings of a snapshot; see `base.Findings`. Readable while the snapshot is open.

    Raises:
        DamagedStoreError: They cannot be read.
    """

    def __init__(self, path: str, group: h5py.Group) -> None:
        self._path = path
        self._group = group
        with reading(path):
            self._meta: dict[str, Any] = json.loads(read_text(group, "meta"))
            self._columns = {name: group[f"pairs/{name}"] for name in _COLUMNS}
            lengths = {column.shape for column in self._columns.values()}
            if len(lengths) != 1:
                raise ValueError("pairs of different lengths")

    @property
    def meta(self) -> Mapping[str, Any]:
        """See `base.Findings`."""
        return self._meta

    @property
    def pair_count(self) -> int:
        """See `base.Findings`."""
        return int(self._columns["a"].shape[0])

    def pairs(self, start: int, stop: int) -> PairBlock:
        """See `base.Findings`."""
        with reading(self._path):
            return _read_pairs(self._columns, start, stop)

    @cached_property
    def clusters(self) -> ClusterTable:
        """See `base.Findings`."""
        with reading(self._path):
            names = _CLUSTER_COLUMNS + tuple(
                name for name in _SHAPE_COLUMNS if name in self._group["clusters"]
            )
            columns = {name: read_column(self._group, f"clusters/{name}") for name in names}
            keys = [key.decode("ascii") for key in read_column(self._group, "clusters/key").tolist()]
            offsets = columns["offsets"]
            if offsets[0] != 0 or offsets[-1] != len(columns["members"]) or (np.diff(offsets) < 0).any():
                raise ValueError("cluster offsets do not fit their members")
            if not len(keys) == len(offsets) - 1 == len(columns["min_cosine"]) == len(columns["new"]):
                raise ValueError("clusters of different lengths")
            lengths = {"bridge": len(columns["members"])}
            if any(
                len(columns[name]) != lengths.get(name, len(keys)) for name in names[len(_CLUSTER_COLUMNS) :]
            ):
                raise ValueError("clusters of different lengths")
            return ClusterTable(key=keys, **columns)


class Hdf5FindingsWriter:
    """Streams pairs into a new file that `finish` completes and puts in place; see `base.FindingsWriter`.

    Args:
        path: Of the store, for messages.
        temporary: Name of the new file.
        next_face_id: Bounds the ids that will come.
        complete: Writes all the rest of the store into the file, closes it and puts it in place.
        store_key: Of an encrypted store.

    Raises:
        StoreWriteError: The new file cannot be made.
    """

    def __init__(
        self,
        path: str,
        temporary: str,
        next_face_id: int,
        complete: Callable[[NewFile, h5py.File], None],
        store_key: StoreKey | None,
    ) -> None:
        self._path = path
        self._complete = complete
        with writing(path):
            self._target = new_target(temporary, path, store_key)
        self._file = new_file(self._target)
        self._next_face_id = next_face_id
        self._columns: dict[str, h5py.Dataset] = {}
        self._stored = 0
        self._buffer = PairBuffer()

    def append(self, block: PairBlock) -> None:
        """See `base.FindingsWriter`."""
        self._buffer.add(block)
        if len(self._buffer) >= _BUFFER_PAIRS:
            self._spill()

    def chunks(self) -> Iterator[PairBlock]:
        """See `base.FindingsWriter`."""
        self._spill()
        for start in range(0, self._stored, _BUFFER_PAIRS):
            with self._target.filling(self._path):
                block = _read_pairs(self._columns, start, min(start + _BUFFER_PAIRS, self._stored))
            yield block

    def finish(self, meta: Mapping[str, Any], clusters: ClusterTable) -> None:
        """See `base.FindingsWriter`."""
        self._spill()
        with self._target.filling(self._path):
            self._create_columns()
            _write_rest(self._file["findings"], meta, clusters)
        self._complete(self._target, self._file)

    def abandon(self) -> None:
        """Leaves no trace, unless it was finished."""
        self._file.close()
        self._target.abandon()

    def _create_columns(self) -> None:
        """As late as can be: how many pairs are there says how large a chunk is worth its room."""
        if not self._columns:
            self._columns = _create_columns(self._file, self._next_face_id, len(self._buffer))

    def _spill(self) -> None:
        if not len(self._buffer):
            return
        with self._target.filling(self._path):
            self._create_columns()
            block = self._buffer.take()
            for name, column in self._columns.items():
                _extend(column, getattr(block, name))
        self._stored += len(block)


def copy_living(findings: Hdf5Findings, file: h5py.File, ids: NDArray[np.int64]) -> None:
    """Writes findings into a new file, without the pairs and clusters that name a face which is gone.

    Args:
        findings: To be copied.
        file: Open for writing.
        ids: Of the faces that are left, ascending.

    Raises:
        DamagedStoreError: The findings are damaged.
    """
    columns = _create_columns(file, int(ids[-1]) + 1 if len(ids) else 0, findings.pair_count)
    for block in living_pairs(findings, ids):
        for name, column in columns.items():
            _extend(column, getattr(block, name))
    _write_rest(file["findings"], findings.meta, living_clusters(findings.clusters, ids))


def _create_columns(file: h5py.File, next_face_id: int, count: int) -> dict[str, h5py.Dataset]:
    # A chunk takes its full size on disk.
    chunks = (min(_CHUNK_PAIRS, max(count, _SMALL_CHUNK_PAIRS)),)
    face_id = "<u4" if next_face_id <= 1 << 32 else "<i8"
    kinds = {"a": face_id, "b": face_id, "cosine": "<f8", "new": "|b1"}
    return {
        name: file.create_dataset(
            f"findings/pairs/{name}", (0,), kind, maxshape=(None,), chunks=chunks, fletcher32=True
        )
        for name, kind in kinds.items()
    }


def _extend(column: h5py.Dataset, values: Array) -> None:
    start = column.shape[0]
    column.resize((start + len(values),))
    column[start:] = values


def _write_rest(group: h5py.Group, meta: Mapping[str, Any], clusters: ClusterTable) -> None:
    write_text(group, "meta", json.dumps(dict(meta)))
    for name in _CLUSTER_COLUMNS + _SHAPE_COLUMNS:
        column = getattr(clusters, name)
        if column is not None:
            write_column(group, f"clusters/{name}", column)
    write_column(group, "clusters/key", np.array(clusters.key, "S12"))


def _read_pairs(columns: Mapping[str, h5py.Dataset], start: int, stop: int) -> PairBlock:
    a, b, cosine, new = (columns[name][start:stop] for name in _COLUMNS)
    return PairBlock(a.astype(np.int64), b.astype(np.int64), cosine, new)
