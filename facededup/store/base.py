"""What every store offers. The records that go in and come out are those of `records`, to be had here too.

A store holds *images* (one row a path) and *contents* (the faces and embeddings of one file content, stored
once however many images have it). Ids of images and faces ascend in row order and are never used twice, so
that findings outlive a moved file, a new run and a compaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from facededup.errors import UsageError
from facededup.store.records import (
    DIGEST_BYTES,
    FORMAT,
    Batch,
    ClusterTable,
    Content,
    FaceTable,
    Fingerprint,
    ImageRecord,
    ImageTable,
    Neighbours,
    PairBlock,
    Repair,
)
from facededup.types import Array, Decision, Floats

__all__ = [
    "DIGEST_BYTES",
    "FORMAT",
    "PAIRS_AT_ONCE",
    "UNFINISHED_COPY",
    "Batch",
    "ClusterTable",
    "Content",
    "FaceTable",
    "Findings",
    "FindingsWriter",
    "Fingerprint",
    "ImageRecord",
    "ImageTable",
    "Neighbours",
    "PairBlock",
    "Repair",
    "SearchLog",
    "Snapshot",
    "Store",
    "Writer",
    "pair_blocks",
    "refuse_unfinished",
]

UNFINISHED_COPY = "copy"
"""Entry of `info`: the source of a copy, and when it was finished; None while it was not."""


class Findings(Protocol):
    """The stored result of the last `find`. Pairs are between contents: copies are expanded on output."""

    @property
    def meta(self) -> Mapping[str, Any]:
        """Plain values: threshold, operating_cosine, complete, search, next_image_id, ..."""

    @property
    def pair_count(self) -> int:
        """Number of stored pairs."""

    def pairs(self, start: int, stop: int) -> PairBlock:
        """Stored pairs start to stop, as face ids."""

    @property
    def clusters(self) -> ClusterTable:
        """All clusters."""


PAIRS_AT_ONCE = 1 << 20


def pair_blocks(findings: Findings) -> Iterator[PairBlock]:
    """All pairs of some findings, `PAIRS_AT_ONCE` at a time."""
    for start in range(0, findings.pair_count, PAIRS_AT_ONCE):
        yield findings.pairs(start, min(start + PAIRS_AT_ONCE, findings.pair_count))


class Snapshot(Protocol):
    """A store as it was at one moment; later commits do not show. A context manager."""

    @property
    def fingerprint(self) -> Fingerprint:
        """What made it."""

    @property
    def info(self) -> Mapping[str, Any]:
        """Plain values recorded, not compared: created, facededup version, last_run, calibration, ..."""

    @property
    def images(self) -> ImageTable:
        """All images (loaded once, at first use)."""

    @property
    def faces(self) -> FaceTable:
        """All faces (loaded once, at first use)."""

    @property
    def next_image_id(self) -> int:
        """The id the next new image will get."""

    @property
    def next_face_id(self) -> int:
        """The id the next new face will get."""

    def embeddings(self, start: int, stop: int) -> Floats:
        """Rows start to stop of the embeddings, float32 (stop - start, dimension)."""

    def nearest(self, probes: Floats, k: int) -> Neighbours | None:
        """The faces with the largest inner products; None where the store cannot do better than be read.

        Args:
            probes: float32 (probes, dimension), L2-normalised, at least one.
            k: Faces wanted for each.
        """

    def findings(self) -> Findings | None:
        """The last findings, None if there are none."""

    def decisions(self) -> tuple[Decision, ...]:
        """All decisions, undone ones and undoings included, in the order they were appended."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class FindingsWriter(Protocol):
    """Takes pairs as the search finds them. Nothing shows in the store before `finish`."""

    def append(self, block: PairBlock) -> None:
        """Adds pairs (face ids)."""

    def chunks(self) -> Iterator[PairBlock]:
        """Reads back what was appended so far, in bounded blocks; may be called again and again."""

    def finish(self, meta: Mapping[str, Any], clusters: ClusterTable) -> None:
        """Puts pairs, clusters and meta into the store in one atomic step, for the findings before."""


class SearchLog(Protocol):
    """What a long search has found so far, so that it continues after a kill. Rows are those of the faces."""

    @property
    def state(self) -> Mapping[str, Array] | None:
        """What the search to be continued kept of itself in `begin`; None where there is none."""

    @property
    def covered(self) -> int:
        """How far that search came, as it told `cover`; 0 where there is none."""

    def pairs(self) -> Iterator[PairBlock]:
        """All pairs that it had found by then, as rows; `new` is all False."""

    def begin(self, state: Mapping[str, Array]) -> None:
        """Starts anew with what the search has to keep of itself, arrays whose type names are portable."""

    def append(self, block: PairBlock) -> None:
        """Adds pairs found since, as rows."""

    def cover(self, covered: int) -> None:
        """Says that everything up to some place is searched; makes it durable once in a while."""

    def keep(self) -> None:
        """Makes durable what the last `cover` said."""

    def remove(self) -> None:
        """Leaves no trace: the search is over."""


