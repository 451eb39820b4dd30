"""Which pairs are found."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Search"


class SearchOptions:
    """Which pairs are found."""

    threshold: Annotated[
        float | None,
        typer.Option(
            "--threshold",
            metavar="X",
            help="Lowest similarity of a pair; 0.4 is the model's own limit, 1 is identical. Default: 0.4.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    max_false_pairs: Annotated[
        float | None,
        typer.Option(
            "--max-false-pairs",
            metavar="N",
            help="Instead of --threshold: take the lowest one at which so many false pairs are to be "
            "expected among the faces compared.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    fmr: Annotated[
        float | None,
        typer.Option(
            "--fmr",
            metavar="X",
            help="Instead of --threshold: the share of the pairs of two people that may be taken for one, "
            "such as 1e-5.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    calibration: Annotated[
        str | None,
        typer.Option(
            "--calibration",
            metavar="FILE.toml",
            help="Scale and error rates of the model, as `facededup evaluate` measures them. Default: the "
            "store's, else the catalogue's.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    index: Annotated[
        str | None,
        typer.Option(
            "--index",
            metavar="NAME",
            help="How to search: flat is exact, ivf and hnsw approximate with their recall measured, auto "
            "exact unless that would take more than about ten minutes, else ivf. Default: auto.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    exact: Annotated[
        bool | None,
        typer.Option("--exact", help="Search exactly however long it takes.", rich_help_panel=_HEADING),
    ] = None
    recall: Annotated[
        float | None,
        typer.Option(
            "--recall",
            metavar="X",
            help="Part of the pairs an approximate search is tuned to find. Default: 0.999.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    clustering: Annotated[
        str | None,
        typer.Option(
            "--clustering",
            metavar="NAME",
            help="How pairs make clusters: average (linkage), components or chinese-whispers. "
            "Default: average.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="REGEX|parent|column:NAME|none",
            help="Images known to be of one person, not to be reported: those in one folder (parent), with "
            "the same value in a column of the manifest, or with the same match of a regular expression in "
            "their paths (its first group). Default: the manifest's column group, where it has one.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    date_by: Annotated[
        str | None,
        typer.Option(
            "--date-by",
            metavar="REGEX|column:NAME|mtime",
            help="When an image came about, for duplicates over time in the report and the JSON: a date in "
            "its path, by a regular expression (its groups, or all it matches: year, month, day), in "
            "a column of the manifest, or its file's last change. Default: mtime.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    min_quality: Annotated[
        float | None,
        typer.Option(
            "--min-quality",
            metavar="X",
            help="Leave faces of a lower quality out of the pairs, 0 to 1: small, blurred, turned or dark "
            "ones. Default: take all.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize",
            help="Add a second score to each listed pair: how far its cosine stands out among those of its "
            "two faces with other people.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    confirm_model: Annotated[
        str | None,
        typer.Option(
            "--confirm-model",
            metavar="NAME",
            help="Add another model's score to each listed pair near the threshold; it looks at the photos "
            "again, and the similarity stays what it is.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    confirm_band: Annotated[
        float | None,
        typer.Option(
            "--confirm-band",
            metavar="X",
            help="How far above the threshold a similarity is near it. Default: 0.1.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    max_pairs: Annotated[
        int | None,
        typer.Option(
            "--max-pairs",
            metavar="N",
            help="Stop before more pairs than this are stored. Default: 50,000,000.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class AgainstOptions:
    """Another store to compare with."""

    against: Annotated[
        str | None,
        typer.Option(
            "--against",
            metavar="STORE",
            help="Compare with the faces of this other store, an enrolled base, and not with each other; "
            "list the pairs and store nothing.",
            rich_help_panel=_HEADING,
        ),
    ] = None
