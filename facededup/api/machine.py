"""What works on this machine, and the models there are."""

from __future__ import annotations

from typing import Any

from facededup.models.catalog import MODELS, ModelDescription
from facededup.results import (
    Diagnosis,
)
from facededup.settings import Settings, chosen_settings


def diagnose(*, settings: Settings | None = None, every_engine: bool = False, **options: Any) -> Diagnosis:
    """Looks at what works on this machine: libraries, GPUs, weights, folders, a self-test on known faces.

    Args:
        settings: What is asked for: `gpu`, `engine`, `model` and `store` are looked at.
        every_engine: Test every engine that is installed.
        **options: Fields of `Settings`; they go before `settings`.

    Returns:
        The checks; `problems` has those that failed and are needed.

    Raises:
        UsageError: There is no such model.
    """
    from facededup.diagnosis import examine

    return examine(chosen_settings(settings, options), every_engine=every_engine)


def list_models() -> tuple[ModelDescription, ...]:
    """The recognition models facededup knows, without loading any."""
    return MODELS
