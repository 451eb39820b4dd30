"""Stored findings as what `find` gives back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from facededup.analytics import Analytics
from facededup.cohort import normalized_scores
from facededup.confirmation import SecondModel
from facededup.counting import count_faces, count_images
from facededup.errors import StoreNotFoundError
from facededup.listing import Listing
from facededup.matching.source import StoredVectors
from facededup.metrics import Metrics
from facededup.progress import Progress
from facededup.results import FindResult
from facededup.settings import Settings
from facededup.store.base import ClusterTable, Snapshot


def result_of(
    snapshot: Snapshot,
    location: str,
    settings: Settings,
    metrics: Metrics,
    *,
    progress: Progress,
    second: SecondModel | None,
) -> FindResult:
    """The findings of a store, listed.

    Args:
        snapshot: Of the store.
        location: Of the store.
        settings: `limit` bounds the lists, `normalize` adds a score to each pair.
        metrics: Of the run that found them.
        progress: Receives the advance of a second look.
        second: Scores the pairs near the threshold, too.

    Raises:
        StoreNotFoundError: There are none.
    """
    findings = snapshot.findings()
    if findings is None:
        raise StoreNotFoundError(
            f"the findings of {location!r} were removed by another process: run `find` again"
        )
    meta = findings.meta
    listing = Listing(snapshot, findings, float(meta["operating_cosine"]))
    pairs, different, in_groups = listing.pair_totals()
    listed = listing.pairs(settings.limit)
    if settings.normalize:
        labels = _cluster_of_faces(snapshot, findings.clusters)
        listed.normalized = normalized_scores(
            StoredVectors(snapshot),
            labels,
            (*listed.face_rows(), listed.columns[4]),
            listing.operating_cosine,
        )
    confirmation = second_scores = None
    if second is not None:
        confirmation, second_scores = second.confirm(
            listing,
            listed,
            threshold=float(meta["threshold"]),
            band=settings.confirm_band,
            metrics=metrics,
            progress=progress,
        )
    return FindResult(
        store=location,
        fingerprint=snapshot.fingerprint,
        threshold=float(meta["threshold"]),
        cosine_cut=float(meta["cosine_cut"]),
        operating_cosine=float(meta["operating_cosine"]),
        operating_cosine_source=str(meta["operating_cosine_source"]),
        complete=bool(meta["complete"]),
        search=dict(meta["search"]),
        images=count_images(snapshot.images),
        faces=count_faces(snapshot),
        expected_false_pairs=meta.get("expected_false_pairs"),
        true_pairs_kept=meta.get("true_pairs_kept"),
        extrapolated=bool(meta.get("extrapolated")),
        suppressed={
            "different": different,
            "group": in_groups,
            "quality": int(meta.get("unfit_pairs", 0)),
        },
        decisions=listing.decided.counts(),
        clusters_total=len(findings.clusters),
        clusters=listing.clusters(settings.limit),
        pairs_total=pairs,
        pairs=listed,
        unencoded=listing.unencoded(settings.limit),
        analytics=Analytics(listing),
        metrics=metrics,
        group_by=meta.get("group_by"),
        tag_columns=tuple(snapshot.info.get("tag_columns", ())),
        confirmation=confirmation,
        second_scores=second_scores,
    )


def _cluster_of_faces(snapshot: Snapshot, clusters: ClusterTable) -> NDArray[np.int64]:
    """The first member's row for a face in a cluster, a face's own row else."""
    labels = np.arange(len(snapshot.faces))
    members = np.searchsorted(snapshot.faces.id, clusters.members)
    labels[members] = np.repeat(members[clusters.offsets[:-1]], np.diff(clusters.offsets))
    return labels
