"""Stored findings as pairs and clusters with paths, copies expanded, in the order of the contract.

Everything is kept as arrays; `Pair` and `Cluster` objects are made one by one as they are asked for.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from facededup.copies import Copies
from facededup.current import CurrentFindings
from facededup.decisions import SAME, decide
from facededup.groups import image_groups
from facededup.images.phash import are_same_photo
from facededup.manifest import decode_tags
from facededup.models.scores import similarity
from facededup.store.base import (
    PAIRS_AT_ONCE,
    ClusterTable,
    FaceTable,
    Findings,
    ImageTable,
    PairBlock,
    Snapshot,
    pair_blocks,
)
from facededup.types import Box, Cluster, ClusterFace, FaceRef, Outcome, Pair, Unencoded

T = TypeVar("T")
Rows = NDArray[np.int64]


class LazySequence(Sequence[T]):
    """A sequence whose items are made when they are asked for."""

    @abstractmethod
    def _make(self, position: int) -> T:
        """The item at a valid, non-negative position."""

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...

    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        places = range(len(self))[index]
        return self._make(places) if isinstance(places, int) else tuple(self._make(place) for place in places)

    def __iter__(self) -> Iterator[T]:
        return (self._make(place) for place in range(len(self)))


class Listing:
    """What there is to show of a store's findings."""

    def __init__(self, snapshot: Snapshot, findings: Findings, operating_cosine: float) -> None:
        """Reads the tables of a snapshot.

        Args:
            snapshot: The store.
            findings: Its findings.
            operating_cosine: The cosine that similarity 0.40 stands for.
        """
        self.images: ImageTable = snapshot.images
        self.faces: FaceTable = snapshot.faces
        self.findings = CurrentFindings(findings, snapshot.faces.id)
        self.operating_cosine = operating_cosine
        self.copies = Copies(self.images, self.faces)
        order = sorted(range(len(self.images)), key=self.images.path.__getitem__)
        self.rank: Rows = np.empty(len(order), np.int64)
        """Place of each image's path in the order of all paths."""
        self.rank[order] = np.arange(len(order))
        self.is_new = self.images.id >= int(findings.meta["known_images"])
        """Images that were not there in the findings before."""
        self.group = image_groups(self.images, findings.meta.get("group_by"))
        """The group of each image, None without groups."""
        self.decided = decide(snapshot)
        """What people decided, up to now."""
        self._first_face = np.full(len(self.images), -1)
        begins = np.flatnonzero(self.faces.number == 0)
        self._first_face[self.faces.image[begins]] = begins

    def path(self, row: int) -> str:
        """An image's path."""
        return os.fsdecode(self.images.path[row])

    def tags(self, row: int) -> dict[str, str]:
        """What a manifest said of an image."""
        return decode_tags(self.images.tags[row])

    def face_ref(self, face_id: int) -> FaceRef:
        """A face by its id, in the image that has it and comes first by path."""
        row = int(np.searchsorted(self.faces.id, face_id))
        first = int(self.faces.image[row])
        image = min([first, *self.copies.rows(first).tolist()], key=self.rank.__getitem__)
        return FaceRef(self.path(image), int(self.faces.number[row]), self.tags(image))

    def similarities(self, cosines: NDArray[np.float64]) -> NDArray[np.float64]:
        """On the calibrated scale, all at once."""
        return np.asarray(similarity(cosines, self.operating_cosine))

    def similarity(self, cosine: float) -> float:
        """On the calibrated scale."""
        return float(similarity(cosine, self.operating_cosine))

    def pair_totals(self) -> tuple[int, int, int]:
        """Number of pairs, copies' included; how many more are decided to be different; or in a group."""
        listed = self.copies.listed_count
        total = self.copies.twin_pair_count
        for block in pair_blocks(self.findings):
            total += int((listed[self._image(block.a)] * listed[self._image(block.b)]).sum())
        different = sum(len(columns[0]) for columns in self._different_pairs())
        if self.group is None:
            return total - different, different, 0
        across = sum(len(columns[0]) for columns in self.all_pairs())
        return across, different, total - across - different

    def all_pairs(self) -> Iterator[PairColumns]:
        """All pairs to be listed, those of copies included, in blocks and no order."""
        yield from self._twin_columns()
        for block in pair_blocks(self.findings):
            kept = ~self._are_different(block)
            yield from self._expand(block.a[kept], block.b[kept], block.cosine[kept], block.new[kept])

    def decision(self, image_a: int, number_a: int, image_b: int, number_b: int) -> str | None:
        """What was decided on two faces, given by rows of images and numbers."""
        if not self.decided.verdicts:
            return None
        first = self.images.first
        a, b = self._first_face[first[image_a]] + number_a, self._first_face[first[image_b]] + number_b
        return self.decided.verdict(int(a), int(b))

    def same_photos(self, images_a: Rows, images_b: Rows) -> NDArray[np.bool_]:
        """Which couples of images, given by rows, are one photo saved twice."""
        phash, first = self.images.phash, self.images.first
        twins = first[images_a] == first[images_b]
        return np.asarray(twins | are_same_photo(phash[images_a], phash[images_b]))

    def _different_pairs(self) -> Iterator[PairColumns]:
        if len(self.decided.apart):
            for block in pair_blocks(self.findings):
                gone = self._are_different(block)
                yield from self._expand(block.a[gone], block.b[gone], block.cosine[gone], block.new[gone])

    def _are_different(self, block: PairBlock) -> NDArray[np.bool_]:
        """Which stored pairs were decided to be of different people."""
        if not len(self.decided.apart):
            return np.zeros(len(block), np.bool_)
        ids = self.faces.id
        return self.decided.are_apart(np.searchsorted(ids, block.a), np.searchsorted(ids, block.b))

    def pairs(self, limit: int) -> PairList:
        """The pairs of highest similarity; all for limit 0."""
        a, b, cosine, new = self._strongest(limit)
        columns = [*self._twin_columns(), *self._expand(a, b, cosine, new)]
        return PairList(self, columns, limit)

    def weakest_pairs(self, limit: int) -> PairList:
        """The pairs of lowest similarity, in the order of `pairs`."""
        kept: list[PairColumns] = []
        count = 0
        for columns in self.all_pairs():
            kept.append(columns)
            count += len(columns[0])
            if count > 4 * max(limit, PAIRS_AT_ONCE):
                kept = [_weakest(kept, limit)]
                count = len(kept[0][0])
        weakest = PairList(self, [_weakest(kept, limit)] if count > limit else kept, 0)
        weakest.columns = chosen(weakest.columns, slice(-limit, None))
        return weakest

    def clusters(self, limit: int) -> ClusterList:
        """The first clusters by falling size, then falling weakest link, then path; all for limit 0."""
        return ClusterList(self, limit)

    def unencoded(self, limit: int) -> tuple[Unencoded, ...]:
        """Images without an embedding, by path; all for limit 0."""
        rows = np.flatnonzero(self.images.outcome != Outcome.OK.value)
        rows = rows[np.argsort(self.rank[rows])][: limit or None]
        outcome, reason = self.images.outcome, self.images.reason
        return tuple(
            Unencoded(self.path(row), Outcome(int(outcome[row])), reason[row], self.tags(row))
            for row in rows.tolist()
        )

    def _image(self, face_ids: Rows) -> Rows:
        """Rows of the first images of some faces."""
        return self.faces.image[np.searchsorted(self.faces.id, face_ids)]

    def _strongest(self, limit: int) -> tuple[Rows, Rows, NDArray[np.float64], NDArray[np.bool_]]:
        """The stored pairs of highest cosine, ties at the end included; unordered."""
        kept: list[tuple[NDArray[np.generic], ...]] = []
        floor = -np.inf
        count = 0
        for block in pair_blocks(self.findings):
            choice = (block.cosine >= floor) & self._across(block) & ~self._are_different(block)
            kept.append(tuple(column[choice] for column in (block.a, block.b, block.cosine, block.new)))
            count += int(choice.sum())
            if limit and count > 4 * max(limit, PAIRS_AT_ONCE):
                kept, floor, count = _trimmed(kept, limit)
        if limit and count > limit:
            kept, _, _ = _trimmed(kept, limit)
        if not kept:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_)
        a, b, cosine, new = (np.concatenate(column) for column in zip(*kept, strict=True))
        return a, b, cosine, new

    def _apart(self, left: Rows, right: Rows) -> NDArray[np.bool_]:
        """Which couples of images are not of one group."""
        return np.ones(len(left), np.bool_) if self.group is None else self.group[left] != self.group[right]

    def _across(self, block: PairBlock) -> NDArray[np.bool_]:
        """Which stored pairs have images, or listed copies of them, in different groups."""
        if self.group is None:
            return np.ones(len(block), np.bool_)
        low, high = self._listed_groups
        left, right = self._image(block.a), self._image(block.b)
        return np.asarray(np.minimum(low[left], low[right]) < np.maximum(high[left], high[right]))

    @cached_property
    def _listed_groups(self) -> tuple[Rows, Rows]:
        """The lowest and the highest group among the listed images of each content, by its first image."""
        assert self.group is not None
        low, high = self.group.copy(), self.group.copy()
        shared = np.flatnonzero(self.copies.listed_count > 1)
        place, rows = self.copies.spread(shared)
        np.minimum.at(low, shared[place], self.group[rows])
        np.maximum.at(high, shared[place], self.group[rows])
        return low, high

    def _expand(
        self, a: Rows, b: Rows, cosine: NDArray[np.float64], new: NDArray[np.bool_]
    ) -> Iterator[PairColumns]:
        """Stored pairs as pairs of images: as they are, and for each copy of either side."""
        row_a, row_b = np.searchsorted(self.faces.id, a), np.searchsorted(self.faces.id, b)
        image_a, image_b = self.faces.image[row_a], self.faces.image[row_b]
        number_a, number_b = self.faces.number[row_a], self.faces.number[row_b]
        listed = self.copies.listed_count
        plain = (listed[image_a] == 1) & (listed[image_b] == 1)
        one_each = plain & self._apart(image_a, image_b)
        yield tuple(column[one_each] for column in (image_a, number_a, image_b, number_b, cosine, new))
        for place in np.flatnonzero(~plain):
            first, second = self.copies.listed_rows(image_a[place]), self.copies.listed_rows(image_b[place])
            left, right = np.repeat(first, len(second)), np.tile(second, len(first))
            left, right = left[apart := self._apart(left, right)], right[apart]
            yield (
                left,
                np.full(len(left), number_a[place]),
                right,
                np.full(len(left), number_b[place]),
                np.full(len(left), cosine[place]),
                new[place] | self.is_new[left] | self.is_new[right],
            )

    def _twin_columns(self) -> Iterator[PairColumns]:
        for first in self.copies.shared.tolist():
            left, right = self.copies.twin_pairs(first)
            left, right = left[apart := self._apart(left, right)], right[apart]
            for number in range(int(self.copies.faces[first])):
                numbers = np.full(len(left), number)
                yield (
                    left,
                    numbers,
                    right,
                    numbers,
                    np.ones(len(left)),
                    self.is_new[left] | self.is_new[right],
                )


