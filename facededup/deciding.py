"""`decisions`: the log of decisions listed, extended, written to a file and taken from one."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from facededup.calibration import store_calibration
from facededup.decisions import Faces, standing
from facededup.errors import PathNotFoundError, UsageError
from facededup.matching.flat import exact_cosine
from facededup.models.scores import similarity
from facededup.report.decision_file import VERDICTS, NamedPair, read_decisions, write_decisions
from facededup.results import DecisionEntry, DecisionImport
from facededup.settings import Settings
from facededup.store.base import Snapshot, Writer
from facededup.store.opener import open_store
from facededup.types import Box, Decision, FaceKey


def decision_entries(settings: Settings) -> tuple[DecisionEntry, ...]:
    """All decisions of a store, in the order they were made.

    Raises:
        StoreNotFoundError: There is no store.
    """
    with open_store(settings.store, settings.key_file).snapshot() as snapshot:
        log = snapshot.decisions()
        faces = Faces(snapshot.images, snapshot.faces, log)
        holding = {id(decision) for decision in standing(log, faces).values()}
        return tuple(
            DecisionEntry(
                decision,
                holds=id(decision) in holding,
                in_store=all(isinstance(faces.which(key), int) for key in (decision.a, decision.b)),
            )
            for decision in log
        )


def write_log(settings: Settings, path: str) -> int:
    """Writes all decisions to a file, CSV or JSON by its name; how many.

    Raises:
        StoreNotFoundError: There is no store.
        JobError: The file cannot be written.
    """
    with open_store(settings.store, settings.key_file).snapshot() as snapshot:
        log = snapshot.decisions()
    write_decisions(log, path)
    return len(log)


def take_decisions(settings: Settings, path: str, *, who: str) -> DecisionImport:
    """Appends the decisions of a file to the log, all or none; those already there are left out.

    Args:
        settings: Of the run.
        path: See `decision_file.read_decisions`.
        who: Whose decisions they are where the file does not say.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: There is no such file, or the store has no such image.
        UsageError: It holds no decisions, or a face is not said.
        StoreLockedError: Another process is writing to the store.
    """
    entries = read_decisions(path)
    with open_store(settings.store, settings.key_file).writer() as writer:
        made = list(_resolved(entries, _Named(writer.snapshot), settings, who))
        known = Counter(map(_identity, writer.snapshot.decisions()))
        fresh = []
        for decision in made:
            # One by one: the same verdict may be given, undone and given again within a second.
            if known[_identity(decision)]:
                known[_identity(decision)] -= 1
            else:
                fresh.append(decision)
        _refuse_one_face(writer, fresh)
        writer.append_decisions(fresh)
        return DecisionImport(settings.store, taken=len(fresh), known=len(made) - len(fresh))


def add(settings: Settings, a: str, b: str, verdict: str, *, who: str) -> Decision:
    """Appends one decision.

    Args:
        settings: Of the run.
        a: Path of an image, with `#` and a number for one face of several.
        b: Likewise.
        verdict: `same`, `different`, `look-alike`, `later` or `undo`.
        who: Free text.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: The store has no such image.
        UsageError: No such verdict or face, or both are one face.
        StoreLockedError: Another process is writing to the store.
    """
    if verdict not in VERDICTS:
        raise UsageError(f"the verdict must be one of {', '.join(VERDICTS)}, not {verdict!r}")
    with open_store(settings.store, settings.key_file).writer() as writer:
        (decision,) = _resolved([NamedPair(a, b, verdict)], _Named(writer.snapshot), settings, who)
        _refuse_one_face(writer, [decision])
        writer.append_decisions([decision])
    return decision


class _Named:
    """Finds faces by the path of their image."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._row_of = {path: row for row, path in enumerate(snapshot.images.path)}

    def face(self, name: str, number: int | None) -> tuple[int, bytes]:
        """A row of the faces, and the path.

        Args:
            name: A path, with `#` and a number where none is given apart.
            number: Of the face.

        Raises:
            PathNotFoundError: There is no such image.
            UsageError: There is no such face, or it is not said which.
        """
        head, mark, tail = name.rpartition("#")
        if number is None and mark and tail.isdecimal() and _stored(name) not in self._row_of:
            name, number = head, int(tail)
        path = _stored(name)
        if path not in self._row_of:
            raise PathNotFoundError(f"the store has no image {name!r}")
        images, faces = self.snapshot.images, self.snapshot.faces
        rows = np.flatnonzero(faces.image == images.first[self._row_of[path]])
        if len(rows) == 0:
            raise UsageError(f"no face is known in {name!r}")
        if number is None and len(rows) > 1:
            raise UsageError(
                f"{name!r} shows {len(rows)} faces: say which by its number, as in {name + '#0'!r}"
            )
        found = rows[faces.number[rows] == (number or 0)]
        if len(found) == 0:
            raise UsageError(f"{name!r} has no face {number}: it has {len(rows)}, numbered from 0")
        return int(found[0]), path

    def key(self, row: int) -> FaceKey:
        """What makes a face known."""
        images, faces = self.snapshot.images, self.snapshot.faces
        return FaceKey(images.digest[faces.image[row]].tobytes(), Box(*faces.box[row].tolist()))


def _stored(name: str) -> bytes:
    return os.fsencode(os.path.abspath(name))


def _resolved(
    entries: Iterable[Decision | NamedPair], named: _Named, settings: Settings, who: str
) -> Iterator[Decision]:
    snapshot = named.snapshot
    operating = store_calibration(settings, snapshot).operating_cosine
    for entry in entries:
        if isinstance(entry, Decision):
            yield entry
            continue
        (a, a_path), (b, b_path) = named.face(entry.a, entry.a_face), named.face(entry.b, entry.b_face)
        vectors = (snapshot.embeddings(row, row + 1) for row in (a, b))
        cosine = float(exact_cosine(*vectors)[0])
        yield Decision(
            a=named.key(a),
            b=named.key(b),
            verdict=entry.verdict,
            who=who,
            at=int(time.time()),
            a_path=a_path,
            b_path=b_path,
            similarity=float(similarity(cosine, operating)),
            cosine=cosine,
            model=snapshot.fingerprint.model,
        )


def _refuse_one_face(writer: Writer, decisions: list[Decision]) -> None:
    faces = Faces(writer.snapshot.images, writer.snapshot.faces, decisions)
    for decision in decisions:
        if faces.which(decision.a) == faces.which(decision.b):
            names = [os.fsdecode(path) or "?" for path in (decision.a_path, decision.b_path)]
            raise UsageError(
                f"{names[0]!r} and {names[1]!r} are one face of the same bytes: there is nothing to decide"
            )


def _identity(decision: Decision) -> tuple[FaceKey, FaceKey, str, str, int]:
    """What makes two entries of the log one; scores need not be numbers."""
    return decision.a, decision.b, decision.verdict, decision.who, decision.at