class Writer(Protocol):
    """The one writer of a store. A context manager: leaving it releases the lock and keeps every commit."""

    @property
    def snapshot(self) -> Snapshot:
        """The store as this writer found it."""

    def commit(self, batch: Batch) -> None:
        """Makes one batch durable: after return it survives a kill and a power loss.

        Raises:
            StoreWriteError: The batch could not be written; all batches before are safe.
        """

    def record(self, info: Mapping[str, Any]) -> None:
        """Merges plain values into the store's `info`, durably."""

    def append_decisions(self, decisions: Sequence[Decision]) -> None:
        """Adds to the log of decisions, durably, all or none.

        Raises:
            StoreWriteError: They could not be written.
            ValueError: A digest has not 32 bytes, a verdict is unknown or a path has a zero byte.
        """

    def forget_decisions(self, contents: Collection[bytes], paths: Collection[bytes]) -> None:
        """Removes the decisions on faces of some contents, durably, and these paths from all others.

        Their bytes are gone after `pack`.

        Args:
            contents: Digests.
            paths: Of images.
        """

    def write_findings(self) -> FindingsWriter:
        """Begins new findings; abandoned unless finished."""

    def drop_findings(self) -> None:
        """Removes the findings."""

    def search_log(self, key: bytes) -> SearchLog | None:
        """Where a search notes how far it is; None where a store keeps no such log.

        Args:
            key: 16 bytes that stand for all that decides what the search finds and in which order.
        """

    def pack(self) -> None:
        """Writes the store anew, as one file without anything that was removed.

        Pairs and clusters that name a face which is gone go with it. The writer's own snapshot need not be
        readable afterwards.

        Raises:
            StoreWriteError: It could not be written; the store is as it was.
            DamagedStoreError: The store is damaged, and stays as it is.
        """

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Store(Protocol):
    """A place for embeddings. Nothing is opened or locked before `snapshot` or `writer` is called."""

    @property
    def location(self) -> str:
        """The path or URL it was opened by, without passwords."""

    def exists(self) -> bool:
        """Whether there is a store (or something else) at the location."""

    def snapshot(self, *, unfinished: bool = False) -> Snapshot:
        """The store as it is now.

        Args:
            unfinished: Also that of a copy which was interrupted.

        Raises:
            UsageError: It is such a copy.
            StoreNotFoundError: There is none.
            DamagedStoreError: It is damaged, or no store.
            NewerFormatError: It was made by a later version.
        """

    def writer(self, fingerprint: Fingerprint | None = None, *, reset: bool = False) -> Writer:
        """Locks the store for writing.

        Args:
            fingerprint: Of a store to be made where there is none, or (with `reset`) of the emptied one. An
                existing store keeps its own; callers compare beforehand.
            reset: Drop images, faces, embeddings and findings first. Decisions stay.

        Raises:
            StoreLockedError: Another process is writing.
            UsageError: It is a copy that was interrupted, and not to be reset.
            StoreNotFoundError: There is none and no fingerprint was given.
            StoreWriteError: The place cannot be written.
            DamagedStoreError: It is damaged, or no store.
            NewerFormatError: It was made by a later version.
        """

    def disk_bytes(self) -> int:
        """Bytes the store takes, sidecar files included."""

    def kept_copies(self) -> list[str]:
        """Files beside the store in which a repair kept what was damaged."""

    def describe(self) -> Mapping[str, str]:
        """What a user should know of the server behind the store, by name; nothing for a file."""

    def check(self) -> list[str]:
        """Reads the whole store; what is wrong, a sentence each, nothing for a sound store.

        Raises:
            StoreNotFoundError: There is none.
            NewerFormatError: It was made by a later version.
        """

    def repair(self) -> Repair:
        """Puts a sound store with all that is intact in the place of a damaged one, in one atomic step.

        Raises:
            DamagedStoreError: Nothing can be kept; the store is left as it is.
            StoreNotFoundError: There is none.
            StoreLockedError: Another process is writing to it.
            StoreWriteError: The new store cannot be written; the old one is untouched.
        """


def refuse_unfinished(snapshot: Snapshot, opened: Snapshot | Writer, location: str) -> None:
    """Does nothing to a store that is no copy, or a whole one.

    Args:
        snapshot: Of the store.
        opened: What is closed if the store is refused.
        location: For the message.

    Raises:
        UsageError: It is a copy that was interrupted.
    """
    mark = snapshot.info.get(UNFINISHED_COPY)
    if mark is not None and mark["finished"] is None:
        with opened:
            raise UsageError(
                f"{location!r} is a copy of {mark['source']!r} that was interrupted: repeat it with "
                "`facededup store copy FROM TO --reset`"
            )