PairColumns = tuple[Rows, NDArray[np.int32], Rows, NDArray[np.int32], NDArray[np.float64], NDArray[np.bool_]]
"""Rows of image a, its face's number, the same for b, cosine, new."""


def _trimmed(
    kept: list[tuple[NDArray[np.generic], ...]], limit: int
) -> tuple[list[tuple[NDArray[np.generic], ...]], float, int]:
    """The `limit` pairs of highest cosine and all that tie with the last of them."""
    columns = [np.concatenate(column) for column in zip(*kept, strict=True)]
    cosine = columns[2]
    floor = float(np.partition(cosine, len(cosine) - limit)[len(cosine) - limit])
    choice = cosine >= floor
    return [tuple(column[choice] for column in columns)], floor, int(choice.sum())


def stacked(parts: Sequence[PairColumns]) -> PairColumns:
    """Pairs of several lists as one."""
    return (
        np.concatenate([part[0] for part in parts]),
        np.concatenate([part[1] for part in parts]),
        np.concatenate([part[2] for part in parts]),
        np.concatenate([part[3] for part in parts]),
        np.concatenate([part[4] for part in parts]),
        np.concatenate([part[5] for part in parts]),
    )


def chosen(columns: PairColumns, which: slice | NDArray[np.int64] | NDArray[np.bool_]) -> PairColumns:
    """Some pairs of a list."""
    image_a, number_a, image_b, number_b, cosine, new = columns
    return image_a[which], number_a[which], image_b[which], number_b[which], cosine[which], new[which]


