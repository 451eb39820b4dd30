"""Where and when duplicates arise: scores, cluster sizes, folders that share people, months."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import cached_property
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.dating import FILE_TIME, image_dates, month_name
from facededup.listing import Listing

BINS = 60
"""Bars of the histogram of similarities."""
FOLDER_PAIRS = 200
"""Couples of folders listed, those that share most."""

Rows = NDArray[np.int64]


def analyse(listing: Listing) -> dict[str, Any]:
    """Counts over all clusters, whatever part of them is listed.

    Returns:
        Plain values: `cluster_sizes` (couples of size in images and number), `folders` (`a`, `b`, `clusters`:
        how many clusters have images in both; a = b where a folder holds two of one cluster),
        `folders_total`, `dated_by` (see `image_dates`), and `months` (`month`, `images`, `duplicates`: images
        of a cluster that are not its oldest).
    """
    clusters, images = _cluster_images(listing)
    date_by = listing.findings.meta.get("date_by", FILE_TIME)
    sizes = np.bincount(clusters, minlength=len(listing.findings.clusters))
    size, number = np.unique(sizes, return_counts=True)
    folders, total = _folders(listing, clusters, images)
    return {
        "cluster_sizes": np.stack([size, number], axis=1).tolist(),
        "folders": folders,
        "folders_total": total,
        "dated_by": date_by,
        "months": _months(listing, clusters, images, date_by),
    }


class Analytics(Mapping[str, Any]):
    """What `analyse` gives, counted when it is first asked for: the terminal does not show it."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing

    @cached_property
    def _counted(self) -> dict[str, Any]:
        return analyse(self._listing)

    def __getitem__(self, name: str) -> Any:
        return self._counted[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._counted)

    def __len__(self) -> int:
        return len(self._counted)


def _cluster_images(listing: Listing) -> tuple[Rows, Rows]:
    """The images of each cluster, copies included: numbers of clusters, ascending, and rows of images."""
    table = listing.findings.clusters
    faces = np.searchsorted(listing.faces.id, table.members)
    place, images = listing.copies.spread(listing.faces.image[faces])
    clusters = table.numbers[place]
    return clusters, images


def histogram(listing: Listing) -> dict[str, Any]:
    """All pairs by similarity: `from`, `to` and `counts` of `BINS` equal steps between them."""
    lowest = min(listing.similarity(float(listing.findings.meta["cosine_cut"])), 1.0 - 1e-6)
    edges = np.linspace(lowest, 1.0, BINS + 1)
    counts = np.zeros(BINS, np.int64)
    for columns in listing.all_pairs():
        # Cosines exceed 1 by rounding, and the lowest may lie below the cut by as much.
        counts += np.histogram(np.clip(listing.similarities(columns[4]), lowest, 1.0), edges)[0]
    return {"from": lowest, "to": 1.0, "counts": counts.tolist()}


def _folders(listing: Listing, clusters: Rows, images: Rows) -> tuple[list[dict[str, Any]], int]:
    names: dict[bytes, int] = {}
    paths = listing.images.path
    folder = np.array(
        [names.setdefault(os.path.dirname(paths[row]), len(names)) for row in images.tolist()], np.int64
    )
    # Each cluster's folders, once each and in ascending order, and how many of its images are there.
    both, count = np.unique(clusters * len(names) + folder, return_counts=True)
    number, folder = np.divmod(both, max(len(names), 1))
    stop = np.asarray(np.searchsorted(number, number, side="right"))
    within = folder[count > 1]
    shared = _Tally()
    shared.add(within * len(names) + within)
    first: Rows = np.arange(len(folder))
    for further in range(1, len(folder)):
        first = first[first + further < stop[first]]
        if not len(first):
            break
        shared.add(folder[first] * len(names) + folder[first + further])
    couples, numbers = shared.counted()
    known = [os.fsdecode(name) for name in names]
    place = np.empty(len(known), np.int64)
    place[sorted(range(len(known)), key=known.__getitem__)] = np.arange(len(known))
    a, b = np.divmod(couples, max(len(names), 1))
    most = np.lexsort((place[b], place[a], -numbers))[:FOLDER_PAIRS]
    listed = zip(a[most].tolist(), b[most].tolist(), numbers[most].tolist(), strict=True)
    return [{"a": known[a], "b": known[b], "clusters": number} for a, b, number in listed], len(couples)


class _Tally:
    """Counts how often each number was added, holding a million at a time and those that differ."""

    def __init__(self) -> None:
        self._numbers, self._counts = np.empty(0, np.int64), np.empty(0, np.int64)
        self._waiting: list[Rows] = []

    def add(self, numbers: Rows) -> None:
        self._waiting.append(numbers)
        if sum(map(len, self._waiting)) > max(1_000_000, len(self._numbers)):
            self.counted()

    def counted(self) -> tuple[Rows, Rows]:
        """The numbers, ascending, and how often each was added."""
        fresh, counts = np.unique(np.concatenate([*self._waiting, self._numbers[:0]]), return_counts=True)
        both, place = np.unique(np.concatenate([self._numbers, fresh]), return_inverse=True)
        sums = np.zeros(len(both), np.int64)
        np.add.at(sums, place, np.concatenate([self._counts, counts]))
        self._numbers, self._counts, self._waiting = both, sums, []
        return both, sums


def _months(listing: Listing, clusters: Rows, images: Rows, date_by: str) -> list[dict[str, Any]]:
    dates = image_dates(listing.images, date_by)
    order = np.lexsort((listing.rank[images], dates.key[images], clusters))
    is_oldest = np.diff(clusters[order], prepend=-1) != 0
    duplicates = np.unique(images[order][~is_oldest])
    months, place = np.unique(dates.month, return_inverse=True)
    every = np.bincount(place, minlength=len(months)).tolist()
    later = np.bincount(place[duplicates], minlength=len(months)).tolist()
    listed = [
        {"month": month_name(month), "images": all_of_it, "duplicates": some}
        for month, all_of_it, some in zip(months.tolist(), every, later, strict=True)
    ]
    return sorted(listed, key=itemgetter("month"))
