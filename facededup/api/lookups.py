"""One image looked up in a store, and one compared with another."""

from __future__ import annotations

import os
from typing import Any

from facededup.metrics import Metrics
from facededup.results import (
    CompareResult,
    SearchResult,
)
from facededup.settings import Settings, chosen_settings


def search(
    image: str | os.PathLike[str],
    *,
    k: int = 10,
    threshold: float | None = None,
    settings: Settings | None = None,
    **options: Any,
) -> SearchResult:
    """Finds the stored faces that look most like the faces of one image.

    Args:
        image: Path of the image; it need not be in the store.
        k: Matches listed for each face, at most.
        threshold: Lowest similarity of a match; None for no bound.
        settings: Of the run; by default those of the environment.
        **options: Fields of `Settings`; they go before `settings`.

    Raises:
        PathNotFoundError: There is no such image.
        JobError: It holds no face, or cannot be read.
        StoreNotFoundError: There is no store.
    """
    from facededup.lookup import search_image

    return search_image(
        os.fsdecode(image), chosen_settings(settings, options), Metrics("search"), k=k, threshold=threshold
    )


def compare(
    a: str | os.PathLike[str],
    b: str | os.PathLike[str],
    *,
    settings: Settings | None = None,
    **options: Any,
) -> CompareResult:
    """Compares each face of one image with each face of another; no store is needed.

    Args:
        a: Path of an image.
        b: Path of another.
        settings: Of the run; by default those of the environment. Where its store exists, model, detector and
            alignment are the store's.
        **options: Fields of `Settings`, e.g. `threshold=0.5`; they go before `settings`.

    Returns:
        Outcome, faces and scores. An image without a face does not raise.

    Raises:
        PathNotFoundError: There is no such image.
        SettingMismatchError: A given setting differs from the store's.
    """
    from facededup.lookup import compare_images

    return compare_images(
        os.fsdecode(a), os.fsdecode(b), chosen_settings(settings, options), Metrics("compare")
    )
