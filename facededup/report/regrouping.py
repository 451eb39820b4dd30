"""What a page needs so that its clusters at a higher threshold are those that `find` would give."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.finding import fit_faces
from facededup.listing import Listing
from facededup.matching.graph_clusters import connected_components
from facededup.matching.merge_order import NO_PAIRS, Bonds
from facededup.matching.merge_tree import MergeTree, merge_trees
from facededup.matching.source import StoredVectors
from facededup.store.base import PairBlock, Snapshot

Rows = NDArray[np.int64]

TREE_ROWS = 65_536
"""Members of clusters whose vectors are in memory at a time, unless one cluster has more."""


def cluster_trees(snapshot: Snapshot, listing: Listing, members: Rows, offsets: Rows) -> list[MergeTree]:
    """The mergers of clusters, some clusters a part, in their order.

    Clusters of Chinese whispers, which knows no order, fall apart as those of average linkage do.

    Args:
        snapshot: The store.
        listing: Its findings.
        members: int64 (k,), rows of faces, cluster after cluster.
        offsets: int64 (m + 1,); cluster c has the members offsets[c] to offsets[c + 1].
    """
    vectors = StoredVectors(snapshot)
    bonds = _bonds(snapshot, listing, members, offsets)
    weights = np.maximum(listing.copies.count[listing.faces.image[members]], 1)
    single = listing.findings.meta["clustering"] == "components"
    parts = []
    first, last = 0, len(offsets) - 1
    while first < last:
        end = int(np.searchsorted(offsets, offsets[first] + TREE_ROWS, side="right"))
        end = min(max(first + 1, end - 1), last)
        start, stop = int(offsets[first]), int(offsets[end])
        rows, place = np.unique(members[start:stop], return_inverse=True)
        bounds = offsets[first : end + 1] - start
        own = bonds.between(start, stop)
        parts.append(
            merge_trees(vectors.gather(rows), place, bounds, weights[start:stop], bonds=own, single=single)
        )
        first = end
    return parts


def _bonds(snapshot: Snapshot, listing: Listing, members: Rows, offsets: Rows) -> Bonds:
    """What is known of the members beside their vectors; couples of two clusters are left out."""
    fit = fit_faces(snapshot, listing.findings.meta.get("min_quality"))
    place: Rows = np.full(len(listing.faces), -1, np.int64)
    place[members] = np.arange(len(members))
    apart = place[listing.decided.kept_apart]
    number = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    apart = apart[(apart >= 0).all(axis=1)]
    apart = apart[number[apart[:, 0]] == number[apart[:, 1]]]
    source = np.where(fit[members], listing.faces.image[members], NO_PAIRS)
    return Bonds(source, _held_together(listing)[members], apart)


def _held_together(listing: Listing) -> Rows:
    """Of each face, the lowest row that it is tied to by decisions or by groups of images."""
    count = len(listing.faces)
    person = np.arange(count) if listing.decided.person is None else listing.decided.person
    if listing.group is None:
        return person
    faces, images = listing.copies.spread(listing.faces.image)
    group = listing.group[images]
    first = np.full(len(listing.group), count)
    np.minimum.at(first, group, faces)
    a, b = np.concatenate((person, first[group])), np.concatenate((np.arange(count), faces))
    links = PairBlock(a, b, np.ones(len(a)), np.zeros(len(a), np.bool_))
    return connected_components(count, lambda: iter([links]), 1.0)
