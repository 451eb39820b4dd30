"""From aligned faces to embeddings: batches, the mean over views and normalisation, on any engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from facededup.errors import DeviceMemoryError, JobError
from facededup.models.contract import CPU_DEVICE, Engine
from facededup.models.views import count_views, views
from facededup.types import Floats, Pixels

# Measured: from 8 to 64 faces the time a face is the same on CPU cores, alone it is a quarter longer.
_CPU_BATCH = 16
_GPU_BATCH = 128


class Encoder:
    """Embeds any number of faces.

    Attributes:
        engine: Runs the network.
        batch_size: Faces given to the engine at once; halved for good where they do not fit into its memory.
        crops: An embedding is the mean over so many vertical cuts of the face: 1, 2 or 5.
        flip: Whether the mirror of each cut counts as well.

    Args:
        engine: See above.
        batch_size: See above; None for what usually suits the device.
        crops: See above.
        flip: See above.
        remember: Told a batch size that was found to fit.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        batch_size: int | None = None,
        crops: int = 1,
        flip: bool = False,
        remember: Callable[[int], None] | None = None,
    ) -> None:
        self.engine = engine
        self.batch_size = batch_size or (_CPU_BATCH if engine.device == CPU_DEVICE else _GPU_BATCH)
        self.crops = crops
        self.flip = flip
        self._remember = remember

    def encode(self, chips: Pixels) -> Floats:
        """Embeds faces.

        Args:
            chips: uint8 (n, height, width, 3) RGB, of the model's input size.

        Returns:
            float32 (n, dimension), each row of length 1.

        Raises:
            ValueError: `chips` has another shape or type.
            DeviceMemoryError: Not even one face fits into the memory of the engine's device.
            JobError: The engine failed, or gave something that has no direction.
        """
        rows = self.embed(chips).astype(np.float64)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        if not (np.isfinite(norms) & (norms > 0)).all():
            raise JobError(
                f"the engine {self.engine.name} on the {self.engine.device} gave embeddings that are zero"
                " or not finite: try another --engine"
            )
        embeddings: Floats = (rows / norms).astype(np.float32)
        return embeddings

    def embed(self, chips: Pixels) -> Floats:
        """The same as the network gives them: float32 (n, dimension), not normalised."""
        model = self.engine.model
        width, height = model.input_size
        if chips.shape[1:] != (height, width, 3) or chips.dtype != np.uint8:
            raise ValueError(
                f"{model.name} takes uint8 faces of shape (n, {height}, {width}, 3),"
                f" not {chips.dtype} {chips.shape}"
            )
        embeddings = np.zeros((len(chips), model.dimension), np.float32)
        start = 0
        while start < len(chips):
            size = self.batch_size
            part = slice(start, start + size)
            try:
                for view in views(chips[part], crops=self.crops, flip=self.flip):
                    embeddings[part] += self._run(view, size)
            except DeviceMemoryError:
                embeddings[part] = 0  # views that did fit
                tried = min(size, len(chips) - start)
                if tried == 1:
                    raise
                # Another thread may have halved it already.
                self.batch_size = min(self.batch_size, tried // 2)
                if self._remember is not None:
                    self._remember(self.batch_size)
                continue
            start += size
        embeddings /= count_views(crops=self.crops, flip=self.flip)
        return embeddings

    def _run(self, chips: Pixels, size: int) -> Floats:
        """A batch; on a GPU its size is a power of two or the full one, whatever it holds.

        The frameworks keep memory, and tuned code, for each shape that they see.
        """
        count = len(chips)
        padded = count if self.engine.device == CPU_DEVICE else min(size, 1 << (count - 1).bit_length())
        batch = np.ascontiguousarray(chips)
        if padded > count:
            batch = np.concatenate([batch, np.zeros((padded - count, *chips.shape[1:]), np.uint8)])
        return self.engine.run(batch)[:count]
