"""What the public functions give back: frozen data that the command line prints and the report writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facededup.metrics import Metrics
from facededup.store.base import Fingerprint, Repair
from facededup.types import Cluster, Decision, Face, Match, Outcome, Pair, Pixels, Unencoded


@dataclass(frozen=True, slots=True)
class ImageCounts:
    """Images of a whole store by outcome."""

    total: int
    ok: int
    no_face: int
    multiple_faces: int
    failed: int


@dataclass(frozen=True, slots=True)
class ManifestCounts:
    """What came of a manifest.

    Attributes:
        images: It names.
        changed: Of these, images that the store had before and that have other tags now.
        unknown: Of these, files that were neither found in this run nor in the store before.
        unknown_paths: The first 1,000 of them.
    """

    images: int
    changed: int
    unknown: int
    unknown_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexResult:
    """What one `index` did.

    Attributes:
        store: Its location.
        fingerprint: What made its embeddings.
        found: Image files found under the given paths.
        unchanged: Of these, known already and left alone.
        read: Images read in this run, with any outcome.
        embedded: Faces embedded in this run.
        moved: Known images found at a new path.
        copies: Images in this run with the same bytes as another, taken over without embedding.
        unresolved: Images with the same bytes as one whose folder cannot be reached now.
        ok: Images read in this run with the outcome OK (copies included), and so on for the next three.
        no_face: See `ok`.
        multiple_faces: See `ok`.
        failed: See `ok`.
        problems: The first 1,000 images of this run without an embedding.
        unreadable: Folders, links and special files that could not be looked at, with the reason.
        links_skipped: Links inside the given folders that were not followed.
        interrupted: True if the user stopped it; the work so far is kept.
        manifest: What came of the manifest, None where none was given.
        counts: Of the whole store, afterwards.
        faces: Faces of the whole store, copies' faces included.
        metrics: Timing.
    """

    store: str
    fingerprint: Fingerprint
    found: int
    unchanged: int
    read: int
    embedded: int
    moved: int
    copies: int
    unresolved: int
    ok: int
    no_face: int
    multiple_faces: int
    failed: int
    problems: tuple[Unencoded, ...]
    unreadable: tuple[tuple[str, str], ...]
    links_skipped: int
    interrupted: bool
    counts: ImageCounts
    faces: int
    metrics: Metrics
    manifest: ManifestCounts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a second model said of the listed pairs near the threshold.

    Attributes:
        model: Its name.
        operating_cosine: Of its cosines, the one that similarity 0.40 stands for.
        band: How far above the threshold a pair's similarity may be.
        near: Listed pairs so near.
        confirmed: Of these, pairs that reach the second model's operating cosine.
        unread: Of these, pairs with a face that could not be seen again: its photo is gone or changed.
    """

    model: str
    operating_cosine: float
    band: float
    near: int
    confirmed: int
    unread: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SecondScores:
    """A second model's similarities of pairs of stored faces.

    Attributes:
        model: Its name.
        a: int64, ids of faces in the store.
        b: int64, likewise, a pair with each of `a`.
        similarity: float64, on the model's own scale, on which 0.40 is its operating cosine; NaN where a
            photo is gone or changed.
    """

    model: str
    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindResult:
    """What one `find` found; counts are of the whole store, lists are cut at `limit`.

    Attributes:
        store: Its location.
        fingerprint: What made its embeddings.
        threshold: Lowest similarity of a pair.
        cosine_cut: The same as a cosine.
        operating_cosine: The cosine that similarity 0.40 stands for.
        operating_cosine_source: `calibration`, `store` or `catalogue`.
        complete: Whether the search was exact.
        search: Engine, device, block size and, for an approximate search, the measured recall.
        images: Counts by outcome.
        faces: Faces, copies' faces included.
        expected_false_pairs: Pairs of different people to expect at this threshold, None where the model has
            no measured impostor curve.
        true_pairs_kept: Share of the pairs of one person that reach this threshold, None likewise.
        extrapolated: The expectation is beyond the rates that were measured.
        suppressed: Pairs left out, by reason (`different`, `group`, `quality`).
        decisions: Those that hold, by verdict; `contradictions`: `same` decisions left out because their
            chain leads to faces decided to be different; `elsewhere`: on faces that are not in the store.
        clusters_total: Number of clusters.
        clusters: By falling size, then falling min_similarity, then path.
        pairs_total: Number of pairs.
        pairs: By falling similarity, then path.
        unencoded: Images without an embedding, by path.
        metrics: Timing.
        analytics: Where and when duplicates arise, see `facededup.analytics`; empty with `against`.
        group_by: What grouped the images, as `--group-by` says it; None where nothing did.
        tag_columns: Names of what manifests say of images; the tags of each are with its faces.
        confirmation: What a second model said of the pairs near the threshold; None where none was asked.
        second_scores: What it said of each of them; the pairs have it, too.
    """

    store: str
    fingerprint: Fingerprint
    threshold: float
    cosine_cut: float
    operating_cosine: float
    operating_cosine_source: str
    complete: bool
    search: Mapping[str, Any]
    images: ImageCounts
    faces: int
    expected_false_pairs: float | None
    true_pairs_kept: float | None = None
    extrapolated: bool = False
    suppressed: Mapping[str, int]
    clusters_total: int
    clusters: Sequence[Cluster]
    pairs_total: int
    pairs: Sequence[Pair]
    unencoded: tuple[Unencoded, ...]
    metrics: Metrics
    group_by: str | None = None
    tag_columns: tuple[str, ...] = ()
    decisions: Mapping[str, int] = field(default_factory=dict)
    analytics: Mapping[str, Any] = field(default_factory=dict)
    confirmation: Confirmation | None = None
    second_scores: SecondScores | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchResult:
    """Who in the store looks like the faces of one image.

    Attributes:
        image: Its path.
        store: The store's location.
        threshold: Lowest similarity of a match; None when only `k` bounds the list.
        operating_cosine: The cosine that similarity 0.40 stands for.
        faces: The faces found in the image, by number.
        matches: By probe face, then falling similarity.
        metrics: Timing.
        engine: What looked for them: `faiss`, or `pgvector` in the database.
        complete: Whether these are certainly the nearest; the index of a database may miss one.
    """

    image: str
    store: str
    threshold: float | None
    operating_cosine: float
    faces: tuple[Face, ...]
    matches: tuple[Match, ...]
    metrics: Metrics
    engine: str = "faiss"
    complete: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What `verify` saw.

    Attributes:
        store: Its location.
        problems: What was wrong, a sentence each; empty for a sound store.
        checked_bytes: Size, sidecar files included.
        seconds: Of the check, without the repair.
        repair: What was kept and lost, None where nothing was repaired.
    """

    store: str
    problems: tuple[str, ...]
    checked_bytes: int
    seconds: float
    repair: Repair | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetResult:
    """What `forget` removed, or would remove.

    Attributes:
        store: Its location.
        dry_run: True if nothing was removed.
        images: Images removed.
        faces: Faces and embeddings removed.
        pairs: Stored pairs removed with them.
        clusters: Stored clusters removed with them; the next `find` rebuilds them from the faces left.
        copies_left: Removed images whose bytes, and so whose faces, other images still have.
        other_files: Damaged files that a repair kept; they may still hold what was removed.
    """

    store: str
    dry_run: bool
    images: int
    faces: int
    pairs: int
    clusters: int
    copies_left: int
    other_files: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PackResult:
    """What `pack` did. Sizes include sidecar files."""

    store: str
    bytes_before: int
    bytes_after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyResult:
    """What `copy_store` copied; all of it was compared with the source.

    Attributes:
        source: Location of the store that was read.
        target: Location of the copy.
        images: Images.
        faces: Faces, those of a content once.
        pairs: Pairs of the findings.
        clusters: Clusters of the findings.
        decisions: Entries of the log of decisions.
        embeddings_sha256: Of all embeddings in order, as little-endian float32; the same in both stores.
        seconds: What it took.
    """

    source: str
    target: str
    images: int
    faces: int
    pairs: int
    clusters: int
    decisions: int
    embeddings_sha256: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveResult:
    """What `move_root` did.

    Attributes:
        store: Its location.
        old: The folder as the store knew it, absolute.
        new: The same folder now, absolute.
        images: Images that have new paths.
        unchanged: Of these, files with the recorded size and time; `index` reads the others again.
    """

    store: str
    old: str
    new: str
    images: int
    unchanged: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ComparedImage:
    """One of two images that were compared.

    Attributes:
        path: As it was given.
        outcome: What became of it.
        reason: One sentence where the outcome is not OK, else "".
        width: Of the upright image, in pixels; 0 where it could not be decoded.
        height: Likewise.
        faces: All that were found, by number.
        chips: uint8 (k, height, width, 3) RGB, a face a row, aligned as the model saw them.
    """

    path: str
    outcome: Outcome
    reason: str
    width: int
    height: int
    faces: tuple[Face, ...]
    chips: Pixels


@dataclass(frozen=True, slots=True)
class FacePair:
    """A face of the first image and one of the second, by number. `matches`: at or above the threshold."""

    a: int
    b: int
    similarity: float
    cosine: float
    matches: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompareResult:
    """Why two images do or do not match.

    Attributes:
        a: The first image.
        b: The second.
        fingerprint: What made the embeddings; that of the store where there is one.
        threshold: Lowest similarity of a match.
        cosine_cut: The same as a cosine.
        operating_cosine: The cosine that similarity 0.40 stands for.
        operating_cosine_source: `calibration`, `store` or `catalogue`.
        pairs: Each face of one with each of the other, by falling similarity.
        metrics: Timing.
    """

    a: ComparedImage
    b: ComparedImage
    fingerprint: Fingerprint
    threshold: float
    cosine_cut: float
    operating_cosine: float
    operating_cosine_source: str
    pairs: tuple[FacePair, ...]
    metrics: Metrics

    @property
    def matches(self) -> bool:
        """Whether any face of one matches one of the other."""
        return any(pair.matches for pair in self.pairs)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that `doctor` looked at.

    Attributes:
        area: `packages`, `libraries`, `gpu`, `weights`, `folders` or `self-test`.
        name: What was looked at.
        state: `ok`, `absent` (not there, and not needed) or `failed`.
        detail: A version, a path, the reason.
        needed: It was asked for, or nothing works without it.
    """

    area: str
    name: str
    state: str
    detail: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What works on this machine."""

    checks: tuple[Check, ...]

    @property
    def problems(self) -> tuple[Check, ...]:
        """What is needed and does not work."""
        return tuple(check for check in self.checks if check.needed and check.state != "ok")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreStatus:
    """What is in a store.

    Attributes:
        store: Its location.
        fingerprint: What made its embeddings.
        images: Counts by outcome.
        faces: Faces, copies' faces included.
        embeddings: Embeddings stored (a content's faces once, however many copies it has).
        disk_bytes: Size, sidecar files included.
        last_run: What the last `index` recorded, None before one finished.
        findings: What the last `find` recorded (threshold, pairs, clusters, when), and how many embeddings
            came after it (unsearched); None if there are none.
        place: What is to be known of the server behind the store; empty for a file.
    """

    store: str
    fingerprint: Fingerprint
    images: ImageCounts
    faces: int
    embeddings: int
    disk_bytes: int
    last_run: Mapping[str, Any] | None
    findings: Mapping[str, Any] | None
    place: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DecisionEntry:
    """One decision of a store's log.

    Attributes:
        decision: What was decided.
        holds: It is what holds for its pair now: the latest, and not undone.
        in_store: Both faces are in the store.
    """

    decision: Decision
    holds: bool
    in_store: bool


@dataclass(frozen=True, slots=True)
class DecisionImport:
    """What an import of decisions did.

    Attributes:
        store: Its location.
        taken: Decisions appended.
        known: Decisions left out, being in the log already.
    """

    store: str
    taken: int
    known: int


@dataclass(frozen=True, slots=True)
class ApplyStep:
    """What `apply` does with one image.

    Attributes:
        cluster: Its id.
        path: The image.
        action: `keep`, `left` (not touched), or what is done: `list`, `copy`, `move`, `hardlink`, `delete`.
        reason: Why, in a few words.
        kept: The image that is kept for it.
        target: Where it, its copy or its second name goes.
    """

    cluster: str
    path: str
    action: str
    reason: str
    kept: str = ""
    target: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyResult:
    """What `apply` did, or would do.

    Attributes:
        store: Its location.
        action: What was asked for.
        clusters: Clusters acted on.
        unconfirmed: Clusters left out: not confirmed, or not as the last `find` saw them any more.
        steps: All images of these clusters, each cluster's kept one first.
        done: Images acted on; 0 where it was only said.
        failures: What could not be done, a sentence each.
        log: The log, for `--undo`; None where nothing was done.
        interrupted: True if the user stopped it; the rest was not begun.
    """

    store: str
    action: str
    clusters: int
    unconfirmed: int
    steps: tuple[ApplyStep, ...]
    done: int
    failures: tuple[str, ...]
    log: str | None
    interrupted: bool = False
