"""Accuracy on faces whose people are known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from facededup.errors import UsageError
from facededup.metrics import Metrics
from facededup.progress import Progress, SilentProgress
from facededup.settings import Settings, chosen_settings

if TYPE_CHECKING:
    from facededup.evaluation.pipeline import EvaluateResult


def evaluate(
    folder: str | os.PathLike[str] | None = None,
    *,
    pairs: str | os.PathLike[str] | None = None,
    groups: str | os.PathLike[str] | None = None,
    store: str | os.PathLike[str] | None = None,
    thresholds: Sequence[float] = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7),
    settings: Settings | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> EvaluateResult:
    """Measures accuracy on faces whose people are known.

    Args:
        folder: A folder with one sub-folder a person.
        pairs: Instead of a folder, a CSV file with the columns path_a, path_b and same (1 or 0).
        groups: A CSV file with the group of each person (or path), to measure each group, too.
        store: Keeps the embeddings, and is used for what it has; by default a temporary one.
        thresholds: Similarities at which clusters are measured, rising.
        settings: Of the run; by default those of the environment.
        progress: Receives the advance of long steps.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        UsageError: Not one of `folder` and `pairs` was given, or there are too few people.
        PathNotFoundError: The folder, the file or an image it names is not there.
    """
    from facededup.evaluation.pipeline import evaluate_folder, evaluate_pairs

    if (folder is None) == (pairs is None) or (groups is not None and folder is None):
        raise UsageError("evaluate takes a folder with one sub-folder a person (and --groups), or --pairs")
    chosen, metrics = chosen_settings(settings, options), Metrics("evaluate")
    progress = progress or SilentProgress()
    kept_in = None if store is None else os.fsdecode(store)
    if pairs is not None:
        return evaluate_pairs(os.fsdecode(pairs), chosen, metrics, progress, store=kept_in)
    return evaluate_folder(
        os.fsdecode(folder or ""),
        chosen,
        metrics,
        progress,
        store=kept_in,
        groups=None if groups is None else os.fsdecode(groups),
        thresholds=thresholds,
    )
