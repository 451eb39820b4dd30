"""Files moved, copied, linked or deleted by what was found, and that taken back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from facededup.results import (
    ApplyResult,
)
from facededup.settings import Settings, chosen_settings

if TYPE_CHECKING:
    from facededup.file_actions import Undone


def apply_findings(
    action: str,
    *,
    to: str | os.PathLike[str] | None = None,
    every: bool = False,
    yes: bool = False,
    log: str | os.PathLike[str] | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> ApplyResult:
    """Keeps the best image of each confirmed cluster, and acts on the others.

    Args:
        action: `list`, `copy`, `move`, `hardlink` or `delete`.
        to: Folder for the images, in a folder a cluster; not for `list` and `delete`.
        every: All clusters of the last findings, also those that nobody confirmed.
        yes: Do it; else only say what would be done.
        log: Where the log goes, which must not exist; by default a file named by the time.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: No such action, no folder for it, no findings, or the log exists.
        StoreNotFoundError: There is no store.
        JobError: The log cannot be written; nothing was done after that.
    """
    from facededup import applying

    return applying.apply_findings(
        chosen_settings(settings, options),
        action,
        to=None if to is None else os.fsdecode(to),
        every=every,
        yes=yes,
        log=None if log is None else os.fsdecode(log),
    )


def undo_apply(log: str | os.PathLike[str]) -> Undone:
    """Takes back what a log of `apply_findings` says was done; what was deleted stays so.

    Args:
        log: The log.

    Raises:
        PathNotFoundError: There is no such log.
        UsageError: It is none.
    """
    from facededup.file_actions import undo

    return undo(os.fsdecode(log))
