"""What the documentation shows works: Python examples run, command lines are valid."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from facededup.cli.app import app
from facededup.cli.demo import write_pictures

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
REFERENCE = ROOT / "docs" / "cli.md"


def examples(language):
    """The code blocks of all pages in a language, with the page's name."""
    return [
        pytest.param(block, id=f"{page.stem}-{number}")
        for page in PAGES
        for number, block in enumerate(
            re.findall(
                rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
            )
        )
    ]


def command_lines():
    """Every `facededup ...` of all pages but the reference, whether in a line or in a block."""
    found = {}
    for page in PAGES:
        if page != REFERENCE:
            text = page.read_text(encoding="utf-8").replace("\\\n", " ")
            inline = re.findall(r"`(?:\.venv/bin/)?(facededup [a-z][^`]*)`", text)
            fenced = "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
            blocks = re.findall(r"^(?:\$ )?(?:\.venv/bin/)?(facededup [a-z].*)$", fenced, re.MULTILINE)
            found |= dict.fromkeys(" ".join(line.partition("  #")[0].split()) for line in inline + blocks)
    return [line for line in found if "..." not in line]


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(str(tmp_path / "photos"))


@pytest.mark.parametrize("code", examples("python"))
def test_the_python_examples_run(code, photos):
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    assert list(Path().glob("*.h5"))


@pytest.mark.parametrize("line", command_lines())
def test_the_command_lines_are_valid(line):
    command, words = get_command(app), shlex.split(line)[1:]
    context = command.context_class(command, info_name="facededup")
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words[0]]
        context = command.context_class(command, info_name=words.pop(0), parent=context)
    assert command is not get_command(app), line
    try:
        command.parse_args(context, words)
    except Exception as error:
        # A command is often named without what it needs.
        if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


def test_the_reference_of_commands_is_current():
    spec = importlib.util.spec_from_file_location("make_cli", ROOT / "docs" / "make_cli.py")
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    current = REFERENCE.read_text(encoding="utf-8") == made.page()
    assert current, "run `python docs/make_cli.py`"


def test_every_page_is_in_the_site():
    listed = re.findall(
        r"(\w+(?:-\w+)*\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(listed) == sorted(page.name for page in PAGES[1:])
