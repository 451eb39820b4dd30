"""The commands, put together."""

from __future__ import annotations

from typing import Annotated

import typer

import facededup
from facededup.cli.apply import apply
from facededup.cli.command import Command
from facededup.cli.compare import compare
from facededup.cli.decisions import decisions_commands
from facededup.cli.demo import demo
from facededup.cli.doctor import doctor
from facededup.cli.evaluate import evaluate
from facededup.cli.exchange import export, import_
from facededup.cli.jobs import find, index, run
from facededup.cli.maintenance import forget, store_commands, verify
from facededup.cli.models import models_commands
from facededup.cli.overview import status
from facededup.cli.queue import flower, worker
from facededup.cli.report import report
from facededup.cli.review import review
from facededup.cli.search import search

app = typer.Typer(
    help="Find the same person enrolled twice in a large folder of images.",
    epilog="Example: facededup demo",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _body, _example in (
    (index, "facededup index photos -p 4"),
    (find, "facededup find --threshold 0.5 --json findings.json --csv pairs.csv"),
    (run, "facededup run photos --json findings.json --metrics metrics.json"),
    (search, "facededup search somebody.jpg -k 5"),
    (compare, "facededup compare one.jpg other.jpg --sheet sheet.png"),
    (report, "facededup report report.html --edges 500"),
    (review, "facededup review"),
    (apply, "facededup apply move --to duplicates"),
    (status, "facededup status"),
    (verify, "facededup verify"),
    (forget, "facededup forget --missing --dry-run"),
    (export, "facededup export pairs.parquet"),
    (import_, "facededup import faces.npz --store other.h5"),
    (evaluate, "facededup evaluate labelled --write-calibration ours.toml"),
    (worker, "facededup worker --root /photos -c 8"),
    (flower, "facededup flower --port 5555"),
    (doctor, "facededup doctor"),
    (demo, "facededup demo"),
):
    app.command(_body.__name__.rstrip("_"), cls=Command, epilog=f"Example: {_example}")(_body)
app.add_typer(decisions_commands, name="decisions")
app.add_typer(models_commands, name="models")
app.add_typer(store_commands, name="store")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"facededup {facededup.__version__}")
        raise typer.Exit


@app.callback()
def _facededup(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version  # its callback has done the work
