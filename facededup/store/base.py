"""What every store offers, and the records that go in and come out.

A store holds *images* (one row a path) and *contents* (the faces and embeddings of one file content, stored
once however many images have it). Ids of images and faces ascend in row order and are never used twice, so
that findings outlive a moved file, a new run and a compaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from facededup.errors import UsageError
from facededup.types import Array, Decision, Face, FileStat, Floats, Outcome

FORMAT = 1
UNFINISHED_COPY = "copy"
"""Entry of `info`: the source of a copy, and when it was finished; None while it was not."""
DIGEST_BYTES = 32
"""SHA-256 of the file's bytes; 32 zero bytes in a table, b"" in a record, for a file that was not read."""


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What made the embeddings of a store. Two that differ in any field are never mixed.

    Attributes:
        model: Catalogue name of the recognition model.
        weights: Catalogue id of its weights, one for the same weights in every engine's format.
        dimension: Length of an embedding.
        detector: Name of the face detector.
        align: How a face is cut out (`chip`: dlib's five-point chip).
        flip: Whether embeddings average a face and its mirror.
        faces: Which faces of an image are stored: `all`, `largest`, `center` or `single`.
    """

    model: str
    weights: str
    dimension: int
    detector: str
    align: str
    flip: bool
    faces: str

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image as it goes into a store.

    Attributes:
        path: Absolute, links unresolved, as the file system's bytes.
        root: The folder (or file) given to `index` under which it was found, absolute.
        mount: The mount point that held `root` then; tells an unmounted disk from a deleted file.
        stat: Of the file when it was read.
        digest: SHA-256 of its bytes, b"" where they could not be read.
        outcome: What became of it.
        reason: One sentence where the outcome is not OK, else "".
        retry: The outcome was caused by circumstances (I/O, permission, dead worker, time, memory), not by
            the content: the next run tries again.
        unresolved: Same bytes as an older image whose root cannot be reached now: neither a move nor a copy.
        width: Of the upright image, in pixels; 0 where it could not be decoded.
        height: Likewise.
        phash: Perceptual hash of the picture, 64 bits; 0 where it is not known.
        tags: What a manifest says of the image, as a JSON object; "" for nothing.
        indexed_at: When a new image was first seen, in seconds since 1970; 0 for now.
    """

    path: bytes
    root: bytes
    mount: bytes
    stat: FileStat
    digest: bytes
    outcome: Outcome
    reason: str = ""
    retry: bool = False
    unresolved: bool = False
    width: int = 0
    height: int = 0
    phash: int = 0
    tags: str = ""
    indexed_at: int = 0


@dataclass(frozen=True, slots=True)
class Content:
    """The faces of one file content. `embeddings` is float32 (k, dimension), L2-normalised, a row a face."""

    digest: bytes
    faces: tuple[Face, ...]
    embeddings: Floats


@dataclass(frozen=True, slots=True)
class Batch:
    """One durable step. Applied in this order: `moved`, `removed`, `contents`, `images`.

    A content that no image has any more shows in no table, but the writer keeps it until it closes, so that
    a file that was replaced here and turns up there within one run keeps its embedding.

    Attributes:
        images: Put under their paths; an image already there keeps its id if its digest is the same, else
            it gets a new one.
        contents: New contents; one whose digest is already known is ignored.
        moved: (old path, new path): the row keeps its id.
        removed: Paths to take out.
    """

    images: tuple[ImageRecord, ...] = ()
    contents: tuple[Content, ...] = ()
    moved: tuple[tuple[bytes, bytes], ...] = ()
    removed: tuple[bytes, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it changes nothing."""
        return not (self.images or self.contents or self.moved or self.removed)


@dataclass(frozen=True, slots=True, eq=False)
class ImageTable:
    """All images, by ascending id. Arrays have one entry a row.

    Attributes:
        id: int64.
        path: File system bytes.
        root: int32, an index into `roots`.
        roots: (root, mount) pairs.
        size: int64, bytes.
        mtime_ns: int64.
        ctime_ns: int64.
        inode: uint64.
        digest: uint8 (n, 32), zeros where unknown.
        outcome: uint8, values of `Outcome`.
        reason: Sentences.
        retry: bool.
        unresolved: bool.
        width: int32.
        height: int32.
        indexed_at: int64, when the image got its id, in seconds since 1970; 0 where that is not known.
        phash: uint64, 0 where unknown.
        tags: JSON objects, "" for none.
        first: int64, the row of the first image with the same digest; its own row where it has no digest.
    """

    id: NDArray[np.int64]
    path: list[bytes]
    root: NDArray[np.int32]
    roots: list[tuple[bytes, bytes]]
    size: NDArray[np.int64]
    mtime_ns: NDArray[np.int64]
    ctime_ns: NDArray[np.int64]
    inode: NDArray[np.uint64]
    digest: NDArray[np.uint8]
    outcome: NDArray[np.uint8]
    reason: list[str]
    retry: NDArray[np.bool_]
    unresolved: NDArray[np.bool_]
    width: NDArray[np.int32]
    height: NDArray[np.int32]
    indexed_at: NDArray[np.int64]
    phash: NDArray[np.uint64]
    tags: list[str]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.path)

    def record(self, row: int) -> ImageRecord:
        """An image as it would go into the store again."""
        root, mount = self.roots[self.root[row]]
        return ImageRecord(
            path=self.path[row],
            root=root,
            mount=mount,
            stat=FileStat(
                int(self.size[row]), int(self.mtime_ns[row]), int(self.ctime_ns[row]), int(self.inode[row])
            ),
            digest=self.digest[row].tobytes() if self.digest[row].any() else b"",
            outcome=Outcome(int(self.outcome[row])),
            reason=self.reason[row],
            retry=bool(self.retry[row]),
            unresolved=bool(self.unresolved[row]),
            width=int(self.width[row]),
            height=int(self.height[row]),
            phash=int(self.phash[row]),
            tags=self.tags[row],
        )


@dataclass(frozen=True, slots=True, eq=False)
class FaceTable:
    """All faces, by ascending id; row k belongs to row k of the embeddings.

    Attributes:
        id: int64.
        image: int64, the row of the first image with the face's content.
        number: int32, the face's number in its image, from 0.
        box: int32 (n, 4): x, y, w, h.
        confidence: float32.
        landmarks: float32 (n, 5, 2), NaN where the detector gives none.
        quality: float32 (n, 5): score, size, sharpness, frontality, brightness; NaN where unknown.
    """

    id: NDArray[np.int64]
    image: NDArray[np.int64]
    number: NDArray[np.int32]
    box: NDArray[np.int32]
    confidence: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    quality: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True, slots=True, eq=False)
class Neighbours:
    """The stored faces nearest to some probes, as a store that can look for itself finds them.

    Attributes:
        rows: int64 (probes, k), nearest first; k may be smaller than asked for.
        embeddings: float32 (probes, k, dimension), for the caller to compute the cosines itself.
        engine: What looked, for the user.
        exact: Whether these are certainly the nearest.
    """

    rows: NDArray[np.int64]
    embeddings: Floats
    engine: str
    exact: bool


@dataclass(frozen=True, slots=True, eq=False)
class PairBlock:
    """Some pairs of faces, a < b. `a` and `b` are int64: face ids in a store, rows while matching.

    Attributes:
        a: The lower one.
        b: The higher one.
        cosine: float64.
        new: bool: not in the findings before.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    cosine: NDArray[np.float64]
    new: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.a)


@dataclass(frozen=True, slots=True, eq=False)
class ClusterTable:
    """Clusters of faces; cluster k has members[offsets[k]:offsets[k + 1]].

    Attributes:
        key: Stable ids, twelve hex digits.
        offsets: int64 (m + 1,).
        members: int64 face ids. A content's faces stand for those of all its copies.
        min_cosine: float64 (m,), over all pairs of the members.
        new: bool (m,).
        mean_cosine: float64 (m,), over all pairs of the members. This and the next two are None where
            findings were stored without.
        medoid: int64 (m,), the face id of the member that is most like the others.
        bridge: bool (len(members),), members without which their cluster would fall into two groups.
    """

    key: list[str]
    offsets: NDArray[np.int64]
    members: NDArray[np.int64]
    min_cosine: NDArray[np.float64]
    new: NDArray[np.bool_]
    mean_cosine: NDArray[np.float64] | None = None
    medoid: NDArray[np.int64] | None = None
    bridge: NDArray[np.bool_] | None = None

    @property
    def numbers(self) -> NDArray[np.int64]:
        """int64 (len(members),): the place of each member's cluster."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def __len__(self) -> int:
        return len(self.key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What a repair of a damaged store kept and lost.

    Attributes:
        images: Images kept, those of `lost` included.
        faces: Embeddings kept.
        lost: Paths of the images that must be indexed again; they are FILE_ERROR until then.
        nameless: Images of which not even the path is left; `index` finds their files as new ones.
        gaps: Places of the journal where committed batches are missing.
        findings_kept: False where there were findings that had to go; run `find` again.
        decisions_kept: False where there were decisions that had to go.
        kept_as: The damaged file under its new name.
    """

    images: int
    faces: int
    lost: tuple[bytes, ...]
    nameless: int
    gaps: int
    findings_kept: bool
    decisions_kept: bool
    kept_as: str


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
