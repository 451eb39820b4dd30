"""What `review` serves: the page over the last findings, and decisions saved as they are made."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from facededup.errors import UsageError
from facededup.listing import Listing
from facededup.report.decision_file import parse_entry
from facededup.report.html_report import last_findings
from facededup.report.page_data import PageOptions, page_data, verdicts_in_page
from facededup.report.page_template import embedded, page_parts
from facededup.report.pictures import PictureMaker
from facededup.settings import Settings
from facededup.store.opener import open_store
from facededup.types import Decision


@dataclass(frozen=True, slots=True)
class Saved:
    """The answer to some decisions: what others decided since, and how long the log is now."""

    entries: tuple[dict[str, Any], ...]
    revision: int


class Review:
    """The findings of a store as they were when it began, and the log of decisions as it is.

    Safe to use from several threads. A decision is durable in the store before `save` returns; the store is
    locked for that moment only.

    Args:
        settings: `store` and `max_pixels` are looked at.
        options: What is listed.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: The store has no findings.
    """

    def __init__(self, settings: Settings, options: PageOptions) -> None:
        self._store = open_store(settings.store, settings.key_file)
        self._saving = threading.Lock()
        with self._store.snapshot() as snapshot:
            listing = Listing(snapshot, *last_findings(snapshot, self._store.location))
            self._data = page_data(snapshot, listing, self._store.location, options, None)
            detector, limit = snapshot.fingerprint.detector, settings.max_pixels
            self._maker = PictureMaker(listing.images, listing.faces, listing.copies, detector, limit)
            self._log = list(snapshot.decisions())
        document = {name: value for name, value in self._data.document.items() if name != "decisions"}
        self._document = embedded(document).removesuffix("}")

    def page(self, base: str) -> bytes:
        """The page as it is served below `base`, with the decisions that hold now."""
        with self._saving, self._store.snapshot() as snapshot:
            verdicts = verdicts_in_page(snapshot, self._data.face_ids)
            self._log = list(snapshot.decisions())
            revision = len(self._log)
        before, between, after = page_parts(connects=True)
        live = embedded({"base": base, "revision": revision})
        data = f'{self._document},"decisions":{embedded(verdicts)},"live":{live}}}'
        return f"{before}{data}{between}null{after}".encode()

    def picture(self, content: int, place: int) -> bytes | None:
        """A photo (place 0) or a face of a content, by numbers in the page; None if it cannot be shown."""
        if not 0 <= content < len(self._data.contents):
            return None
        row = int(self._data.contents[content])
        faces = self._data.faces[self._data.face_content == content].tolist()
        if place == 0:
            return self._maker.make(row, ()).photo
        if not 0 < place <= len(faces):
            return None
        return self._maker.make(row, faces[place - 1 : place], photo=False).faces[0]

    def save(self, entries: list[Any], revision: int) -> Saved:
        """Appends decisions to the log, durably, and gives back what came from elsewhere.

        Decisions that are in the log already are left out: a page sends again what got no answer.

        Args:
            entries: As the page exports them, see docs/decisions.md.
            revision: The length of the log that the page knows.

        Raises:
            UsageError: An entry is none.
            StoreLockedError: Another process is writing to the store.
            StoreWriteError: They cannot be written; none is.
        """
        decided = [_decision(entry) for entry in entries]
        with self._saving:
            if decided:
                with self._store.writer() as writer:
                    self._log = list(writer.snapshot.decisions())
                    known = set(map(_identity, self._log))
                    fresh = [decision for decision in decided if _identity(decision) not in known]
                    if fresh:
                        writer.append_decisions(fresh)
                        self._log += fresh
            # Whatever others appended came before ours.
            own = set(map(_identity, decided))
            others = [decision for decision in self._log[revision:] if _identity(decision) not in own]
            return Saved(tuple(map(_exported, others)), len(self._log))

    def close(self) -> None:
        """Waits until what is being saved is durable; nothing is saved afterwards."""
        self._saving.acquire()


def _identity(decision: Decision) -> tuple[Any, ...]:
    """What makes two entries the same; scores are not numbers to compare."""
    return decision.a, decision.b, decision.verdict, decision.who, decision.at


def _exported(decision: Decision) -> dict[str, Any]:
    """What a page needs of a decision that was made elsewhere."""
    a, b = decision.a, decision.b
    return {
        "a_digest": a.digest.hex(),
        "a_box": [a.box.x, a.box.y, a.box.w, a.box.h],
        "b_digest": b.digest.hex(),
        "b_box": [b.box.x, b.box.y, b.box.w, b.box.h],
        "verdict": decision.verdict,
    }


def _decision(entry: Any) -> Decision:
    try:
        decision = parse_entry(entry)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
        raise UsageError("an entry is no decision as docs/decisions.md describes it") from exc
    if not isinstance(decision, Decision):
        raise UsageError("an entry names no faces")
    return decision
