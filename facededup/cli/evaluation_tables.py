"""What `evaluate` measured, in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from facededup.cli.text import shown
from facededup.report.evaluation import evaluation_tables

if TYPE_CHECKING:
    from rich.console import Console

    from facededup.evaluation.pipeline import EvaluateResult


def print_evaluation(out: Console, result: EvaluateResult) -> None:
    """The tables, one below the other."""
    for title, headings, rows in evaluation_tables(result):
        out.print(Text(f"\n{title}", style="bold"))
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, show_header=any(headings))
        for heading in headings:
            table.add_column(heading, overflow="fold")
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        out.print(table)
