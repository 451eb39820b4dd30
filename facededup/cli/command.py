"""How every command shows its help, and how it ends when it fails: one sentence and an exit code."""

from __future__ import annotations

import select
import sys
import traceback
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TextIO

import typer
from typer.core import TyperCommand, TyperGroup

from facededup.cli.text import shown
from facededup.errors import FacededupError, InterruptedRunError


class _EndsWithASentence:
    """Leaves with a sentence and the exit code of the error tree."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command."""
        try:
            with _logged(ctx):
                outcome = super().invoke(ctx)  # type: ignore[misc]  # of the class this one is put before
            # A reader of the pipe that has gone shows here, where typer still ends quietly.
            sys.stdout.flush()
        except (typer.Exit, typer.Abort):
            raise
        except KeyboardInterrupt as exc:
            raise _ended("interrupted; the work so far is kept", InterruptedRunError.exit_code, ctx) from exc
        except FacededupError as exc:
            raise _ended(str(exc), exc.exit_code, ctx) from exc
        except Exception as exc:
            if isinstance(exc, BrokenPipeError) and _reader_has_gone(sys.stdout):
                raise
            sentence = f"{type(exc).__name__}: {exc}"
            if not ctx.params.get("verbose"):
                sentence += " (run again with --verbose for the traceback)"
            raise _ended(sentence, FacededupError.exit_code, ctx) from exc
        return outcome


def _reader_has_gone(stream: TextIO) -> bool:
    """Whether what is written to a stream reaches nobody any more, as after `| head`.

    A pipe to a process of our own that died raises the same error, and that must not end a job in silence.
    """
    try:
        ends = select.poll()
    except AttributeError:  # Windows has none
        return True
    try:
        ends.register(stream, 0)
    except (OSError, ValueError):
        return False
    return bool(ends.poll(0))


def _logged(ctx: Any) -> AbstractContextManager[None]:
    path = ctx.params.get("log_file")
    if path is None:
        return nullcontext()
    from facededup.cli.logs import logging_to

    return logging_to(path, ctx.info_name, verbose=bool(ctx.params.get("verbose")))


class Command(_EndsWithASentence, TyperCommand):
    """A command with its options in groups, that leaves with a sentence and the exit code of the error tree.

    The help is plain text: what typer needs to draw boxes takes longer to import than all of the rest.
    """

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the options under the headings they were declared with."""
        _write_options(self, ctx, formatter)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What the usage line lists after the name; what may be left out is in brackets."""
        arguments = [item for item in self.get_params(ctx) if _is_argument(item)]
        pieces = [
            _argument_name(item) if item.required else f"[{_argument_name(item)}]" for item in arguments
        ]
        return ["[OPTIONS]", *pieces]


class Group(_EndsWithASentence, TyperGroup):
    """A command that does something by itself and has commands of its own."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Writes the options under the headings they were declared with, then the commands."""
        _write_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def _write_options(command: Any, ctx: Any, formatter: Any) -> None:
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(ctx):
        record = parameter.get_help_record(ctx)
        if record is not None:
            if _is_argument(parameter):
                record = (_argument_name(parameter), record[1])
            heading = getattr(parameter, "rich_help_panel", None) or "This command"
            groups.setdefault(heading, []).append(record)
    for heading, records in groups.items():
        with formatter.section(heading):
            formatter.write_dl(records)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _argument_name(argument: Any) -> str:
    """Its name without what typer knows of its type: a reader of the help has no use for `<list[str]>`."""
    return f"{argument.metavar}{'...' if argument.nargs != 1 else ''}"


def _ended(sentence: str, code: int, ctx: Any) -> typer.Exit:
    if ctx.params.get("verbose"):
        traceback.print_exc()
    typer.echo(f"error: {shown(sentence)}", err=True)
    return typer.Exit(code)
