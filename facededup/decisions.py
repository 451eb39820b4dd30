"""What the log of decisions says of the faces of a store: what holds now, pair by pair.

A face is known by the hash of its file and its box: a box that overlaps by half or more (intersection over
union) is the same face, so decisions outlive another detector or model. Per pair the latest decision holds,
unless it was undone. `same` passes through chains; where a chain leads to two faces said to be different,
they stay apart, and of its links the oldest are left out.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facededup.matching.constraints import link, spread
from facededup.store.base import FaceTable, ImageTable, Snapshot
from facededup.types import Box, Decision, FaceKey

SAME, DIFFERENT, LOOK_ALIKE, LATER, UNDO = "same", "different", "look-alike", "later", "undo"
APART = (DIFFERENT, LOOK_ALIKE)
OVERLAP = 0.5

Rows = NDArray[np.int64]


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, from 0 to 1."""
    width = min(a.x + a.w, b.x + b.w) - max(a.x, b.x)
    height = min(a.y + a.h, b.y + b.h) - max(a.y, b.y)
    shared = max(0, width) * max(0, height)
    whole = a.w * a.h + b.w * b.h - shared
    return shared / whole if whole > 0 else float(a == b)


class Faces:
    """Tells which face a key means: a row of the store's faces, or one only the log knows.

    Args:
        images: All images.
        faces: All faces.
        log: The decisions whose keys will be asked for.
    """

    def __init__(self, images: ImageTable, faces: FaceTable, log: Iterable[Decision]) -> None:
        self._boxes: defaultdict[bytes, list[tuple[Box, Hashable]]] = defaultdict(list)
        self._known: dict[FaceKey, Hashable] = {}
        wanted = {key.digest for decision in log for key in (decision.a, decision.b)}
        for row in _rows_of(images, faces, wanted).tolist():
            digest = images.digest[faces.image[row]].tobytes()
            if digest in wanted:
                self._boxes[digest].append((Box(*faces.box[row].tolist()), row))

    def which(self, key: FaceKey) -> Hashable:
        """The row of a face as int, else the first key that meant the same face."""
        if key not in self._known:
            boxes = self._boxes[key.digest]
            found = max(boxes, key=lambda item: overlap(item[0], key.box), default=None)
            if found is None or overlap(found[0], key.box) < OVERLAP:
                found = key.box, key
                boxes.append(found)
            self._known[key] = found[1]
        return self._known[key]


def _rows_of(images: ImageTable, faces: FaceTable, digests: set[bytes]) -> Rows:
    """Rows of the faces whose content's digest may be one of some; a few others may be among them."""
    if not digests or not len(faces):
        return np.empty(0, np.int64)
    starts = np.array([int.from_bytes(digest[:8], "little") for digest in digests], np.uint64)
    prefixes = np.ascontiguousarray(images.digest[:, :8]).view("<u8").ravel()
    return np.flatnonzero(np.isin(prefixes, starts)[faces.image])


def standing(log: Iterable[Decision], faces: Faces) -> dict[frozenset[Hashable], Decision]:
    """The decision that holds for each pair of faces, in the order of the log.

    Args:
        log: All decisions, in order; one on a face and itself means nothing.
        faces: Tells which faces are the same.
    """
    taken: defaultdict[frozenset[Hashable], list[tuple[int, Decision]]] = defaultdict(list)
    for place, decision in enumerate(log):
        pair = frozenset((faces.which(decision.a), faces.which(decision.b)))
        if len(pair) != 2:
            continue
        if decision.verdict == UNDO:
            del taken[pair][-1:]
        else:
            taken[pair].append((place, decision))
    latest = sorted(((*said[-1], pair) for pair, said in taken.items() if said), key=lambda item: item[0])
    return {pair: decision for _, decision, pair in latest}


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What holds for the faces of a store.

    Attributes:
        verdicts: (a, b) -> decision, rows of faces with a < b.
        count: Number of faces.
        same: int64 (m, 2), the pairs said to be the same, the latest first.
        apart: int64 (k, 2), the pairs said to be different people.
        person: int64 (faces,), the lowest row that each face is tied to by `same`; None without any `same`.
        contradictions: `same` decisions left out because a `different` one stands against their chain.
        elsewhere: Decisions that hold, on a face that is not in the store.
    """

    verdicts: Mapping[tuple[int, int], Decision]
    count: int
    same: Rows
    apart: Rows
    person: Rows | None
    contradictions: int
    elsewhere: int

    def are_apart(self, a: Rows, b: Rows) -> NDArray[np.bool_]:
        """Which pairs of rows are held to be different people."""
        return self._among(self.apart, a, b)

    def are_same(self, a: Rows, b: Rows) -> NDArray[np.bool_]:
        """Which pairs of rows are held to be one person by a decision on just this pair."""
        return self._among(self.same, a, b)

    def _among(self, pairs: Rows, a: Rows, b: Rows) -> NDArray[np.bool_]:
        if not len(pairs):
            return np.zeros(len(a), np.bool_)
        keys = np.minimum(a, b) * self.count + np.maximum(a, b)
        return np.isin(keys, pairs[:, 0] * self.count + pairs[:, 1])

    @property
    def kept_apart(self) -> Rows:
        """int64 (l, 2), rows that may not share a cluster, also by way of `same`."""
        return self.apart if self.person is None else spread(self.apart, self.person)

    def divides(self, rows: Rows) -> bool:
        """Whether two of some faces may not share a cluster."""
        return bool(len(self.apart)) and bool(np.isin(self.kept_apart, rows).all(axis=1).any())

    def is_one_person(self, rows: Rows) -> bool:
        """Whether some faces are tied to each other by decisions; one face alone is."""
        if len(rows) < 2:
            return True
        return self.person is not None and bool((self.person[rows] == self.person[rows[0]]).all())

    def verdict(self, a: int, b: int) -> str | None:
        """The verdict on two rows, None where there is none."""
        found = self.verdicts.get((min(a, b), max(a, b)))
        return None if found is None else found.verdict

    def counts(self) -> dict[str, int]:
        """Decisions that hold for faces of the store, by verdict, `contradictions` and `elsewhere`."""
        by_verdict = Counter(decision.verdict for decision in self.verdicts.values())
        return {
            **{verdict: by_verdict[verdict] for verdict in (SAME, DIFFERENT, LOOK_ALIKE, LATER)},
            "contradictions": self.contradictions,
            "elsewhere": self.elsewhere,
        }


def decide(snapshot: Snapshot) -> Decided:
    """What the decisions of a store say of its faces."""
    log = snapshot.decisions()
    count = len(snapshot.faces)
    if not log:
        return Decided({}, count, _couples([]), _couples([]), None, 0, 0)
    held = standing(log, Faces(snapshot.images, snapshot.faces, log))
    verdicts: dict[tuple[int, int], Decision] = {}
    for pair, decision in held.items():
        rows = sorted(face for face in pair if isinstance(face, int))
        if len(rows) == 2:
            verdicts[rows[0], rows[1]] = decision
    same = _couples([pair for pair, held_for in verdicts.items() if held_for.verdict == SAME])[::-1]
    apart = _couples([pair for pair, held_for in verdicts.items() if held_for.verdict in APART])
    person, contradictions = link(count, same, apart) if len(same) else (None, 0)
    return Decided(
        verdicts=verdicts,
        count=count,
        same=same,
        apart=apart,
        person=person,
        contradictions=contradictions,
        elsewhere=len(held) - len(verdicts),
    )


def _couples(pairs: list[tuple[int, int]]) -> Rows:
    return np.array(pairs, np.int64).reshape(-1, 2)
