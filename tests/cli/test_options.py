from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from facededup.cli import options
from facededup.cli.command import Command
from facededup.cli.options import Request, takes
from facededup.errors import UsageError
from facededup.settings import Settings, load_settings

CONFIGS = Path(__file__).parents[2] / "configs"
CLASSES = [
    group for name, group in vars(options).items() if name.endswith("Options") and isinstance(group, type)
]
# One that another extends is in that other.
GROUPS = [group for group in CLASSES if not any(group in other.__mro__[1:] for other in CLASSES)]


@pytest.fixture
def asked(monkeypatch):
    """A command with every option; gives the settings a command line leads to."""
    for field in fields(Settings):
        monkeypatch.delenv(f"FACEDEDUP_{field.name.upper()}", raising=False)
    seen: list[Request] = []
    groups = [group for group in GROUPS if group not in (options.TalkOptions, options.ResetFindingsOptions)]

    @takes(*groups)
    def command(request: Request, words: Annotated[list[str] | None, typer.Argument()] = None) -> None:
        assert words is None
        seen.append(request)

    app = typer.Typer(rich_markup_mode=None)
    app.command(cls=Command)(command)

    def ask(*line: str) -> Request:
        result = CliRunner().invoke(app, line, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return seen.pop()

    ask.app = app
    return ask


def test_nothing_given_is_the_defaults(asked):
    assert asked().settings == Settings()


def test_every_option_reaches_its_setting(asked):
    line = (
        "--store s.h5 --cpu --engine onnx --model-name ArcFace --detector-backend mtcnn --faces center "
        "--flip --crops 2 -p 3 --batch-size 7 --follow-symlinks --max-pixels 99 --reset --rehash "
        "--threshold 0.5 --max-pairs 8 --limit 0 --index flat --exact --recall 0.9 --clustering components "
        "--group-by parent --against b.h5 --calibration c.toml --min-quality 0.2 --normalize "
        "--confirm-model SFace --confirm-band 0.2 "
        "--queue --resume --chunk-images 5 --worker-wait 0"
    )
    assert asked(*line.split()).settings == Settings(
        store="s.h5",
        gpu=False,
        engine="onnx",
        model="ArcFace",
        detector="mtcnn",
        faces="center",
        flip=True,
        crops=2,
        processes=3,
        batch_size=7,
        follow_symlinks=True,
        max_pixels=99,
        reset=True,
        rehash=True,
        threshold=0.5,
        max_pairs=8,
        limit=0,
        index="flat",
        exact=True,
        recall=0.9,
        clustering="components",
        group_by="parent",
        against="b.h5",
        calibration="c.toml",
        min_quality=0.2,
        normalize=True,
        confirm_model="SFace",
        confirm_band=0.2,
        queue=True,
        resume=True,
        chunk_images=5,
        worker_wait=0.0,
    )


def test_command_line_beats_environment_beats_file(asked, tmp_path, monkeypatch):
    config = tmp_path / "c.toml"
    config.write_text("threshold = 0.1\nlimit = 1\nprocesses = 1\nreset = true\n")
    monkeypatch.setenv("FACEDEDUP_LIMIT", "2")
    monkeypatch.setenv("FACEDEDUP_PROCESSES", "2")
    settings = asked("--config", str(config), "-p", "3").settings
    assert (settings.threshold, settings.limit, settings.processes) == (0.1, 2, 3)
    assert settings.reset


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("treshold = 0.5", "unknown key 'treshold', perhaps meant as 'threshold'"),
        ("colour = 1", "unknown key 'colour': keys are named as"),
        ('threshold = "high"', "threshold in 'own.toml' must be a number, not 'high'"),
        ("flip = 1", "flip in 'own.toml' must be true or false, not 1"),
        ("processes = 1.5", "processes in 'own.toml' must be a whole number, not 1.5"),
    ],
)
def test_a_wrong_line_of_the_file_is_told_with_what_would_be_right(text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_settings({}, config="own.toml", environment={})
    assert said in str(caught.value)


def test_a_misspelt_variable_is_told_and_others_are_left_alone(asked, monkeypatch):
    monkeypatch.setenv("FACEDEDUP_TRESHOLD", "0.6")
    monkeypatch.setenv("FACEDEDUP_KEY", "k" * 16)
    monkeypatch.setenv("FACEDEDUP_SITE_NAME", "north")
    told = CliRunner().invoke(asked.app, []).stderr
    assert told == "note: FACEDEDUP_TRESHOLD in the environment is no setting; FACEDEDUP_THRESHOLD is\n"
    assert CliRunner().invoke(asked.app, ["--quiet"]).stderr == ""


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--faces", "some"], "faces must be one of"),
        (["--crops", "3"], "crops must be one of 1, 2, 5, not 3"),
        (["-p", "0"], "processes must be at least 1"),
        (["--json", "-", "--metrics", "-"], "only one of --json, --csv, --report and --metrics"),
        (["--config", "missing.toml"], "there is no configuration file"),
        (["--threshold", "x"], "threshold"),
        (["--index", "tree"], "index must be one of auto, flat, ivf"),
        (["--index", "ivf", "--exact"], "exclude each other"),
        (["--recall", "1"], "recall must be between 0 and 1"),
        (["--min-quality", "2"], "min_quality must be between 0 and 1"),
        (["--worker-wait", "-1"], "worker_wait must be 0 seconds (for ever) or more"),
        (["--confirm-band", "0"], "confirm_band must be above 0, not 0"),
        (["--clustering", "k-means"], "clustering must be one of"),
    ],
)
def test_wrong_usage_is_exit_code_2(asked, line, sentence):
    result = CliRunner().invoke(asked.app, line)
    assert result.exit_code == 2
    assert sentence in result.output


def test_standard_output_is_kept_for_the_file(asked):
    assert asked("--json", "-").out.quiet
    assert not asked("--json", "-").notes.quiet
    assert not asked("--json", "out.json").out.quiet
    assert asked("--quiet").notes.quiet


def test_the_ready_settings_load(asked):
    assert asked("--config", str(CONFIGS / "default.toml")).settings == Settings()
    gpu = asked("--config", str(CONFIGS / "gpu.toml")).settings
    assert gpu.gpu is True
    assert gpu == load_settings({}, config=str(CONFIGS / "gpu.toml"), environment={})


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ([], ("threshold", 0.6)),
        (["--fmr", "1e-5"], ("fmr", 1e-5)),
        (["--max-false-pairs", "3"], ("max_false_pairs", 3.0)),
    ],
)
def test_the_last_way_to_draw_the_line_counts(asked, tmp_path, monkeypatch, line, expected):
    config = tmp_path / "c.toml"
    config.write_text("max-false-pairs = 10\n")
    monkeypatch.setenv("FACEDEDUP_THRESHOLD", "0.6")
    settings = asked("--config", str(config), *line).settings
    default = Settings()
    chosen = {name: getattr(settings, name) for name in ("threshold", "max_false_pairs", "fmr")}
    assert chosen == {**{name: getattr(default, name) for name in chosen}, expected[0]: expected[1]}


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (["--threshold", "0.5", "--fmr", "1e-5"], "threshold and fmr exclude each other"),
        (["--fmr", "0"], "fmr must be a rate"),
        (["--max-false-pairs", "-1"], "max_false_pairs must be above 0"),
    ],
)
def test_two_lines_or_an_impossible_one_are_wrong_usage(asked, line, sentence):
    result = CliRunner().invoke(asked.app, line)
    assert result.exit_code == 2
    assert sentence in result.stderr
