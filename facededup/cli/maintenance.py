"""`verify`, `forget` and `store pack`: looking after a store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from facededup.cli.command import Command
from facededup.cli.options import JsonOptions, Request, StoreOptions, takes
from facededup.cli.text import counted, shown, size
from facededup.errors import DamagedStoreError

if TYPE_CHECKING:
    from facededup.results import ForgetResult, VerifyResult
    from facededup.store.base import Repair

_LISTED = 20

Forgotten = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH", help="Images, and folders for everything below them; they need not exist."
    ),
]
RepairFlag = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Keep what is intact, list what must be indexed again; the old file stays as .damaged.",
    ),
]
Missing = Annotated[
    bool, typer.Option("--missing", help="Only images whose file is gone while its folder can be reached.")
]
OlderThan = Annotated[
    float | None,
    typer.Option(
        "--older-than", metavar="DAYS", help="Only images that were first indexed more than DAYS days ago."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")]

Encrypt = Annotated[
    bool | None,
    typer.Option("--encrypt/--decrypt", help="Encrypt the store with its key, or store it as it is."),
]
NewKeyFile = Annotated[
    str | None,
    typer.Option("--new-key-file", metavar="FILE", help="Encrypt it with this key from now on."),
]
Source = Annotated[str, typer.Argument(metavar="FROM", help="Store to be read.")]
Target = Annotated[str, typer.Argument(metavar="TO", help="Store to be made.")]
KeyFile = Annotated[
    str | None, typer.Option("--key-file", metavar="FILE", help="Holds the key of an encrypted FROM.")
]
Replace = Annotated[bool, typer.Option("--reset", help="Replace the store that is there; decisions stay.")]

store_commands = typer.Typer(
    help="Look after the store's files.",
    epilog="Example: facededup store pack",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@takes(StoreOptions, JsonOptions)
def verify(request: Request, *, repair: RepairFlag = False) -> None:
    """Check every byte of the store.

    Records, checksums, counts, shapes, norms and cross-references. Exit code 3 says that it is damaged.
    """
    from logging import getLogger

    from facededup import api
    from facededup.report.json_report import verify_document, write_json

    result = api.verify(repair=repair, settings=request.settings)
    if request.json_file is not None:
        write_json(verify_document(result), request.json_file)
    _show_check(request, result)
    log = getLogger(__name__)
    log.info("verify: %d bytes checked, %d problems", result.checked_bytes, len(result.problems))
    for problem in result.problems:
        log.debug("%s", problem)
    if result.repair is not None:
        _show_repair(request, result.repair)
    elif result.problems:
        raise DamagedStoreError(
            f"the store {result.store!r} is damaged: `facededup verify --repair` keeps what is intact, "
            "a backup may have all of it"
        )


@takes(StoreOptions, JsonOptions)
def forget(
    request: Request,
    paths: Forgotten = None,
    *,
    missing: Missing = False,
    older_than: OlderThan = None,
    dry_run: DryRun = False,
) -> None:
    """Remove images and all that was derived from them.

    Faces, embeddings and findings go with them, and the store is written anew, so that their bytes are in no
    file of it. Conditions add up: with --missing and --older-than, images that are both. What stays is a note
    of when and how many.
    """
    from logging import getLogger

    from facededup import api
    from facededup.report.json_report import forget_document, write_json

    result = api.forget(
        paths or [], missing=missing, older_than=older_than, dry_run=dry_run, settings=request.settings
    )
    if request.json_file is not None:
        write_json(forget_document(result), request.json_file)
    _show_forgotten(request, result)
    getLogger(__name__).info("forget: %d images, %d faces", result.images, result.faces)


@store_commands.command(cls=Command, epilog="Example: facededup store pack")
@takes(StoreOptions)
def pack(request: Request, *, encrypt: Encrypt = None, new_key_file: NewKeyFile = None) -> None:
    """Write the store anew as one file without gaps.

    Only large stores need it: smaller ones are packed at the end of every run. With --encrypt, --decrypt or
    --new-key-file the new file is encrypted, is not, or has another key.
    """
    from facededup import api

    result = api.pack(encrypt=encrypt, new_key_file=new_key_file, settings=request.settings)
    request.out.print(f"packed: {size(result.bytes_before)} before, {size(result.bytes_after)} now")


@store_commands.command(
    cls=Command, epilog="Example: facededup store copy people.h5 postgresql://db.example/registry"
)
@takes(JsonOptions)
def copy(
    request: Request, source: Source, target: Target, *, reset: Replace = False, key_file: KeyFile = None
) -> None:
    """Copy a store into another of any kind, and compare them.

    FROM and TO are paths of files, or postgresql:// or redis:// URLs. Images, faces, embeddings, findings and
    decisions are copied. A file made of an encrypted one is encrypted, a server's store is not. Until they
    were compared the copy is marked, and nothing else can use it.
    """
    from facededup import api
    from facededup.report.json_report import copy_document, write_json

    result = api.copy_store(source, target, reset=reset, key_file=key_file, progress=request.progress)
    request.out.print(
        f"copied: {counted(result.images, 'image')}, {counted(result.faces, 'face')}, "
        f"{counted(result.pairs, 'pair')}, {counted(result.clusters, 'cluster')}, "
        f"{counted(result.decisions, 'decision')} in {result.seconds:,.1f} s"
    )
    request.out.print(f"compared: embeddings have the SHA-256 {result.embeddings_sha256} in both")
    if request.json_file is not None:
        write_json(copy_document(result), request.json_file)


def _show_check(request: Request, result: VerifyResult) -> None:
    checked = f"{size(result.checked_bytes)} checked in {result.seconds:,.1f} s"
    if not result.problems:
        request.out.print(f"sound: {checked}")
        return
    request.out.print(f"damaged: {checked}")
    for problem in result.problems:
        request.out.print(f"  {shown(problem)}", soft_wrap=True)


def _show_repair(request: Request, repair: Repair) -> None:
    out = request.out
    out.print(f"repaired: {counted(repair.images, 'image')} and {counted(repair.faces, 'embedding')} kept")
    out.print(f"  the damaged file is now {shown(repair.kept_as)}", soft_wrap=True)
    if repair.gaps:
        out.print("  committed batches are missing in the journal; the next index finds what was in them")
    if repair.nameless:
        out.print(f"  {repair.nameless:,} images lost even their paths; the next index finds them as new")
    if not repair.findings_kept:
        out.print("  the findings could not be kept; run find again")
    if not repair.decisions_kept:
        out.print("  the decisions could not be kept")
    if repair.lost:
        out.print(f"  {len(repair.lost):,} images must be indexed again:")
    shown_paths = repair.lost if request.verbose else repair.lost[:_LISTED]
    for path in shown_paths:
        out.print(f"    {shown(os.fsdecode(path))}", soft_wrap=True)
    if len(shown_paths) < len(repair.lost):
        out.print(f"    ... and {len(repair.lost) - len(shown_paths):,} more (--verbose lists all)")


def _show_forgotten(request: Request, result: ForgetResult) -> None:
    verb = "would be removed" if result.dry_run else "removed"
    request.out.print(
        f"{verb}: {counted(result.images, 'image')}, {counted(result.faces, 'face')} with "
        f"{'its embedding' if result.faces == 1 else 'their embeddings'}, "
        f"{counted(result.pairs, 'pair')}, {counted(result.clusters, 'cluster')}"
    )
    if result.copies_left:
        request.notes.print(
            f"note: {result.copies_left:,} of the images have byte-identical copies in the store, "
            "whose faces stay"
        )
    if result.clusters and not result.dry_run:
        request.notes.print("note: run find again to rebuild the clusters of the faces that are left")
    for path in result.other_files:
        request.notes.print(
            f"note: {shown(path)}, kept by a repair, may still hold them; remove it", soft_wrap=True
        )
