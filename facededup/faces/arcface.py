"""Cuts faces out as ArcFace was trained on them: turned, scaled and moved, landmarks in set places.

The map is the similarity transform that fits the landmarks best (S. Umeyama, Least-squares estimation of
transformation parameters between two point patterns, IEEE TPAMI 13(4), 1991). SFace, GhostFaceNet and
InsightFace's models were trained on the same cut.
"""

from __future__ import annotations

import numpy as np

from facededup.types import Array, Face, Floats, Pixels

_SIDE = 112
"""Of the square that the places are given for, in pixels."""

_FIVE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Eye, eye, nose, corners of the mouth, left before right: the places InsightFace publishes."""

# Measured on 62 faces of LFW (medians): where dlib's points lie once MTCNN's five are put in their places. On
# faces left out of the measurement the cut by dlib's points is 1.8 pixels off that by MTCNN's (median; 3.7 at
# 90%), whose own points miss their places by 2.4. Eye centres and the nose in the places above: 5.7.
_DLIB = ((80.3, 53.1), (66.6, 53.4), (31.1, 53.3), (45.5, 53.6), (55.7, 80.0))

PLACES = {"five": _FIVE, "dlib": _DLIB}
"""Where landmarks of each kind belong."""


class ArcFaceAligner:
    """The cut for landmarks of one kind.

    Args:
        landmarks: A key of `PLACES`.
        size: Width and height of a chip. Where they differ, the square lies in the middle.
    """

    def __init__(self, landmarks: str, size: tuple[int, int]) -> None:
        width, height = size
        side = min(size)
        # Pixels are areas: their centres are half a pixel from the edge at every scale.
        places = (np.array(PLACES[landmarks]) + 0.5) * (side / _SIDE) - 0.5
        self._places = places + np.array([(width - side) / 2, (height - side) / 2])
        self._size = size

    def __call__(self, image: Pixels, faces: tuple[Face, ...]) -> Pixels:
        """Cuts faces out of an image.

        Args:
            image: uint8 (h, w, 3), upright RGB.
            faces: With five landmarks each, in pixels of this image.

        Returns:
            uint8 (k, height, width, 3) RGB; black where a face reaches beyond the image.
        """
        return np.stack([self._cut(image, face) for face in faces])

    def _cut(self, image: Pixels, face: Face) -> Pixels:
        import cv2

        transform = fit_similarity(np.array(face.landmarks), self._places)
        # Bilinear sampling takes four pixels and skips what lies between: a large face is made smaller first.
        factor = int(1 / np.hypot(transform[0, 0], transform[1, 0]))
        if factor > 1:
            height, width = image.shape[:2]
            size = width // factor, height // factor
            image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
            ratio = np.array((width, height)) / size
            # From a pixel of the small image to one of the large one, then on.
            shift = transform[:, :2] @ ((ratio - 1) / 2) + transform[:, 2]
            transform = np.column_stack([transform[:, :2] * ratio, shift])
        return np.asarray(cv2.warpAffine(image, transform, self._size, flags=cv2.INTER_LINEAR), np.uint8)


def fit_similarity(source: Array, target: Array) -> Floats:
    """The turn, uniform scale and shift that bring points nearest to others, by least squares.

    Args:
        source: float (n, 2), n at least 2, not all the same point.
        target: float (n, 2).

    Returns:
        float64 (2, 3): a point p goes to M[:, :2] @ p + M[:, 2].
    """
    # In the plane turn and scale are one complex factor: a fit in closed form, and never a mirror image.
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    (x, y), (u, v) = (source - source_mean).T, (target - target_mean).T
    size = x @ x + y @ y
    across, around = (x @ u + y @ v) / size, (x @ v - y @ u) / size
    matrix = np.array([[across, -around], [around, across]])
    return np.column_stack([matrix, target_mean - matrix @ source_mean])
