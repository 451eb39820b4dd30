"""Decisions as JSON (schema facededup/decisions/1) and CSV, and pairs of paths with a verdict.

The fields are those of `Decision`; a digest is hexadecimal, a box `[x, y, w, h]`, a score that is not known
null in JSON and empty in CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from facededup.csv_rows import csv_writer
from facededup.decisions import APART, LATER, SAME, UNDO
from facededup.errors import JobError, PathNotFoundError, UsageError
from facededup.report.files import writing
from facededup.store.base import DIGEST_BYTES
from facededup.types import Box, Decision, FaceKey

SCHEMA = "facededup/decisions/1"
VERDICTS = (SAME, *APART, LATER, UNDO)
COLUMNS = (
    *("a_digest", "a_box", "b_digest", "b_box", "verdict", "who", "at"),
    *("a_path", "b_path", "similarity", "cosine", "model"),
)


@dataclass(frozen=True, slots=True)
class NamedPair:
    """A verdict on two images by path, and the faces' numbers where they are given."""

    a: str
    b: str
    verdict: str
    a_face: int | None = None
    b_face: int | None = None


def write_decisions(decisions: Iterable[Decision], path: str) -> None:
    """Writes decisions, as CSV where the name ends in `.csv`, else as JSON.

    Args:
        decisions: In the order of the log.
        path: A file, replaced in one step, or `-` for standard output.

    Raises:
        JobError: The file cannot be written.
    """
    rows = map(_row, decisions)
    with writing(path) as file:
        if path.lower().endswith(".csv"):
            table = csv_writer(file)
            table.writerow(COLUMNS)
            for row in rows:
                boxes = {name: json.dumps(row[name]) for name in ("a_box", "b_box")}
                table.writerow((row | boxes).values())
        else:
            lines = ",\n".join(map(json.dumps, rows))
            file.write(f'{{"schema": "{SCHEMA}",\n"decisions": [\n{lines}\n]}}\n')


def read_decisions(path: str) -> list[Decision | NamedPair]:
    """Reads what `write_decisions` and the report's download write, and files of pairs.

    A file of pairs is a CSV file with the columns `path_a`, `path_b`, `verdict` and perhaps `face_a`,
    `face_b`, or a JSON array of objects with these fields.

    Raises:
        PathNotFoundError: There is no such file.
        JobError: It cannot be read.
        UsageError: It is no such file; the sentence names the entry.
    """
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            text = file.read()
    except FileNotFoundError as exc:
        raise PathNotFoundError(f"there is no file {path!r}") from exc
    except OSError as exc:
        raise JobError(f"cannot read {path!r}: {exc.strerror}") from exc
    entries = _json_entries(text, path) if text.lstrip()[:1] in ("[", "{") else _csv_entries(text, path)
    found: list[Decision | NamedPair] = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(parse_entry(entry))
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as exc:
            said = f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
            raise UsageError(f"{path!r} cannot be taken: entry {number}: {said}; nothing was taken") from exc
    return found


def _row(decision: Decision) -> dict[str, Any]:
    return {
        **_key("a", decision.a),
        **_key("b", decision.b),
        "verdict": decision.verdict,
        "who": decision.who,
        "at": decision.at,
        "a_path": os.fsdecode(decision.a_path),
        "b_path": os.fsdecode(decision.b_path),
        "similarity": None if math.isnan(decision.similarity) else decision.similarity,
        "cosine": None if math.isnan(decision.cosine) else decision.cosine,
        "model": decision.model,
    }


def _key(side: str, key: FaceKey) -> dict[str, Any]:
    return {
        f"{side}_digest": key.digest.hex(),
        f"{side}_box": [key.box.x, key.box.y, key.box.w, key.box.h],
    }


def _json_entries(text: str, path: str) -> list[Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"{path!r} is no JSON: {exc}") from exc
    if isinstance(document, dict):
        if document.get("schema") != SCHEMA or not isinstance(document.get("decisions"), list):
            raise UsageError(f"{path!r} holds no decisions of the schema {SCHEMA}")
        document = document["decisions"]
    return list(document)


def _csv_entries(text: str, path: str) -> Iterator[dict[str, Any]]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    names = set(table.fieldnames or ())
    if not ({"a_digest", "b_digest", "verdict"} <= names or {"path_a", "path_b", "verdict"} <= names):
        raise UsageError(
            f"{path!r} holds no decisions: its heading must have a_digest, a_box, b_digest, b_box and "
            "verdict, or path_a, path_b and verdict"
        )
    try:
        yield from table
    except csv.Error as exc:
        raise UsageError(f"{path!r} is no CSV: {exc}") from exc


def parse_entry(entry: Mapping[str, Any]) -> Decision | NamedPair:
    """One entry of a file, or of what the report's page sends.

    Raises:
        KeyError, TypeError, ValueError, AttributeError, OverflowError: It is none; most say why.
    """
    verdict = entry["verdict"]
    if verdict not in VERDICTS:
        raise ValueError(f"the verdict must be one of {', '.join(VERDICTS)}, not {verdict!r}")
    if "a_digest" not in entry:
        return NamedPair(
            _text(entry["path_a"]),
            _text(entry["path_b"]),
            verdict,
            _number(entry.get("face_a")),
            _number(entry.get("face_b")),
        )
    return Decision(
        a=_face(entry, "a"),
        b=_face(entry, "b"),
        verdict=verdict,
        who=_text(entry.get("who")),
        at=_number(entry.get("at")) or 0,
        a_path=os.fsencode(_text(entry.get("a_path"))),
        b_path=os.fsencode(_text(entry.get("b_path"))),
        similarity=_score(entry.get("similarity")),
        cosine=_score(entry.get("cosine")),
        model=_text(entry.get("model")),
    )


def _face(entry: Mapping[str, Any], side: str) -> FaceKey:
    digest = bytes.fromhex(entry[f"{side}_digest"])
    if len(digest) != DIGEST_BYTES:
        raise ValueError(f"{side}_digest must have {2 * DIGEST_BYTES} hexadecimal digits")
    given = entry[f"{side}_box"]
    box = [int(part) for part in re.findall(r"-?\d+", given)] if isinstance(given, str) else list(given)
    if len(box) != 4 or any(not isinstance(part, int) or abs(part) >= 1 << 31 for part in box):
        raise ValueError(f"{side}_box must be four whole numbers, x, y, w and h")
    return FaceKey(digest, Box(*box))


def _number(value: Any) -> int | None:
    if value in (None, ""):
        return None
    number = int(value)
    if not 0 <= number < 1 << 62:
        raise ValueError(f"{number} is no such number")
    return number


def _text(value: Any) -> str:
    """A text that can be stored, of a path too; "" for none."""
    text = str(value or "")
    if b"\0" in os.fsencode(text):
        raise ValueError(f"{text!r} has a zero byte")
    return text


def _score(value: Any) -> float:
    score = math.nan if value in (None, "") else float(value)
    if math.isinf(score):
        raise ValueError(f"{score} is no score")
    return score
