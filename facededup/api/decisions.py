"""Decisions on pairs of faces: listed, made, taken from a file and written to one."""

from __future__ import annotations

import os
from typing import Any

from facededup.results import (
    DecisionEntry,
    DecisionImport,
)
from facededup.settings import Settings, chosen_settings
from facededup.types import Decision


def list_decisions(*, settings: Settings | None = None, **options: Any) -> tuple[DecisionEntry, ...]:
    """All decisions of a store, in the order they were made.

    Args:
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
    """
    from facededup.deciding import decision_entries

    return decision_entries(chosen_settings(settings, options))


def add_decision(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    verdict: str,
    *,
    who: str = "",
    settings: Settings | None = None,
    **options: Any,
) -> Decision:
    """Decides on a pair of faces; durable on return.

    Args:
        a: Path of an image in the store, with `#` and a number for one face of several.
        b: Likewise.
        verdict: `same`, `different`, `look-alike`, `later` or `undo`.
        who: Free text.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: The store has no such image.
        UsageError: No such verdict or face, or both are one face.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.deciding import add

    return add(chosen_settings(settings, options), os.fsdecode(a), os.fsdecode(b), verdict, who=who)


def import_decisions(
    path: str | os.PathLike[str], *, who: str = "", settings: Settings | None = None, **options: Any
) -> DecisionImport:
    """Appends the decisions of a file to the log, all or none; those already there are left out.

    Args:
        path: JSON or CSV, as `export_decisions` or the report writes it, or pairs of paths with a verdict.
        who: Whose decisions they are where the file does not say.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        PathNotFoundError: There is no such file, or the store has no such image.
        UsageError: The file holds no decisions; the sentence names the entry.
        StoreLockedError: Another process is writing to the store.
    """
    from facededup.deciding import take_decisions

    return take_decisions(chosen_settings(settings, options), os.fsdecode(path), who=who)


def export_decisions(
    path: str | os.PathLike[str], *, settings: Settings | None = None, **options: Any
) -> int:
    """Writes all decisions of a store to a file, CSV where its name ends so, else JSON; gives their number.

    Args:
        path: A file, replaced in one step, or `-` for standard output.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        JobError: The file cannot be written.
    """
    from facededup.deciding import write_log

    return write_log(chosen_settings(settings, options), os.fsdecode(path))
