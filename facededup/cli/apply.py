"""`apply`: what is done about the duplicates."""

from __future__ import annotations

from typing import Annotated

import typer

from facededup.cli.options import Request, StoreOptions, takes
from facededup.cli.text import counted, shown
from facededup.errors import InterruptedRunError, JobError, UsageError

Action = Annotated[
    str | None,
    typer.Argument(metavar="ACTION", help="list, copy, move, hardlink or delete, all but the best image."),
]
To = Annotated[
    str | None, typer.Option("--to", metavar="DIR", help="Where images go, in a folder for each cluster.")
]
Every = Annotated[bool, typer.Option("--all", help="All clusters found, also those that nobody confirmed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it. Without it, only say what would be done.")]
Log = Annotated[
    str | None,
    typer.Option("--log", metavar="FILE", help="The log to be made. Default: named by the time, here."),
]
Undo = Annotated[
    str | None,
    typer.Option("--undo", metavar="LOG", help="Take back what a log says; what was deleted stays so."),
]


@takes(StoreOptions)
def apply(
    request: Request,
    action: Action = None,
    *,
    to: To = None,
    all_clusters: Every = False,
    yes: Yes = False,
    log: Log = None,
    undo: Undo = None,
) -> None:
    """Keep each person's best image; move or delete the others.

    Only clusters that `same` decisions confirm in whole, unless --all is given. The best image is that of the
    highest quality. Nothing is done without --yes, nothing is overwritten, and images that changed since they
    were indexed or that show other people, too, are left alone.
    """
    if (action is None) == (undo is None):
        raise UsageError("apply takes an action (list, copy, move, hardlink or delete) or --undo LOG")
    if undo is not None:
        _undo(request, undo)
        return
    assert action is not None
    _apply(request, action, to=to, every=all_clusters, yes=yes, log=log)


def _apply(request: Request, action: str, *, to: str | None, every: bool, yes: bool, log: str | None) -> None:
    from facededup import api
    from facededup.cli.tables import note_unsearched

    result = api.apply_findings(action, to=to, every=every, yes=yes, log=log, settings=request.settings)
    out = request.out
    cluster = ""
    for step in result.steps:
        if step.cluster != cluster:
            cluster = step.cluster
            out.print(f"cluster {cluster}", markup=False)
        goes = f" -> {shown(step.target)}" if step.target else ""
        line = f"  {step.action:<8}  {shown(step.path)}{goes}: {shown(step.reason)}"
        out.print(line, markup=False, soft_wrap=True)
    for failure in result.failures:
        request.notes.print(shown(failure), markup=False, soft_wrap=True)
    planned = sum(bool(step.kept) for step in result.steps)
    kind = "cluster" if every else "confirmed cluster"
    out.print(f"{counted(result.clusters, kind)}, {counted(planned, 'image')} to {action}", markup=False)
    if result.unconfirmed:
        why = "changed since the last find" if every else "not confirmed by decisions; --all takes them, too"
        out.print(f"{counted(result.unconfirmed, 'cluster')} left out: {why}", markup=False)
    note_unsearched(request.notes, api.store_status(settings=request.settings))
    if result.log is not None:
        named = "the log" if action == "delete" else "the log for --undo"
        out.print(f"{result.done:,} done; {named} is {shown(result.log)}", markup=False, soft_wrap=True)
    elif planned and action != "list":
        out.print("nothing was done: --yes does it")
    if result.interrupted:
        again = "the same command" if log is None else "the same command with another --log"
        raise InterruptedRunError(f"interrupted; {again} does the rest")
    if result.failures:
        raise JobError(f"{len(result.failures)} of {planned} images could not be handled, see above")


def _undo(request: Request, log: str) -> None:
    from facededup import api

    undone = api.undo_apply(log)
    for sentence in undone.kept:
        request.notes.print(shown(sentence), markup=False, soft_wrap=True)
    request.out.print(f"{undone.reverted:,} taken back, {len(undone.kept):,} left")
    if undone.kept:
        raise JobError(f"{len(undone.kept)} could not be taken back, see above")
