"""A store in Redis as it was at one moment: what was committed by then is never changed, only replaced."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.errors import NewerFormatError, StoreNotFoundError
from facededup.store.base import FaceTable, Fingerprint, ImageTable
from facededup.store.closing import Closing
from facededup.store.decisions import read_decisions
from facededup.store.journal import unpack_arrays
from facededup.store.redis import chunks, scripts
from facededup.store.redis.findings import RedisFindings
from facededup.store.redis.server import GRACE_SECONDS, Address, connect, damaged, speaking, unseal
from facededup.store.tables import Tables
from facededup.types import Decision, Floats

FORMAT = 1
_FIELDS = 256
"""Fields asked for at once."""


@dataclass(frozen=True, slots=True)
class State:
    """What the hashes `store` and `info` say."""

    uuid: str
    fingerprint: Fingerprint
    epoch: str
    generation: int
    batches: int
    run: str
    log: str
    decisions: int
    info: Mapping[str, Any]


def read_state(client: Any, address: Address) -> State:
    """The state of a store at one moment.

    Raises:
        StoreNotFoundError: There is no store.
        DamagedStoreError: The keys hold something else.
        NewerFormatError: It was made by a later version.
    """
    with speaking(address):
        with client.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(address.key("store"))
            pipeline.hgetall(address.key("info"))
            head, info = pipeline.execute()
        if not head:
            raise StoreNotFoundError(
                f"there is no store at {address.location!r}: make one with `facededup index`"
            )
        fields = {name.decode(): value.decode() for name, value in head.items()}
        if int(fields["format"]) > FORMAT:
            raise NewerFormatError(
                f"the store {address.location!r} has format {fields['format']}, this version knows up to "
                f"{FORMAT}; update facededup"
            )
        return State(
            uuid=fields["uuid"],
            fingerprint=Fingerprint(**json.loads(fields["fingerprint"])),
            epoch=fields["epoch"],
            generation=int(fields["generation"]),
            batches=int(fields["batches"]),
            run=fields["run"],
            log=fields["log"],
            decisions=int(client.llen(address.key("decisions", fields["log"]))),
            info={name.decode(): json.loads(value) for name, value in info.items()},
        )


class RedisSnapshot(Closing):
    """See `base.Snapshot`.

    Raises:
        StoreNotFoundError: There is no store.
        JobError: The server cannot be reached.
        DamagedStoreError: The keys hold no store, or a damaged one.
        NewerFormatError: It was made by a later version.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._client = connect(address)
        try:
            self.state = read_state(self._client, address)
        except BaseException:
            self._client.close()
            raise

    @property
    def fingerprint(self) -> Fingerprint:
        """See `base.Snapshot`."""
        return self.state.fingerprint

    @property
    def info(self) -> Mapping[str, Any]:
        """See `base.Snapshot`."""
        return self.state.info

    @property
    def images(self) -> ImageTable:
        """See `base.Snapshot`."""
        return self._tables.images

    @property
    def faces(self) -> FaceTable:
        """See `base.Snapshot`."""
        return self._tables.faces

    @property
    def next_image_id(self) -> int:
        """See `base.Snapshot`."""
        return self._tables.next_image_id

    @property
    def next_face_id(self) -> int:
        """See `base.Snapshot`."""
        return self._tables.next_face_id

    def embeddings(self, start: int, stop: int) -> Floats:
        """See `base.Snapshot`."""
        tables, dimension = self._tables, self.fingerprint.dimension
        source = tables.source[start:stop]
        rows = np.empty((len(source), dimension), np.float32)
        if not len(source):
            return rows
        part = np.searchsorted(tables.starts, source, side="right") - 1
        needed, place = np.unique(part, return_index=True)
        values = self._read("vectors", [tables.fields[k] for k in needed.tolist()])
        with speaking(self._address):
            for k, begin, end, value in zip(
                needed.tolist(), place, [*place[1:], len(source)], values, strict=True
            ):
                vectors = np.frombuffer(unseal(value, self._address), "<f4").reshape(-1, dimension)
                if len(vectors) != tables.starts[k + 1] - tables.starts[k]:
                    raise damaged(self._address)
                rows[begin:end] = vectors[source[begin:end] - tables.starts[k]]
        return rows

    def nearest(self, probes: Floats, k: int) -> None:
        """See `base.Snapshot`; Redis does not look for itself."""

    def findings(self) -> RedisFindings | None:
        """See `base.Snapshot`."""
        if not self.state.run:
            return None
        return RedisFindings(self._address, self.state.run, self._read)

    def decisions(self) -> tuple[Decision, ...]:
        """See `base.Snapshot`."""
        with speaking(self._address):
            count = self.state.decisions
            entries = (
                self._client.lrange(self._address.key("decisions", self.state.log), 0, count - 1)
                if count
                else []
            )
            if len(entries) != count:
                unseal(None, self._address)
            return tuple(
                decision
                for entry in entries
                for decision in read_decisions(unpack_arrays(unseal(entry, self._address)))
            )

    def close(self) -> None:
        """Lets the connections go."""
        self._client.close()

    def _read(self, name: str, fields: Sequence[object]) -> list[bytes | None]:
        """Some fields of a hash; while the state is read, it stays."""
        generation = self.state.generation
        keys = [self._address.key(key, generation) for key in ("base", "batches", "vectors")]
        own = self._address.key(name, generation) if ":" not in name else self._address.key(name)
        values: list[bytes | None] = []
        with speaking(self._address):
            for start in range(0, len(fields), _FIELDS):
                few = fields[start : start + _FIELDS]
                values += self._client.eval(scripts.READ, 1 + len(keys), own, *keys, GRACE_SECONDS, *few)
        return values

    @cached_property
    def _tables(self) -> _Tables:
        header, roots = self._read("base", ["header", "roots"])
        with speaking(self._address):
            counts = json.loads(bytes(unseal(header, self._address)))
            images, faces = (
                self._unsealed("base", [f"{name}:{k}" for k in range(-(-counts[name] // chunks.ROWS))])
                for name in ("images", "faces")
            )
            image_table = chunks.read_images(
                images, unpack_arrays(unseal(roots, self._address)) if images else {}
            )
            tables = Tables(
                image_table, chunks.read_faces(faces), counts["next_image_id"], counts["next_face_id"]
            )
            fields = [f"b{k}" for k in range(-(-counts["faces"] // chunks.ROWS))]
            starts = [rows.start for rows in chunks.slices(counts["faces"])] + [counts["faces"]]
            for start in range(0, self.state.batches, _FIELDS):
                numbers = list(map(str, range(start, min(start + _FIELDS, self.state.batches))))
                for number, batch in zip(numbers, self._unsealed("batches", numbers), strict=True):
                    arrays = unpack_arrays(batch)
                    tables.apply(arrays)
                    fields.append(number)
                    starts.append(starts[-1] + int(arrays["content.faces"].sum()))
            return _Tables(tables, fields, starts)

    def _unsealed(self, name: str, fields: Sequence[object]) -> list[memoryview]:
        return [unseal(value, self._address) for value in self._read(name, fields)]


class _Tables:
    """The tables after the last batch, and where the embeddings are."""

    def __init__(self, tables: Tables, fields: list[str], starts: Iterable[int]) -> None:
        self.images = tables.images()
        self.faces, self.source = tables.faces(self.images)
        self.next_image_id, self.next_face_id = tables.next_image_id, tables.next_face_id
        self.fields = fields
        self.starts: NDArray[np.int64] = np.array(starts)
