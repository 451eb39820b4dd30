"""The pipeline of `store copy`: everything from one store into another, of whatever kind, and compared."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.errors import JobError, UsageError
from facededup.progress import Progress
from facededup.results import CopyResult
from facededup.store.base import (
    UNFINISHED_COPY,
    Batch,
    ClusterTable,
    Content,
    Findings,
    ImageRecord,
    ImageTable,
    PairBlock,
    Snapshot,
    Store,
    Writer,
)
from facededup.store.living import living_clusters, living_pairs
from facededup.store.opener import is_url, open_store, same_place
from facededup.types import FileStat, Outcome

_ROWS = 4096
"""Images, or faces, in a batch; bounds the memory."""
_COMPARED = ("path", "reason", "tags", "size", "mtime_ns", "ctime_ns", "inode", "digest", "outcome", "retry")
_ID_BOUNDS = (
    ("next_image_id", "images"),
    ("known_images", "images"),
    ("next_face_id", "faces"),
)
"""What of the findings' meta is a bound of ids, and of which table."""


def copy_stores(
    source: str, target: str, *, reset: bool, key_file: str | None, progress: Progress
) -> CopyResult:
    """Copies images, faces, embeddings, findings and decisions, and compares what arrived.

    Faces and images keep their order and get ids of the target's own. Until the comparison is done the
    target is marked, and nothing but another copy with `reset` can use it.

    Args:
        source: Location of the store to be read; others may go on writing to it.
        target: Location of the store to be made.
        reset: Replace what is there.
        key_file: Holds the key of an encrypted source; a file made of it is encrypted with the same.
        progress: Receives the advance.

    Raises:
        UsageError: Both are the same; or there is a store at the target, and no `reset`; or it has decisions
            that the source has not.
        StoreNotFoundError: There is no store at the source.
        StoreWriteError: The target cannot be written.
        JobError: What arrived differs.
    """
    from facededup.store.hdf5_snapshot import Hdf5Snapshot

    started = time.perf_counter()
    if same_place(source, target):
        raise UsageError("store copy needs two stores: FROM and TO are the same")
    origin = open_store(source, key_file)
    with origin.snapshot() as old:
        sealed = isinstance(old, Hdf5Snapshot) and old.store_key is not None and not is_url(target)
        copy = open_store(target, key_file, encrypt=sealed or None)
        if copy.exists() and not reset:
            raise UsageError(
                f"there is a store at {copy.location!r} already: give --reset to replace it, or another place"
            )
        with copy.writer(old.fingerprint, reset=reset) as writer:
            _take_decisions(old, writer, copy.location)
            writer.record({**old.info, **_mark(origin, done=False)})
            first_face, first_image = writer.snapshot.next_face_id, writer.snapshot.next_image_id
            progress.start("copy", len(old.faces) + len(old.images))
            for batch in _batches(old):
                writer.commit(batch)
                progress.advance(len(batch.images) + sum(len(content.faces) for content in batch.contents))
            progress.finish()
            found = old.findings()
            if found is not None:
                _write_findings(_Moved(found, old, first_face, first_image), writer)
            with copy.snapshot(unfinished=True) as new:
                result = _compare(old, new, first_face, first_image)
            writer.record(_mark(origin, done=True))
    return replace(
        result, source=origin.location, target=copy.location, seconds=time.perf_counter() - started
    )


def _mark(origin: Store, *, done: bool) -> dict[str, Any]:
    finished = datetime.now(UTC).isoformat(timespec="seconds") if done else None
    return {UNFINISHED_COPY: {"source": origin.location, "finished": finished}}


def _take_decisions(old: Snapshot, writer: Writer, location: str) -> None:
    """Appends those that the target lacks; it may have the first of them from an earlier copy."""
    decisions, there = old.decisions(), writer.snapshot.decisions()
    if repr(there) != repr(decisions[: len(there)]):  # as what is not a number equals nothing
        raise UsageError(
            f"the store at {location!r} has decisions of its own, which a copy would mix with others: "
            "choose another place"
        )
    writer.append_decisions(decisions[len(there) :])


def _batches(old: Snapshot) -> Iterator[Batch]:
    """All contents in the order of their faces, then all images in theirs: so both keep it."""
    faces, images = old.faces, old.images
    starts = np.flatnonzero(faces.number == 0)
    ends = np.append(starts[1:], len(faces))
    place = 0
    while place < len(starts):
        behind = max(place + 1, int(np.searchsorted(ends, starts[place] + _ROWS, side="right")))
        begin = int(starts[place])
        vectors = old.embeddings(begin, int(ends[behind - 1]))
        yield Batch(
            contents=tuple(
                Content(
                    images.digest[faces.image[start]].tobytes(),
                    tuple(faces.record(row) for row in range(start, end)),
                    vectors[start - begin : end - begin],
                )
                for start, end in zip(starts[place:behind].tolist(), ends[place:behind].tolist(), strict=True)
            )
        )
        place = behind
    for start in range(0, len(images), _ROWS):
        rows = range(start, min(start + _ROWS, len(images)))
        yield Batch(images=tuple(_image(images, row) for row in rows))