def _weakest(kept: list[PairColumns], limit: int) -> PairColumns:
    """The `limit` pairs of lowest cosine and all that tie with the last of them."""
    columns = stacked(kept)
    cosine = columns[4]
    return chosen(columns, cosine <= np.partition(cosine, limit - 1)[limit - 1])


class PairList(LazySequence[Pair]):
    """Pairs by falling similarity, then path."""

    def __init__(self, listing: Listing, parts: list[PairColumns], limit: int) -> None:
        """Sorts and cuts; `parts` is consumed."""
        self._listing = listing
        rank = listing.rank
        nothing = np.empty(0, np.int64), np.empty(0, np.int32)
        empty = (*nothing, *nothing, np.empty(0), np.empty(0, np.bool_))
        image_a, number_a, image_b, number_b, cosine, new = stacked([empty, *parts])
        swap = (rank[image_a] > rank[image_b]) | ((image_a == image_b) & (number_a > number_b))
        image_a, image_b = np.where(swap, image_b, image_a), np.where(swap, image_a, image_b)
        number_a, number_b = np.where(swap, number_b, number_a), np.where(swap, number_a, number_b)
        order = np.lexsort((number_b, rank[image_b], number_a, rank[image_a], -cosine))[: limit or None]
        self.columns = chosen((image_a, number_a, image_b, number_b, cosine, new), order)
        """The same as columns, in the order of the list."""
        self.normalized: NDArray[np.float64] | None = None
        """The normalised scores, where they were asked for."""
        self.second: NDArray[np.float64] | None = None
        """A second model's similarities, likewise; NaN for pairs that it did not score."""

    def face_rows(self) -> tuple[Rows, Rows]:
        """The rows of both faces of each pair, in the order of the list."""
        faces, first = self._listing.faces, self._listing.images.first
        width = int(faces.number.max(initial=0)) + 1
        keys = faces.image * width + faces.number
        order = np.argsort(keys)
        image_a, number_a, image_b, number_b = self.columns[:4]
        a, b = (
            order[np.searchsorted(keys, first[image] * width + number, sorter=order)]
            for image, number in ((image_a, number_a), (image_b, number_b))
        )
        return a, b

    def __len__(self) -> int:
        return len(self.columns[0])

    def _make(self, position: int) -> Pair:
        image_a, number_a, image_b, number_b, cosine, new = (
            column[position].item() for column in self.columns
        )
        listing = self._listing
        decision = listing.decision(image_a, number_a, image_b, number_b)
        return Pair(
            a=FaceRef(listing.path(image_a), number_a, listing.tags(image_a)),
            b=FaceRef(listing.path(image_b), number_b, listing.tags(image_b)),
            similarity=listing.similarity(cosine),
            cosine=cosine,
            new=new and decision != SAME,
            decision=decision,
            same_photo=bool(self._same_photo[position]),
            normalized=None if self.normalized is None else float(self.normalized[position]),
            second_similarity=self._second(position),
        )

    def _second(self, position: int) -> float | None:
        score = np.nan if self.second is None else float(self.second[position])
        return None if np.isnan(score) else score

    @cached_property
    def _same_photo(self) -> NDArray[np.bool_]:
        return self._listing.same_photos(self.columns[0], self.columns[2])


