from __future__ import annotations

import shlex

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from facededup import __version__
from facededup.cli.app import app

GROUP = get_command(app)
COMMANDS = sorted(GROUP.commands)


def test_the_commands():
    assert COMMANDS == [
        "apply",
        "compare",
        "decisions",
        "demo",
        "doctor",
        "evaluate",
        "export",
        "find",
        "flower",
        "forget",
        "import",
        "index",
        "models",
        "report",
        "review",
        "run",
        "search",
        "status",
        "store",
        "verify",
        "worker",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_explained(name):
    command = GROUP.commands[name]
    assert command.help
    for parameter in command.params:
        assert parameter.help, f"{name}: {parameter.name}"
        assert parameter.help.rstrip("]").endswith((".", ")")), f"{name}: {parameter.help}"


def test_arguments_are_named_as_a_reader_would():
    for line, usage, explained in (
        (["search"], "[OPTIONS] IMAGE", "  IMAGE "),
        (["demo"], "[OPTIONS] [DIR]", "  DIR "),
        (["run"], "[OPTIONS] [PATH...]", "  PATH... "),
        (["decisions", "add"], "[OPTIONS] IMAGE IMAGE VERDICT", "  VERDICT "),
        (["models"], "[OPTIONS] COMMAND [ARGS]...", "  fetch "),
    ):
        first, *others = CliRunner().invoke(app, [*line, "--help"]).output.splitlines()
        assert first == f"Usage: root {' '.join(line)} {usage}"
        assert any(other.startswith(explained) for other in others)
        assert not any("<" in other for other in others)


def test_no_line_of_the_list_of_commands_is_cut_off():
    for line in ([], ["decisions"], ["models"], ["store"]):
        listed = CliRunner().invoke(app, [*line, "--help"]).output.partition("Commands:")[2]
        assert listed
        assert "..." not in listed


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_every_option_and_ends_with_an_example(name):
    result = CliRunner().invoke(app, [name, "--help"])
    assert result.exit_code == 0
    for parameter in GROUP.commands[name].params:
        for option in parameter.opts:
            assert option in result.output or parameter.param_type_name == "argument"
    assert result.output.rstrip().splitlines()[-1].strip().startswith(f"Example: facededup {name}")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_example_is_valid(name):
    words = shlex.split(GROUP.commands[name].epilog.removeprefix("Example: "))
    assert words[:2] == ["facededup", name]
    GROUP.commands[name].make_context(name, words[2:])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_sentence_fits_the_list_of_commands(name):
    listing = CliRunner().invoke(app, ["--help"]).output
    assert GROUP.commands[name].help.split("\n")[0] in listing


def test_an_option_is_the_same_everywhere():
    seen: dict[str, tuple] = {}
    for name in COMMANDS:
        for parameter in GROUP.commands[name].params:
            # What `evaluate` takes is no store to be searched: there is none by default.
            own = parameter.name in ("port", "reset", "threshold") or (name, parameter.name) == (
                "evaluate",
                "store",
            )
            if parameter.param_type_name == "option" and not own:
                declared = (parameter.opts, parameter.secondary_opts, parameter.help, parameter.default)
                assert seen.setdefault(parameter.name, declared) == declared


def test_version():
    assert CliRunner().invoke(app, ["--version"]).output == f"facededup {__version__}\n"


def test_no_command_shows_the_help():
    result = CliRunner().invoke(app, [])
    assert "Commands:" in result.output
