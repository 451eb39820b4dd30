"""`apply`: keeps the best image of each confirmed cluster, and moves, deletes or lists the others."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from facededup.errors import JobError, UsageError
from facededup.file_actions import ACTIONS, ActionLog, act, explain, free_name, is_one_file
from facededup.interrupt import StopRequest
from facededup.listing import Listing
from facededup.results import ApplyResult, ApplyStep
from facededup.settings import Settings
from facededup.store.opener import open_store

LIST = "list"
_PARTS = ("size", "sharpness", "frontality", "brightness")


def apply_findings(
    settings: Settings,
    action: str,
    *,
    to: str | None = None,
    every: bool = False,
    yes: bool = False,
    log: str | None = None,
) -> ApplyResult:
    """Acts on all images of a cluster but the best one.

    Args:
        settings: Of the run.
        action: `list`, `copy`, `move`, `hardlink` or `delete`.
        to: Folder for the images, in a folder a cluster; not for `list` and `delete`.
        every: All clusters of the last findings, also those that nobody confirmed.
        yes: Do it; else only say what would be done.
        log: Where the log goes, which must not exist; by default a file named by the time.

    Raises:
        UsageError: No such action, no folder for it, no findings, or the log exists.
        StoreNotFoundError: There is no store.
        JobError: The folder cannot be made, or the log not be written; nothing was done after that.
    """
    if action not in (LIST, *ACTIONS):
        raise UsageError(f"the action must be one of {', '.join((LIST, *ACTIONS))}, not {action!r}")
    needs_folder = action not in (LIST, "delete")
    if needs_folder != (to is not None):
        raise UsageError(
            f"{action} needs a folder: give it by --to" if needs_folder else f"{action} takes no folder"
        )
    if to is not None and os.path.exists(to) and not os.path.isdir(to):
        raise UsageError(f"--to takes a folder, and {to!r} is none")
    with open_store(settings.store, settings.key_file).snapshot() as snapshot:
        findings = snapshot.findings()
        if findings is None:
            raise UsageError("the store has no findings: run `facededup find` first")
        listing = Listing(snapshot, findings, float(findings.meta["operating_cosine"]))
        planner = _Planner(listing, action, to, every=every)
        steps = tuple(planner.steps())
    acts = [step for step in steps if step.action in ACTIONS]
    failures: list[str] = []
    begun = 0
    if not yes or not acts:
        log = None
    else:
        if to is not None:
            _make_folder(to)
        log = log or f"facededup-apply-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}.jsonl"
        begun = _perform(acts, planner, log, settings.store, failures)
    return ApplyResult(
        store=settings.store,
        action=action,
        clusters=planner.confirmed,
        unconfirmed=planner.unconfirmed,
        steps=steps,
        done=begun - len(failures),
        failures=tuple(failures),
        log=None if log is None else os.path.abspath(log),
        interrupted=log is not None and begun < len(acts),
    )


def _make_folder(path: str) -> None:
    try:
        os.makedirs(path, exist_ok=True)
    except OSError as exc:
        raise JobError(f"cannot make the folder {path!r}: {exc.strerror}; nothing was done") from exc


def _perform(acts: list[ApplyStep], planner: _Planner, log: str, store: str, failures: list[str]) -> int:
    """Does one after the other until Ctrl-C; how many, those that failed included."""
    with ActionLog(log, {"store": os.path.abspath(store)}) as journal, StopRequest() as stop:
        for number, step in enumerate(acts):
            if stop.requested:
                return number
            # Once more: much may have happened to either file since all was planned.
            if trouble := planner.trouble(step.kept):
                failures.append(f"{step.path!r} was left: {step.kept!r} was to be kept, but {trouble}")
                continue
            if trouble := planner.trouble(step.path):
                failures.append(f"{step.path!r} was left: {trouble}")
                continue
            journal.note(
                {"action": step.action, "from": step.path, "to": step.target, "kept": step.kept}
                | {"cluster": step.cluster}
            )
            try:
                act(step.action, step.path, step.target)
            except OSError as exc:
                failures.append(explain(exc, step.action, step.path))
                journal.note({"failed": failures[-1]})
    return len(acts)


class _Planner:
    """Says what is to be done, image by image.

    Attributes:
        confirmed: Clusters that are acted on.
        unconfirmed: Clusters left out because nobody confirmed them.
    """

    def __init__(self, listing: Listing, action: str, to: str | None, *, every: bool) -> None:
        self._listing = listing
        self._action = action
        self._to = None if to is None else os.path.abspath(to)
        self._every = every
        self._taken: set[str] = set()
        self._row_of: dict[str, int] = {}
        self._gone: dict[int, str] = {}
        """The cluster that an image which moves or is deleted went with."""
        self.confirmed = self.unconfirmed = 0

    def steps(self) -> Iterator[ApplyStep]:
        """One for each image of the clusters that are acted on, the kept one first."""
        listing = self._listing
        table, faces = listing.findings.clusters, listing.faces
        for number in listing.clusters(0).order.tolist():
            members = table.members[table.offsets[number] : table.offsets[number + 1]]
            rows = np.searchsorted(faces.id, members)
            if not np.isin(members, faces.id).all() or listing.decided.divides(rows):
                self.unconfirmed += 1  # the next `find` will see it another way
            elif self._every or listing.decided.is_one_person(rows):
                self.confirmed += 1
                yield from self._cluster(table.key[number], rows.tolist())
            else:
                self.unconfirmed += 1

    def _cluster(self, key: str, rows: list[int]) -> Iterator[ApplyStep]:
        listing = self._listing
        images = [
            (image, row)
            for row in rows
            for image in listing.copies.rows(int(listing.faces.image[row])).tolist()
        ]
        images.sort(key=self._rank)
        # An image that shows this person twice counts by the better face.
        faces: dict[int, int] = {}
        for image, row in images:
            faces.setdefault(image, row)
        shown = Counter(image for image, _ in images)
        self._row_of |= {listing.path(image): image for image in faces}
        sound = [(image, row, self.trouble(listing.path(image))) for image, row in faces.items()]
        best = next((image for image, _, trouble in sound if not trouble), None)
        if best is None:
            for image, _, trouble in sound:
                yield ApplyStep(key, listing.path(image), "left", trouble)
            return
        praise = self._praise(best, faces[best])
        yield ApplyStep(key, listing.path(best), "keep", f"the best of {len(faces)}: {praise}")
        for image, row, trouble in sound:
            if trouble:
                yield ApplyStep(key, listing.path(image), "left", trouble)
            elif image != best:
                yield self._step(key, image, row, best, shows_others=self._faces_in(image) > shown[image])

    def _faces_in(self, image: int) -> int:
        return int(self._listing.copies.faces[self._listing.images.first[image]])

    def _step(self, key: str, image: int, row: int, best: int, *, shows_others: bool) -> ApplyStep:
        listing = self._listing
        path, kept = listing.path(image), listing.path(best)
        first = listing.images.first
        if is_one_file(path, kept):
            return ApplyStep(key, path, "left", "it is the same file as the one kept")
        if shows_others and first[image] != first[best]:
            number = self._faces_in(image)
            return ApplyStep(key, path, "left", f"it shows {number} faces, others than this person's, too")
        if image in self._gone:
            return ApplyStep(key, path, "left", f"it goes with cluster {self._gone[image]}")
        if self._action in ("move", "delete"):
            self._gone[image] = key
        reason = "byte-identical to the one kept" if first[image] == first[best] else self._praise(image, row)
        if self._action == LIST:
            return ApplyStep(key, path, LIST, reason, kept)
        target = None
        if self._to is not None:
            target = free_name(os.path.join(self._to, key), os.path.basename(path), self._taken)
        return ApplyStep(key, path, self._action, reason, kept, target)

    def _rank(self, item: tuple[int, int]) -> tuple[float, int, int]:
        """Best first: quality of the face, then pixels of the image, then path."""
        image, row = item
        images = self._listing.images
        score = float(np.nan_to_num(self._listing.faces.quality[row, 0], nan=-1.0))
        return -score, -int(images.width[image]) * int(images.height[image]), int(self._listing.rank[image])

    def _praise(self, image: int, row: int) -> str:
        """What speaks for an image."""
        images, quality = self._listing.images, self._listing.faces.quality[row].tolist()
        size = f"{images.width[image]} x {images.height[image]} pixels"
        if np.isnan(quality[0]):
            return f"quality unknown, {size}"
        known = [pair for pair in zip(_PARTS, quality[1:], strict=True) if not math.isnan(pair[1])]
        parts = ", ".join(f"{name} {value:.2f}" for name, value in known)
        return f"quality {quality[0]:.2f} ({parts}), {size}"

    def trouble(self, path: str) -> str:
        """Why a file of these clusters is not touched, "" where it is as it was indexed."""
        images, image = self._listing.images, self._row_of[path]
        try:
            found = os.stat(path)
        except OSError as exc:
            return f"it cannot be reached: {exc.strerror}"
        if os.path.islink(path):
            return "it is a link to another file"
        if (found.st_size, found.st_mtime_ns) != (images.size[image], images.mtime_ns[image]):
            return "it changed since it was indexed"
        return ""
