"""Puts our batched Dlib network into DeepFace's own model registry."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from deepface.models.FacialRecognition import FacialRecognition
from deepface.modules import modeling

from facededup.models.catalog import describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.types import Array


class DlibClient(FacialRecognition):  # type: ignore[misc]
    """DeepFace's model `Dlib` on our engine: the same embeddings, in true batches."""

    def __init__(self) -> None:
        description = describe_model("Dlib")
        self.model = Encoder(open_engine(description, threads=os.cpu_count()))
        self.model_name = description.name
        self.input_shape = description.input_size
        self.output_shape = description.dimension

    def forward(self, img: Array) -> list[float] | list[list[float]]:
        """Embeds faces.

        Args:
            img: BGR, (150, 150, 3) or (n, 150, 150, 3), any number type, from 0 to 1 or from 0 to 255.

        Returns:
            128 numbers, not normalised, for one face (also in a batch of one, as DeepFace's models do), a
            list of such lists for more.
        """
        chips = img[None] if img.ndim == 3 else img
        chips = chips[..., ::-1]
        # DeepFace divides bytes by 255. Rounding gives the bytes back; truncation, as in DeepFace's own
        # client, would darken many of them by one.
        scale = 255.0 if chips.max() <= 1 else 1.0
        pixels = np.clip(np.rint(np.float32(scale) * chips), 0, 255).astype(np.uint8)
        embeddings: list[list[float]] = self.model.embed(pixels).tolist()
        return embeddings[0] if len(embeddings) == 1 else embeddings


def register() -> None:
    """Makes `DeepFace.represent(model_name="Dlib")` and `modeling.build_model` use `DlibClient`."""
    source = f"{DlibClient.__module__}.{DlibClient.__qualname__}"
    modeling.AVAILABLE_MODELS["facial_recognition"]["Dlib"] = {modeling.ANY: source}
    cached_models: dict[str, dict[str, Any]] = getattr(modeling, "cached_models", {})
    cached_models.get("facial_recognition", {}).pop("Dlib", None)
