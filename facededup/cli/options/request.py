"""From the options of a command line to the request they add up to.

A command is written as a body that takes a `Request` and its own parameters; `takes` adds the options of the
groups it names. Where an option has the name of a field of `Settings`, its value goes there.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

from facededup.cli.options.output import TalkOptions
from facededup.errors import UsageError
from facededup.progress import Progress, SilentProgress
from facededup.report.files import STANDARD_OUTPUT, check_writable
from facededup.settings import Settings, load_settings, misspelt_variables, parse_devices

if TYPE_CHECKING:
    from rich.console import Console

Body = Callable[..., None]
"""What a command does; its first argument is the `Request`, the others are its own parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user asked for.

    Attributes:
        settings: For the library.
        progress: Where the library tells how far it is.
        out: The terminal for results; says nothing while standard output carries a file.
        notes: The terminal for remarks, standard error.
        json_file: Where the result goes as JSON, if anywhere; `-` is standard output.
        csv_file: Likewise as CSV.
        report_file: Likewise as a page.
        metrics_file: Likewise the metrics.
        contact_sheet: The folder for pictures of the clusters, if any.
        verbose: Say more.
    """

    settings: Settings
    progress: Progress
    out: Console
    notes: Console
    json_file: str | None
    csv_file: str | None
    report_file: str | None
    metrics_file: str | None
    contact_sheet: str | None
    verbose: bool


def takes(*groups: type) -> Callable[[Body], Body]:
    """Gives a command the options of some groups and its body the request they add up to."""
    shared = [parameter for group in (*groups, TalkOptions) for parameter in _parameters(group)]

    def decorate(body: Body) -> Body:
        hints = get_type_hints(body, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(body).parameters.values())[1:]
        ]

        @functools.wraps(body)
        def command(**given: Any) -> None:
            options = {parameter.name: given.pop(parameter.name) for parameter in shared}
            with _request(options) as request:
                body(request, **given)

        parameters = own + shared
        # What typer reads to build the command.
        command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return command

    return decorate


def _parameters(group: type) -> Iterator[inspect.Parameter]:
    for name, annotation in get_type_hints(group, include_extras=True).items():
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=getattr(group, name), annotation=annotation
        )


@contextmanager
def _request(options: dict[str, Any]) -> Iterator[Request]:
    from facededup.cli.progress import TerminalProgress
    from facededup.cli.terminal import console

    overrides = {field.name: options.get(field.name) for field in fields(Settings)}
    if overrides["devices"] is not None:
        overrides["devices"] = parse_devices(overrides["devices"])
    settings = load_settings(overrides, config=options.get("config"))
    files = {name: options.get(name) for name in ("json_file", "csv_file", "report_file", "metrics_file")}
    targets = [path for path in files.values() if path is not None]
    if targets.count(STANDARD_OUTPUT) > 1:
        raise UsageError("only one of --json, --csv, --report and --metrics can go to standard output")
    for path in targets:
        check_writable(path)
    if options.get("against") and (options.get("report_file") or options.get("contact_sheet")):
        raise UsageError(
            "--report and --contact-sheet show what a store keeps, --against keeps nothing: leave them out"
        )
    quiet = options["quiet"]
    notes = console(sys.stderr, quiet=quiet)
    for name, meant in misspelt_variables().items():
        notes.print(f"note: {name} in the environment is no setting; {meant} is", soft_wrap=True)
    # A dumb terminal cannot take a bar back: each would leave an empty line.
    shows_bars = notes.is_terminal and not notes.is_dumb_terminal and not quiet
    with TerminalProgress(notes) if shows_bars else _no_progress() as progress:
        yield Request(
            settings=settings,
            progress=progress if options["log_file"] is None else _logged(progress),
            out=console(sys.stdout, quiet=quiet or STANDARD_OUTPUT in targets),
            notes=notes,
            **files,
            contact_sheet=options.get("contact_sheet"),
            verbose=options["verbose"],
        )


def _logged(progress: Progress) -> Progress:
    from facededup.cli.logs import LoggedProgress

    return LoggedProgress(progress)


@contextmanager
def _no_progress() -> Iterator[Progress]:
    yield SilentProgress()
