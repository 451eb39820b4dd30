"""Findings as the page reads them: columns, packed, with every image and face named once.

Numbers are base64 of little-endian arrays, which a browser turns into typed arrays without parsing; cosines
are float64, so that the page decides like the program. docs/report.md describes the fields.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import facededup
from facededup.analytics import analyse, histogram
from facededup.counting import count_faces, count_images, count_unsearched
from facededup.decisions import decide
from facededup.listing import Listing, PairColumns, stacked
from facededup.matching.merge_tree import MergeTree
from facededup.report.json_report import counts_document
from facededup.report.regrouping import cluster_trees
from facededup.results import FindResult, SecondScores
from facededup.store.base import Snapshot
from facededup.types import Outcome

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """What a page lists.

    Attributes:
        limit: Pairs, clusters and images without an embedding, each at most; 0 for all.
        edges: Only so many pairs of highest and as many of lowest similarity; None for those of `limit`.
        symmetric: List each pair in both directions.
    """

    limit: int = 100_000
    edges: int | None = None
    symmetric: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class PageData:
    """What a page shows.

    Attributes:
        document: Plain values for JSON.
        contents: int64, rows of the first images of the contents that the page shows, by their number there.
        faces: int64, rows of the stored faces, likewise.
        face_content: int64, the number of the content of each of these faces.
        face_ids: int64, their ids in the store.
    """

    document: dict[str, Any]
    contents: Rows
    faces: Rows
    face_content: Rows
    face_ids: Rows


def page_data(
    snapshot: Snapshot, listing: Listing, location: str, options: PageOptions, result: FindResult | None
) -> PageData:
    """Gathers what a page shows.

    Args:
        snapshot: The store.
        listing: Its findings.
        location: Of the store.
        options: What is listed.
        result: Of the `find` that found them, where it is at hand: its timing and second scores are shown.
    """
    tables = _Tables(listing)
    second = None if result is None else result.second_scores
    pairs_total, different, in_groups = listing.pair_totals()
    pairs = tables.pairs(_listed_pairs(listing, options, pairs_total), second)
    clusters = tables.clusters(snapshot, options.limit)
    unencoded = tables.unencoded(options.limit)
    findings, images = listing.findings, listing.images
    meta = findings.meta
    document = {
        "schema": "facededup/page/1",
        "about": {
            "version": facededup.__version__,
            "store": location,
            "model": snapshot.fingerprint.model,
            "detector": snapshot.fingerprint.detector,
            "created": meta["created"],
            "threshold": float(meta["threshold"]),
            "cosine_cut": float(meta["cosine_cut"]),
            "operating_cosine": listing.operating_cosine,
            "operating_cosine_source": meta["operating_cosine_source"],
            "clustering": meta["clustering"],
            "second_model": None if second is None else second.model,
            "complete": bool(meta["complete"]),
            "search": dict(meta["search"]),
            "images": counts_document(count_images(images)),
            "faces": count_faces(snapshot),
            "unsearched": count_unsearched(snapshot, findings),
            "expected_false_pairs": meta.get("expected_false_pairs"),
            "suppressed_group": in_groups,
            "suppressed_different": different,
            "pairs_total": pairs_total,
            "clusters_total": len(findings.clusters),
            "unencoded_total": int((images.outcome != Outcome.OK.value).sum()),
            "edges": options.edges,
            "symmetric": options.symmetric,
        },
        "metrics": None if result is None else result.metrics.to_dict(),
        "analytics": {"histogram": histogram(listing), **analyse(listing)},
        "pairs": pairs,
        "clusters": clusters,
        "unencoded": unencoded,
        "decisions": verdicts_in_page(snapshot, listing.faces.id[tables.stored.rows]),
        **tables.documents(),
    }
    contents, faces, face_content = tables.rows()
    return PageData(document, contents, faces, face_content, listing.faces.id[faces])


def verdicts_in_page(snapshot: Snapshot, face_ids: Rows) -> list[tuple[int, int, str]]:
    """The decisions that hold between faces of a page, which it numbers in the order of `face_ids`."""
    number: Rows = np.full(len(snapshot.faces), -1, np.int64)
    rows = np.searchsorted(snapshot.faces.id, face_ids)
    # The store may have lost faces since the page was made.
    there = rows < len(number)
    there[there] = snapshot.faces.id[rows[there]] == face_ids[there]
    number[rows[there]] = np.flatnonzero(there)
    return [
        (int(number[a]), int(number[b]), decision.verdict)
        for (a, b), decision in decide(snapshot).verdicts.items()
        if number[a] >= 0 and number[b] >= 0
    ]


def _listed_pairs(listing: Listing, options: PageOptions, total: int) -> PairColumns:
    if options.edges is None:
        return listing.pairs(options.limit).columns
    if total <= 2 * options.edges:
        return listing.pairs(0).columns
    highest = listing.pairs(options.edges).columns
    lowest = listing.weakest_pairs(options.edges).columns
    return stacked([highest, lowest])


class _Numbering:
    """Gives the rows of a table new numbers, in the order they are first asked for."""

    def __init__(self, length: int) -> None:
        self._number: Rows = np.full(length, -1, np.int64)
        self._rows: list[Rows] = []
        self._count = 0

    def numbers(self, rows: Rows) -> Rows:
        """The numbers of some rows; new ones for those not seen before."""
        fresh, place = np.unique(rows[self._number[rows] < 0], return_index=True)
        fresh = fresh[np.argsort(place)]
        self._number[fresh] = self._count + np.arange(len(fresh))
        self._rows.append(fresh)
        self._count += len(fresh)
        return self._number[rows]

    @property
    def rows(self) -> Rows:
        """The rows, by number."""
        return np.concatenate([np.empty(0, np.int64), *self._rows])


class _Tables:
    """The images, contents and faces that a page names, collected while its lists are made."""

    def __init__(self, listing: Listing) -> None:
        self.listing = listing
        self.images = _Numbering(len(listing.images))
        self.stored = _Numbering(len(listing.faces))
        # A face of an image as one number: the first face of the image's content that comes first, by row.
        self._by_image = np.lexsort((listing.faces.number, listing.faces.image))
        self._first_face = np.searchsorted(
            listing.faces.image[self._by_image], np.arange(len(listing.images) + 1)
        )
        self._seen: list[tuple[Rows, Rows]] = []

    def _stored_rows(self, images: Rows, numbers: NDArray[np.int32]) -> Rows:
        """Rows of stored faces: face `numbers` of the contents of `images`."""
        rows: Rows = self._by_image[self._first_face[self.listing.images.first[images]] + numbers]
        return rows

    def pairs(self, columns: PairColumns, second: SecondScores | None) -> dict[str, Any]:
        """The pairs: images `a` and `b`, stored faces `a_face` and `b_face`, cosine, new, second score."""
        image_a, number_a, image_b, number_b, cosine, new = columns
        stored_a, stored_b = self._stored_rows(image_a, number_a), self._stored_rows(image_b, number_b)
        return {
            "a": _packed(self.images.numbers(image_a), "<u4"),
            "b": _packed(self.images.numbers(image_b), "<u4"),
            "a_face": _packed(self.stored.numbers(stored_a), "<u4"),
            "b_face": _packed(self.stored.numbers(stored_b), "<u4"),
            "cosine": _packed(cosine, "<f8"),
            "new": _packed(new, "u1"),
            "same_photo": _packed(self.listing.same_photos(image_a, image_b), "u1"),
            "second": None if second is None else _packed(self._scores(stored_a, stored_b, second), "<f8"),
        }

    def _scores(self, a: Rows, b: Rows, second: SecondScores) -> NDArray[np.float64]:
        """What the second model says of pairs of stored faces, by row; NaN where it says nothing."""
        wanted = _couples(self.listing.faces.id[a], self.listing.faces.id[b])
        scored = _couples(second.a, second.b)
        _, place = np.unique(np.concatenate([scored, wanted]), axis=0, return_inverse=True)
        scores = np.full(len(place), np.nan)
        scores[place[: len(scored)]] = second.similarity
        return scores[place[len(scored) :]]

    def clusters(self, snapshot: Snapshot, limit: int) -> dict[str, Any]:
        """The clusters: members are stored faces, with all images of each, and the tree of their mergers."""
        listing, table = self.listing, self.listing.findings.clusters
        order = listing.clusters(limit).order
        sizes = np.diff(table.offsets)[order]
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
        within = np.arange(int(offsets[-1])) - np.repeat(offsets[:-1], sizes)
        places = np.repeat(table.offsets[order], sizes) + within
        members = np.searchsorted(listing.faces.id, table.members[places])
        place, images = listing.copies.spread(listing.faces.image[members])
        medoid = (
            members[offsets[:-1]]
            if table.medoid is None
            else np.searchsorted(listing.faces.id, table.medoid[order])
        )
        return {
            "id": [table.key[number] for number in order.tolist()],
            "offsets": _packed(offsets, "<u4"),
            "members": _packed(self.stored.numbers(members), "<u4"),
            "image_offsets": _packed(np.searchsorted(place, np.arange(len(members) + 1)), "<u4"),
            "images": _packed(self.images.numbers(images), "<u4"),
            "new": _packed(table.new[order], "u1"),
            "lowest": _packed(table.min_cosine[order], "<f8"),
            "mean": _packed(
                (table.min_cosine if table.mean_cosine is None else table.mean_cosine)[order], "<f8"
            ),
            "medoid": _packed(self.stored.numbers(medoid), "<u4"),
            "bridge": _packed(np.zeros(len(places)) if table.bridge is None else table.bridge[places], "u1"),
            **_packed_trees(cluster_trees(snapshot, listing, members, offsets)),
        }

    def unencoded(self, limit: int) -> dict[str, Any]:
        """The images without an embedding."""
        images = self.listing.images
        rows = np.flatnonzero(images.outcome != Outcome.OK.value)
        rows = rows[np.argsort(self.listing.rank[rows])][: limit or None]
        reasons: dict[str, int] = {}
        reason = [reasons.setdefault(images.reason[row], len(reasons)) for row in rows.tolist()]
        return {
            "image": _packed(self.images.numbers(rows), "<u4"),
            "outcome": _packed(images.outcome[rows], "u1"),
            "outcomes": [outcome.name for outcome in Outcome],
            "reason": _packed(np.array(reason, np.int64), "<u4"),
            "reasons": list(reasons),
        }

    def rows(self) -> tuple[Rows, Rows, Rows]:
        """See `PageData`: contents, faces, and the content of each face."""
        contents, firsts = self._contents()
        faces = self.stored.rows
        return firsts, faces, contents.numbers(self.listing.faces.image[faces])

    def _contents(self) -> tuple[_Numbering, Rows]:
        contents = _Numbering(len(self.listing.images))
        contents.numbers(self.listing.faces.image[self.stored.rows])
        contents.numbers(self.listing.images.first[self.images.rows])
        return contents, contents.rows

    def documents(self) -> dict[str, Any]:
        """The tables `images`, `contents` and `faces`."""
        images, faces = self.listing.images, self.listing.faces
        rows, stored = self.images.rows, self.stored.rows
        contents, firsts = self._contents()
        folders: dict[str, int] = {}
        folder, names = [], []
        for row in rows.tolist():
            path = os.fsdecode(images.path[row])
            place = path.rfind("/") + 1
            folder.append(folders.setdefault(path[:place], len(folders)))
            names.append(path[place:])
        return {
            "images": {
                "folders": list(folders),
                "folder": _packed(np.array(folder, np.int64), "<u4"),
                "name": names,
                "content": _packed(contents.numbers(images.first[rows]), "<u4"),
                "modified": _packed(images.mtime_ns[rows] / 1e9, "<f8"),
                "bytes": _packed(images.size[rows], "<f8"),
                "group": None if self.listing.group is None else _packed(self.listing.group[rows], "<u4"),
            },
            "contents": {
                "digest": _packed(images.digest[firsts], "u1"),
                "width": _packed(images.width[firsts], "<i4"),
                "height": _packed(images.height[firsts], "<i4"),
            },
            "faces": {
                "content": _packed(contents.numbers(faces.image[stored]), "<u4"),
                "number": _packed(faces.number[stored], "<u4"),
                "box": _packed(faces.box[stored], "<i4"),
                "quality": _packed(faces.quality[stored], "<f4"),
            },
        }


def _couples(a: Rows, b: Rows) -> Rows:
    """int64 (n, 2): the two of each couple, the lower one first."""
    return np.stack([np.minimum(a, b), np.maximum(a, b)], axis=1)


def _packed_trees(parts: list[MergeTree]) -> dict[str, Any]:
    """The columns of the mergers of all clusters."""
    return {
        f"tree_{name}": _packed(
            np.concatenate([np.empty(0), *(np.ravel(getattr(part, name)) for part in parts)]), kind
        )
        for name, kind in _TREE_COLUMNS.items()
    }


_TREE_COLUMNS = {
    "left": "<u4",
    "right": "<u4",
    "height": "<f8",
    "lowest": "<f8",
    "mean": "<f8",
    "weakest": "<u4",
}


def _packed(values: NDArray[Any], kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values).astype(kind).tobytes()).decode("ascii")
