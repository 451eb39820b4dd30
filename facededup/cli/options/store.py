"""Where the store is, and what it is like."""

from __future__ import annotations

from typing import Annotated

import typer

_HEADING = "Store and settings"


class ConfigOptions:
    """What else sets options."""

    config: Annotated[
        str | None,
        typer.Option(
            "--config",
            metavar="FILE.toml",
            help="A file of options; the environment and the command line win over it.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class StoreOptions(ConfigOptions):
    """Where the store is and what else sets options."""

    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="FILE|URL",
            help="The store: file, postgresql:// or redis://. Default: FACEDEDUP_STORE, else facededup.h5.",
            rich_help_panel=_HEADING,
        ),
    ] = None
    key_file: Annotated[
        str | None,
        typer.Option(
            "--key-file",
            metavar="FILE",
            help="Holds the key of an encrypted store. Default: the key in FACEDEDUP_KEY.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class NewStoreOptions:
    """What a new store is like on the disk."""

    encrypt: Annotated[
        bool | None,
        typer.Option(
            "--encrypt/--no-encrypt",
            help="Encrypt a new store with the key. Default: no; `store pack` changes it later.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class ResetIndexOptions:
    """Starting the store anew."""

    reset: Annotated[
        bool | None,
        typer.Option(
            "--reset",
            help="Drop the images, faces, embeddings and findings of the store first.",
            rich_help_panel=_HEADING,
        ),
    ] = None


class ResetFindingsOptions:
    """Starting the findings anew."""

    reset: Annotated[
        bool | None,
        typer.Option(
            "--reset",
            help="Drop the findings before, so that every pair is new.",
            rich_help_panel=_HEADING,
        ),
    ] = None
