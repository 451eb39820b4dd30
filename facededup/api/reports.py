"""The last findings as pictures and as a page."""

from __future__ import annotations

import os
from typing import Any

from facededup.progress import Progress, SilentProgress
from facededup.results import FindResult
from facededup.settings import Settings, chosen_settings


def write_contact_sheets(
    folder: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> int:
    """Draws the faces of each listed cluster of the last findings as a PNG file.

    Args:
        folder: Where they go; made if it is not there.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `limit=100`; they go before `settings`.

    Returns:
        How many were written.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: It has no findings; run `find` first.
        JobError: The folder cannot be written.
    """
    from facededup.report.contact_sheet import write_contact_sheets as write

    return write(chosen_settings(settings, options), os.fsdecode(folder), progress or SilentProgress())


def write_report(
    path: str | os.PathLike[str],
    *,
    edges: int | None = None,
    symmetric: bool = False,
    inline_limit: int | None = None,
    result: FindResult | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> None:
    """Writes the last findings as one HTML page, to look through, search, decide on and print.

    Args:
        path: The file; pictures that outgrow it lie in a folder beside it.
        edges: List only so many pairs of highest and as many of lowest similarity.
        symmetric: List each pair in both directions.
        inline_limit: Bytes of pictures in the file itself, at most; 30 million by default.
        result: Of the `find` whose findings these are: its timing and a second model's scores are shown, too.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance.
        **options: Fields of `Settings`, e.g. `store="people.h5"`, `limit=1000`; they go before `settings`.

    Raises:
        StoreNotFoundError: There is no store.
        UsageError: It has no findings; run `find` first.
        JobError: The file cannot be written.
    """
    from facededup.report.html_report import INLINE_LIMIT, write_html
    from facededup.report.page_data import PageOptions

    chosen = chosen_settings(settings, options)
    write_html(
        chosen,
        os.fsdecode(path),
        PageOptions(limit=chosen.limit, edges=edges, symmetric=symmetric),
        progress or SilentProgress(),
        inline_limit=INLINE_LIMIT if inline_limit is None else inline_limit,
        result=result,
    )
