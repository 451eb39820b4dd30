"""From the pairs of a store to the clusters that are kept of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.copies import Copies
from facededup.decisions import Decided
from facededup.matching.clusters import average_linkage
from facededup.matching.constraints import join, separate
from facededup.matching.graph_clusters import chinese_whispers, connected_components
from facededup.matching.shape import describe_clusters
from facededup.matching.source import StoredVectors
from facededup.store.base import ClusterTable, PairBlock, Snapshot

Pairs = Callable[[], Iterator[PairBlock]]
"""Pairs of rows of the faces, read as often as they are asked for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Clustering:
    """How the faces of a store become clusters; a content with copies is a cluster by itself.

    Attributes:
        snapshot: Of the store.
        method: `average`, `components` or `chinese-whispers`.
        cut: The lowest cosine of a pair.
        decided: What was decided of the faces.
        groups: Of each image, see `image_groups`; None where nothing groups them.
        known_images: Images with ids below this were there in the findings before.
    """

    snapshot: Snapshot
    method: str
    cut: float
    decided: Decided
    groups: NDArray[np.int64] | None
    known_images: int

    def table(self, pairs: Pairs) -> ClusterTable:
        """The clusters, ready to be stored.

        Args:
            pairs: Gives all pairs of rows at or above the cut, anew at each call.
        """
        ids, images = self.snapshot.faces.id, self.snapshot.faces.image
        copies = Copies(self.snapshot.images, self.snapshot.faces)
        vectors = StoredVectors(self.snapshot)
        weights = np.maximum(copies.count[images], 1)
        labels = self._label(pairs, vectors, weights)
        if self.groups is None:
            sizes = np.bincount(labels, minlength=len(ids))
            members = np.flatnonzero((sizes[labels] > 1) | (weights > 1))
        else:
            labels, spanning = self._joined_by_group(labels, copies, self.groups)
            members = np.flatnonzero(spanning[labels])
        members = members[np.argsort(labels[members], kind="stable")]
        starts = np.flatnonzero(np.diff(labels[members], prepend=-1))
        offsets = np.append(starts, len(members)).astype(np.int64)
        order = np.argsort(members)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        names = self._names(members)
        rank = np.empty(len(names), np.int64)
        rank[np.argsort(names, kind="stable")] = np.arange(len(names))
        shapes = describe_clusters(vectors.gather(members[order]), place, offsets, self.cut, rank=rank)
        return ClusterTable(
            key=_cluster_keys(names, rank, offsets),
            offsets=offsets,
            members=ids[members],
            min_cosine=shapes.min_cosine,
            new=self._new(labels, members, copies, pairs)[labels[members[starts]]],
            mean_cosine=shapes.mean_cosine,
            medoid=ids[members[shapes.medoid]],
            bridge=shapes.bridge,
        )

    def _new(
        self, labels: NDArray[np.int64], members: NDArray[np.int64], copies: Copies, pairs: Pairs
    ) -> NDArray[np.bool_]:
        """Which clusters, by label, have a pair or a copy that the findings before lacked."""
        images = self.snapshot.faces.image
        new = np.zeros(len(labels), np.bool_)
        shared = members[copies.count[images[members]] > 1]
        place, rows = copies.spread(images[shared])
        fresh = self.snapshot.images.id[rows] >= self.known_images
        new[labels[shared[place[fresh]]]] = True
        for block in pairs():
            inside = block.new & (labels[block.a] == labels[block.b])
            inside &= ~self.decided.are_same(block.a, block.b)
            new[labels[block.a[inside]]] = True
        return new

    def _joined_by_group(
        self, labels: NDArray[np.int64], copies: Copies, groups: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Clusters that share a group as one, and which of them, by label, span two groups."""
        count = len(labels)
        faces, rows = copies.spread(self.snapshot.faces.image)
        named = groups[rows]
        first = np.full(len(groups), count)
        np.minimum.at(first, named, faces)
        a, b = np.concatenate((labels, first[named])), np.concatenate((np.arange(count), faces))
        links = PairBlock(a, b, np.ones(len(a)), np.zeros(len(a), np.bool_))
        joined = connected_components(count, lambda: iter([links]), 1.0)
        joined = separate(joined, self.decided.kept_apart, lambda: iter([links]))
        lowest, highest = np.full(count, len(groups)), np.full(count, -1)
        np.minimum.at(lowest, joined[faces], named)
        np.maximum.at(highest, joined[faces], named)
        return joined, lowest < highest

    def _label(self, pairs: Pairs, vectors: StoredVectors, weights: NDArray[np.int64]) -> NDArray[np.int64]:
        """The lowest row of each face's cluster."""
        count, apart = len(vectors), self.decided.kept_apart
        match self.method:
            case "components":
                labels = separate(connected_components(count, pairs, self.cut), apart, pairs)
            case "chinese-whispers":
                labels = separate(chinese_whispers(count, pairs, self.cut), apart, pairs)
            case _:
                labels = average_linkage(count, pairs, vectors.gather, self.cut, weights=weights, apart=apart)
        person = self.decided.person
        return labels if person is None else join(labels, person, apart)

    def _names(self, members: NDArray[np.int64]) -> NDArray[np.bytes_]:
        """What stands for each face wherever and whenever it was indexed: the content's hash and the box."""
        images, faces = self.snapshot.images, self.snapshot.faces
        digest = images.digest[faces.image[members]]
        box = np.ascontiguousarray(faces.box[members].astype(">i4")).view(np.uint8)
        both = np.ascontiguousarray(np.concatenate([digest, box], axis=1))
        return both.view(f"S{both.shape[1]}").ravel()


def _cluster_keys(
    names: NDArray[np.bytes_], rank: NDArray[np.int64], offsets: NDArray[np.int64]
) -> list[str]:
    """Stable names of clusters: from the smallest among those of its members."""
    if len(offsets) < 2:
        return []
    first = np.argsort(rank)[np.minimum.reduceat(rank, offsets[:-1])]
    width = names.dtype.itemsize
    return [hashlib.sha256(name.ljust(width, b"\0")).hexdigest()[:12] for name in names[first].tolist()]