class ClusterList(LazySequence[Cluster]):
    """Clusters by falling size, then falling weakest link, then the first member's path."""

    def __init__(self, listing: Listing, limit: int) -> None:
        self._listing = listing
        self._table: ClusterTable = listing.findings.clusters
        copies, offsets = listing.copies, self._table.offsets
        if len(self._table) == 0:
            self._order: Rows = np.empty(0, np.int64)
            return
        faces = np.searchsorted(listing.faces.id, self._table.members)
        images = listing.faces.image[faces]
        sizes = np.add.reduceat(copies.count[images], offsets[:-1])
        lowest = np.full(len(listing.images), np.iinfo(np.int64).max)
        np.minimum.at(lowest, listing.images.first, listing.rank)
        first = np.minimum.reduceat(lowest[images], offsets[:-1])
        self._order = np.lexsort((first, -self._table.min_cosine, -sizes))[: limit or None]

    @property
    def order(self) -> Rows:
        """Places in the findings' table of clusters."""
        return self._order

    def __len__(self) -> int:
        return len(self._order)

    def _make(self, position: int) -> Cluster:
        listing, table = self._listing, self._table
        number = int(self._order[position])
        place = slice(int(table.offsets[number]), int(table.offsets[number + 1]))
        members = table.members[place]
        rows = np.searchsorted(listing.faces.id, members)
        found = []
        for face in rows.tolist():
            box = Box(*listing.faces.box[face].tolist())
            found += [
                (int(listing.rank[image]), int(listing.faces.number[face]), image, box)
                for image in listing.copies.rows(int(listing.faces.image[face])).tolist()
            ]
        found.sort(key=lambda item: item[:2])
        return Cluster(
            id=table.key[number],
            size=len(found),
            min_similarity=listing.similarity(float(table.min_cosine[number])),
            new=bool(table.new[number]),
            faces=tuple(
                ClusterFace(listing.path(image), face, box, listing.tags(image))
                for _, face, image, box in found
            ),
            mean_similarity=None
            if table.mean_cosine is None
            else listing.similarity(float(table.mean_cosine[number])),
            medoid=None if table.medoid is None else listing.face_ref(int(table.medoid[number])),
            bridges=()
            if table.bridge is None
            else tuple(map(listing.face_ref, members[table.bridge[place]].tolist())),
            decided=listing.decided.is_one_person(rows),
        )
