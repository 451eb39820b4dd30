"""Writes docs/cli.md: the help of every command, as the program prints it.

python docs/make_cli.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from typer.main import get_command

from facededup.cli.app import app

PAGE = Path(__file__).parent / "cli.md"
WIDTH = 100


def sections(command: Any, context: Any) -> list[str]:
    """A heading and the help of a command, then of those below it."""
    made = [f"## {context.command_path}\n\n```text\n{command.get_help(context).rstrip()}\n```\n"]
    for name in sorted(getattr(command, "commands", {})):
        below = command.commands[name]
        made += sections(below, inside(below, name, context))
    return made


def inside(command: Any, name: str, parent: Any = None) -> Any:
    """The context in which a command shows its help."""
    return command.context_class(command, info_name=name, parent=parent, terminal_width=WIDTH)


def page() -> str:
    """The whole page."""
    root = get_command(app)
    head = "# Command line\n\nThe help of every command, as `--help` prints it.\n"
    return "\n".join([head, *sections(root, inside(root, "facededup"))])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
