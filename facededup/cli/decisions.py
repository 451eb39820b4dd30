"""`decisions`: what people decided of pairs of faces."""

from __future__ import annotations

import math
import os
from collections import Counter
from datetime import UTC, datetime
from typing import Annotated

import typer

from facededup.cli.command import Command
from facededup.cli.options import JsonOptions, Request, StoreOptions, takes
from facededup.cli.text import counted, shown

decisions_commands = typer.Typer(
    help="List, add, write and take what was decided of pairs of faces.",
    epilog="Example: facededup decisions list",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Target = Annotated[str, typer.Argument(metavar="FILE", help="FILE.csv, or JSON under any other name.")]
Source = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="JSON or CSV as the report or `decisions export` writes it, or CSV of path_a, path_b, verdict.",
    ),
]
Image = Annotated[
    str, typer.Argument(metavar="IMAGE", help="An image in the store; IMAGE#1 for its second face.")
]
Verdict = Annotated[
    str, typer.Argument(metavar="VERDICT", help="same, different, look-alike, later or undo.")
]
Who = Annotated[str, typer.Option("--who", metavar="NAME", help="Who decided; free text.")]
Standing = Annotated[bool, typer.Option("--standing", help="Only those that hold now.")]


@decisions_commands.command(
    "list", cls=Command, epilog="Example: facededup decisions list --standing --json decisions.json"
)
@takes(StoreOptions, JsonOptions)
def list_(request: Request, *, standing: Standing = False) -> None:
    """Show the log of decisions, oldest first."""
    from facededup import api
    from facededup.report.decision_file import write_decisions

    entries = api.list_decisions(settings=request.settings)
    if standing:
        entries = tuple(entry for entry in entries if entry.holds)
    if request.json_file is not None:
        write_decisions([entry.decision for entry in entries], request.json_file)
    for entry in entries:
        decision = entry.decision
        when = datetime.fromtimestamp(decision.at, UTC).strftime("%Y-%m-%d %H:%M") if decision.at else ""
        names = (shown(os.fsdecode(path)) or "?" for path in (decision.a_path, decision.b_path))
        notes = [] if entry.holds else ["does not hold"]
        notes += [] if entry.in_store else ["not in the store"]
        score = "" if math.isnan(decision.similarity) else f"  {decision.similarity:.3f}"
        request.out.print(
            f"{decision.verdict:<10}  {'  '.join(names)}{score}  {when}  {shown(decision.who)}"
            f"{'  (' + ', '.join(notes) + ')' if notes else ''}",
            markup=False,
            soft_wrap=True,
        )
    held = Counter(entry.decision.verdict for entry in entries if entry.holds)
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in sorted(held.items())) or "none holds"
    request.out.print(f"{counted(len(entries), 'decision')}: {counts}", markup=False)


@decisions_commands.command(
    cls=Command, epilog="Example: facededup decisions add a.jpg b.jpg different --who Kim"
)
@takes(StoreOptions)
def add(request: Request, image_a: Image, image_b: Image, verdict: Verdict, *, who: Who = "") -> None:
    """Decide on a pair of faces.

    The next `find` respects it. `undo` takes back the latest decision on the pair.
    """
    from facededup import api

    decision = api.add_decision(image_a, image_b, verdict, who=who, settings=request.settings)
    request.out.print(
        f"{decision.verdict}: {shown(image_a)} and {shown(image_b)} "
        f"(similarity {decision.similarity:.3f}, cosine {decision.cosine:.4f})",
        markup=False,
        soft_wrap=True,
    )


@decisions_commands.command(
    "import", cls=Command, epilog="Example: facededup decisions import decisions.json"
)
@takes(StoreOptions)
def import_(request: Request, file: Source, *, who: Who = "") -> None:
    """Take in decisions from a file, all or none.

    Those already there are left out.
    """
    from facededup import api

    result = api.import_decisions(file, who=who, settings=request.settings)
    request.out.print(f"{counted(result.taken, 'decision')} taken, {result.known:,} known already")


@decisions_commands.command(cls=Command, epilog="Example: facededup decisions export decisions.csv")
@takes(StoreOptions)
def export(request: Request, file: Target) -> None:
    """Write all decisions to a file."""
    from facededup import api

    count = api.export_decisions(file, settings=request.settings)
    if file != "-":
        said = f"{counted(count, 'decision')} written to {shown(file)}"
        request.out.print(said, markup=False, soft_wrap=True)