def _image(images: ImageTable, row: int) -> ImageRecord:
    root, mount = images.roots[images.root[row]]
    return ImageRecord(
        path=images.path[row],
        root=root,
        mount=mount,
        stat=FileStat(
            int(images.size[row]),
            int(images.mtime_ns[row]),
            int(images.ctime_ns[row]),
            int(images.inode[row]),
        ),
        digest=images.digest[row].tobytes() if images.digest[row].any() else b"",
        outcome=Outcome(int(images.outcome[row])),
        reason=images.reason[row],
        retry=bool(images.retry[row]),
        unresolved=bool(images.unresolved[row]),
        width=int(images.width[row]),
        height=int(images.height[row]),
        phash=int(images.phash[row]),
        tags=images.tags[row],
        indexed_at=int(images.indexed_at[row]),
    )


class _Moved:
    """Findings whose ids are those of the copy; without faces that are gone."""

    def __init__(self, findings: Findings, old: Snapshot, first_face: int, first_image: int) -> None:
        self._findings = findings
        self._ids = old.faces.id
        self._first = first_face
        tables = {"images": (old.images.id, first_image), "faces": (old.faces.id, first_face)}
        self.meta: Mapping[str, Any] = {
            **findings.meta,
            **{
                name: tables[table][1] + int(np.searchsorted(tables[table][0], findings.meta[name]))
                for name, table in _ID_BOUNDS
                if name in findings.meta
            },
        }

    def _moved(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        return self._first + np.searchsorted(self._ids, ids)

    def pairs(self) -> Iterator[PairBlock]:
        for block in living_pairs(self._findings, self._ids):
            yield replace(block, a=self._moved(block.a), b=self._moved(block.b))

    def clusters(self) -> ClusterTable:
        table = living_clusters(self._findings.clusters, self._ids)
        medoid = None if table.medoid is None else self._moved(table.medoid)
        return replace(table, members=self._moved(table.members), medoid=medoid)


def _write_findings(moved: _Moved, writer: Writer) -> None:
    target = writer.write_findings()
    for block in moved.pairs():
        target.append(block)
    target.finish(moved.meta, moved.clusters())


def _compare(old: Snapshot, new: Snapshot, first_face: int, first_image: int) -> CopyResult:
    """Raises JobError where they differ."""
    embeddings = _digest_embeddings(old)
    pairs = clusters = 0
    differing = [
        *(name for name in _COMPARED if not _are_equal(getattr(old.images, name), getattr(new.images, name))),
        *(
            name
            for name in ("image", "number", "box", "confidence", "landmarks", "quality")
            if not _are_equal(getattr(old.faces, name), getattr(new.faces, name))
        ),
        *(["embeddings"] if embeddings != _digest_embeddings(new) else []),
        *(["decisions"] if repr(old.decisions()) != repr(new.decisions()) else []),
    ]
    before, after = old.findings(), new.findings()
    if before is not None and after is not None:
        expected = _Moved(before, old, first_face, first_image)
        pairs, clusters = after.pair_count, len(after.clusters)
        if _digest_pairs(expected.pairs()) != _digest_pairs(living_pairs(after, new.faces.id)):
            differing.append("pairs")
        if not _are_alike(expected.clusters(), after.clusters) or dict(expected.meta) != dict(after.meta):
            differing.append("clusters")
    elif before is not None or after is not None:
        differing.append("findings")
    if differing:
        raise JobError(
            f"the copy differs from its source in: {', '.join(differing)}; it is marked as unfinished: "
            "copy again with --reset, while nobody else writes to it"
        )
    return CopyResult(
        source="",
        target="",
        images=len(new.images),
        faces=len(new.faces),
        pairs=pairs,
        clusters=clusters,
        decisions=len(new.decisions()),
        embeddings_sha256=embeddings,
        seconds=0.0,
    )


def _are_equal(a: Any, b: Any) -> bool:
    if isinstance(a, list):
        return bool(a == b)
    return np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


def _are_alike(a: ClusterTable, b: ClusterTable) -> bool:
    names = ("key", "offsets", "members", "min_cosine", "new", "mean_cosine", "medoid", "bridge")
    pairs = [(getattr(a, name), getattr(b, name)) for name in names]
    return all(x is y if x is None or y is None else _are_equal(x, y) for x, y in pairs)


def _digest_embeddings(snapshot: Snapshot) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(snapshot.faces), _ROWS):
        rows = snapshot.embeddings(start, min(start + _ROWS, len(snapshot.faces)))
        digest.update(np.ascontiguousarray(rows, "<f4").tobytes())
    return digest.hexdigest()


def _digest_pairs(blocks: Iterator[PairBlock]) -> list[str]:
    digests = {name: hashlib.sha256() for name in ("a", "b", "cosine", "new")}
    for block in blocks:
        for name, digest in digests.items():
            digest.update(np.ascontiguousarray(getattr(block, name)).tobytes())
    return [digest.hexdigest() for digest in digests.values()]
