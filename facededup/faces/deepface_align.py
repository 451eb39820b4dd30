"""Cuts faces out as DeepFace does, by its own functions: turned by the eyes, padded to the input size."""

from __future__ import annotations

import numpy as np

from facededup.faces.deepface_detectors import pad_as_deepface
from facededup.faces.weights import check_weights_files
from facededup.models.catalog import describe_detector, describe_model
from facededup.types import Array, Face, Pixels

# DeepFace's clients of these cut off the fractions of a pixel's value. The other networks take them; their
# chips have the nearest whole value.
_TRUNCATING = ("Dlib", "SFace")


class DeepFaceAligner:
    """DeepFace's alignment for one detector and one model.

    Args:
        detector: From the catalogue.
        model: Likewise; its chips have the size it takes.

    Raises:
        WeightsMissingError: The detector gives no eyes, and OpenCV's cascades, with which DeepFace looks for
            them, are not on this machine.
    """

    def __init__(self, detector: str, model: str) -> None:
        if describe_detector(detector).landmarks == "none" and detector != "skip":
            purpose = f"the alignment deepface, which looks for eyes that {detector} does not give,"
            check_weights_files(purpose, describe_detector("opencv"))
        self._detector = detector
        self._size = describe_model(model).input_size
        self._truncates = model in _TRUNCATING

    def __call__(self, image: Pixels, faces: tuple[Face, ...]) -> Pixels:
        """Cuts faces out of an image.

        Args:
            image: uint8 (h, w, 3), upright RGB.
            faces: As `DeepFaceDetector(..., exact=True)` found them.

        Returns:
            uint8 (k, height, width, 3) RGB.
        """
        shown = np.ascontiguousarray(image[..., ::-1])
        crops = [shown] * len(faces) if self._detector == "skip" else self._crops(shown, faces)
        return np.stack([self._chip(crop) for crop in crops])

    def _crops(self, image: Pixels, faces: tuple[Face, ...]) -> list[Array]:
        from deepface.models.Detector import FacialAreaRegion
        from deepface.modules.detection import extract_face

        padded, (left, top) = pad_as_deepface(image)
        crops = []
        for face in faces:
            box = face.box
            points = [(x + left, y + top) for x, y in face.landmarks[:2]]
            right_eye, left_eye = points or (None, None)
            region = FacialAreaRegion(
                box.x + left, box.y + top, box.w, box.h, left_eye, right_eye, face.confidence
            )
            crop: Array = extract_face(
                facial_area=region,
                img=padded,
                align=True,
                expand_percentage=0,
                width_border=left,
                height_border=top,
                detector_backend=self._detector,
            ).img
            # Fractions before it is scaled, as DeepFace has it: only so are the numbers the same.
            crops.append(crop / 255 if crop.max() > 1 else crop)
        return crops

    def _chip(self, crop: Array) -> Pixels:
        from deepface.modules.preprocessing import resize_image

        width, height = self._size
        values = resize_image(crop, (height, width))[0, ..., ::-1] * np.float32(255)
        chip: Pixels = (values if self._truncates else np.rint(values)).astype(np.uint8)
        return chip
