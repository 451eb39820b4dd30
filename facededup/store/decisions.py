"""The log of decisions as columns, for the store's file and its journal.

`a_digest` and `b_digest` are uint8 (n, 32), `a_box` and `b_box` int32 (n, 4) in the order x, y, w, h;
`verdict`, `who`, `model`, `a_path` and `b_path` are texts of a fixed length; `at` is int64, `similarity` and
`cosine` are float64.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import astuple, replace

import numpy as np

from facededup.store.base import DIGEST_BYTES
from facededup.store.tables import decode_text, encode_text, fixed_length
from facededup.types import Array, Box, Decision, FaceKey

VERDICTS = ("same", "different", "look-alike", "later", "undo")


def decision_columns(decisions: Sequence[Decision]) -> dict[str, Array]:
    """Decisions as columns, in order.

    Raises:
        ValueError: One of them breaks a rule of `Writer.append_decisions`; the message says which.
    """
    for decision in decisions:
        _validate(decision)
    columns: dict[str, Array] = {}
    for side in ("a", "b"):
        keys: list[FaceKey] = [getattr(decision, side) for decision in decisions]
        digests = np.frombuffer(b"".join(key.digest for key in keys), "|u1")
        columns[f"{side}_digest"] = digests.reshape(len(keys), DIGEST_BYTES)
        columns[f"{side}_box"] = np.array([astuple(key.box) for key in keys], "<i4").reshape(len(keys), 4)
        columns[f"{side}_path"] = fixed_length([getattr(decision, f"{side}_path") for decision in decisions])
    for name in ("verdict", "who", "model"):
        columns[name] = fixed_length([encode_text(getattr(decision, name)) for decision in decisions])
    for name, kind in (("at", "<i8"), ("similarity", "<f8"), ("cosine", "<f8")):
        columns[name] = np.array([getattr(decision, name) for decision in decisions], kind)
    return columns


def read_decisions(columns: Mapping[str, Array]) -> tuple[Decision, ...]:
    """The decisions of `decision_columns`.

    Raises:
        KeyError: A column is missing.
        ValueError: Columns differ in length, or hold what no decision does.
    """
    a, b = (
        [
            FaceKey(digest.tobytes(), Box(*box))
            for digest, box in zip(columns[f"{side}_digest"], columns[f"{side}_box"].tolist(), strict=True)
        ]
        for side in ("a", "b")
    )
    texts = (list(map(decode_text, columns[name].tolist())) for name in ("verdict", "who", "model"))
    plain = (columns[name].tolist() for name in ("at", "a_path", "b_path", "similarity", "cosine"))
    decisions = tuple(
        Decision(
            a=left,
            b=right,
            verdict=verdict,
            who=who,
            model=model,
            at=at,
            a_path=a_path,
            b_path=b_path,
            similarity=similarity,
            cosine=cosine,
        )
        for left, right, verdict, who, model, at, a_path, b_path, similarity, cosine in zip(
            a, b, *texts, *plain, strict=True
        )
    )
    for decision in decisions:
        _validate(decision)
    return decisions


def _validate(decision: Decision) -> None:
    if len(decision.a.digest) != DIGEST_BYTES or len(decision.b.digest) != DIGEST_BYTES:
        raise ValueError(f"a decision needs digests of {DIGEST_BYTES} bytes")
    if decision.verdict not in VERDICTS:
        raise ValueError(f"a verdict is one of {', '.join(VERDICTS)}, not {decision.verdict!r}")
    if b"\0" in decision.a_path + decision.b_path:
        raise ValueError("a path of a decision has a zero byte")


def pack_forgotten(contents: Collection[bytes], paths: Collection[bytes]) -> bytes:
    """What is to be forgotten, as the payload of a journal record."""
    forgotten = {
        "contents": sorted(content.hex() for content in contents),
        "paths": sorted(map(os.fsdecode, paths)),
    }
    return json.dumps(forgotten).encode()


def forget(decisions: Iterable[Decision], payload: bytes) -> list[Decision]:
    """Decisions without those that `pack_forgotten` packed; a path may leave though its decision stays."""
    forgotten = json.loads(payload)
    contents = set(map(bytes.fromhex, forgotten["contents"]))
    paths = set(map(os.fsencode, forgotten["paths"]))
    return [
        replace(
            decision,
            a_path=b"" if decision.a_path in paths else decision.a_path,
            b_path=b"" if decision.b_path in paths else decision.b_path,
        )
        for decision in decisions
        if not {decision.a.digest, decision.b.digest} & contents
    ]
