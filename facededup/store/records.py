"""The records that go into a store and the tables that come out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.types import Box, Face, FileStat, Floats, Outcome, Quality

FORMAT = 1
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
        crops: How many vertical cuts of a face embeddings average; stores that do not say it have 1.
    """

    model: str
    weights: str
    dimension: int
    detector: str
    align: str
    flip: bool
    faces: str
    crops: int = 1

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

    def record(self, row: int) -> Face:
        """A face as it would go into the store again."""
        points = self.landmarks[row]
        known = int(np.argmax(np.append(np.isnan(points).any(axis=1), True)))
        quality = self.quality[row]
        return Face(
            Box(*self.box[row].tolist()),
            float(self.confidence[row]),
            tuple((x, y) for x, y in points[:known].tolist()),
            None if np.isnan(quality).all() else Quality(*quality.tolist()),
        )


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
