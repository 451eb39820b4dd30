"""`export` and `import`: tables out and in."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from facededup.cli.options import NewStoreOptions, Request, StoreOptions, takes
from facededup.cli.text import counted, shown

Target = Annotated[str, typer.Argument(metavar="FILE", help="Where the table goes.")]
Source = Annotated[str, typer.Argument(metavar="FILE", help="A .npz or .parquet table of embeddings.")]
What = Annotated[
    str,
    typer.Option("--what", metavar="TABLE", help="pairs (all of the last find) or faces (with embeddings)."),
]
Form = Annotated[
    str | None,
    typer.Option("--format", metavar="NAME", help="parquet, csv or npz. Default: by the name of the file."),
]


@takes(StoreOptions)
def export(request: Request, file: Target, *, what: What = "pairs", form: Form = None) -> None:
    """Write pairs or embeddings as a table for other programs.

    Parquet needs the extra `parquet`. The columns are described in docs/exchange.md.
    """
    from facededup import api
    from facededup.cli.tables import note_unsearched
    from facededup.exchange import export_table

    chosen = form or os.path.splitext(file)[1].lstrip(".")
    rows = export_table(request.settings, file, what=what, form=chosen)
    request.out.print(
        f"{counted(rows, what.removesuffix('s'))} written to {shown(file)}", markup=False, soft_wrap=True
    )
    if what == "pairs":
        note_unsearched(request.notes, api.store_status(settings=request.settings))


@takes(StoreOptions, NewStoreOptions)
def import_(request: Request, file: Source) -> None:
    """Take in embeddings made elsewhere by the same model.

    The file is a table as `export --what faces` writes it; `path` and `embedding` are enough for a store
    that is there already.
    """
    from facededup.exchange import import_faces

    images, faces = import_faces(request.settings, file)
    request.out.print(
        f"{counted(faces, 'face')} of {counted(images, 'image')} taken from {shown(file)}",
        markup=False,
        soft_wrap=True,
    )
