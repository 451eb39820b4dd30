"""The nouns of facededup: boxes, faces, outcomes, pairs and clusters. All frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]
Array = NDArray[Any]


class Outcome(Enum):
    """What became of one image. The value is the code kept in the store."""

    OK = 0
    NO_FACE_DETECTED = 1
    MULTIPLE_FACES_DETECTED = 2
    FILE_ERROR = 3


@dataclass(frozen=True, slots=True)
class Box:
    """A face's rectangle in integer pixels of the upright full-size image; it may exceed the image."""

    x: int
    y: int
    w: int
    h: int


@dataclass(frozen=True, slots=True)
class Quality:
    """How good a picture of a face is; each part from 0 to 1, as docs/decisions.md defines them.

    Attributes:
        score: All of it in one number.
        size: The distance between the eyes against what the model's input needs.
        sharpness: Fine detail.
        frontality: Turned to the camera.
        brightness: Neither dark, nor bright, nor flat.
    """

    score: float
    size: float
    sharpness: float
    frontality: float
    brightness: float


@dataclass(frozen=True, slots=True)
class Face:
    """One detected face.

    Attributes:
        box: Where it is.
        confidence: The detector's own score; its scale is the detector's.
        landmarks: Points (x, y) in pixels of the upright full-size image, five for dlib's detector
            (outer and inner corner of the eye on the right of the picture, outer and inner corner of the
            eye on the left, base of the nose), empty where a detector gives none.
        quality: None where it was not measured.
    """

    box: Box
    confidence: float
    landmarks: tuple[tuple[float, float], ...] = ()
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class FileStat:
    """What the file system says of a file; a difference in size, mtime or ctime asks for a new look."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class FaceRef:
    """A face of an image.

    Attributes:
        path: The image's, str as `os.fsdecode` gives it.
        face: The face's number in it.
        tags: What a manifest said of the image.
    """

    path: str
    face: int
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two faces at or above the threshold.

    Attributes:
        a: One face.
        b: The other.
        similarity: On the calibrated scale.
        cosine: Inner product of the two embeddings.
        new: Not there in the findings before, and not decided to be one person.
        decision: `same` or `later` where that was decided.
        same_photo: The two images are one photo, saved twice.
        normalized: With `normalize`: how far the cosine stands out among both faces' cosines with other
            people, in deviations.
        second_similarity: With `confirm_model`: what the second model says, on its own scale; None for pairs
            far above the threshold, and where a photo could not be read again.
    """

    a: FaceRef
    b: FaceRef
    similarity: float
    cosine: float
    new: bool
    decision: str | None = None
    same_photo: bool = False
    normalized: float | None = None
    second_similarity: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterFace:
    """A member of a cluster. `tags`: what a manifest said of the image."""

    path: str
    face: int
    box: Box
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Cluster:
    """Faces held to be one person.

    Attributes:
        id: Twelve hex digits, stable while the member with the smallest (content hash, box) stays.
        size: Number of faces.
        min_similarity: The lowest similarity over all pairs of its faces, also those below the cut.
        new: True if a pair inside it is new.
        faces: The members, by path then number.
        mean_similarity: Over all pairs of its distinct faces; None in findings of an older version.
        medoid: The face most like the others, likewise.
        bridges: Faces without which it would fall into two groups; see docs/clustering.md.
        decided: All its faces were decided to be one person, pair by pair or through a chain; byte-identical
            images need no decision.
    """

    id: str
    size: int
    min_similarity: float
    new: bool
    faces: tuple[ClusterFace, ...]
    mean_similarity: float | None = None
    medoid: FaceRef | None = None
    bridges: tuple[FaceRef, ...] = ()
    decided: bool = False


@dataclass(frozen=True, slots=True)
class FaceKey:
    """A face by what it is, not where: SHA-256 of its file's bytes (32), and its box."""

    digest: bytes
    box: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a person decided of two faces: one entry of a store's log.

    Attributes:
        a: One face.
        b: The other.
        verdict: `same`, `different`, `look-alike` (different people who look alike), `later`, or `undo`,
            which takes back the latest decision on the pair.
        who: Free text.
        at: When, in seconds since 1970.
        a_path: Where the image of `a` was then, as the file system's bytes; this and the rest only inform.
        b_path: Likewise.
        similarity: Of the pair then; not a number where it was not known, likewise the next.
        cosine: Likewise.
        model: The recognition model then.
    """

    a: FaceKey
    b: FaceKey
    verdict: str
    who: str = ""
    at: int = 0
    a_path: bytes = b""
    b_path: bytes = b""
    similarity: float = float("nan")
    cosine: float = float("nan")
    model: str = ""


@dataclass(frozen=True, slots=True)
class Match:
    """A face of the store that looks like a probe face.

    Attributes:
        probe: Number of the face in the probe image.
        face: The face in the store.
        box: Where it is in its image.
        similarity: On the calibrated scale.
        cosine: Inner product of the two embeddings.
    """

    probe: int
    face: FaceRef
    box: Box
    similarity: float
    cosine: float


@dataclass(frozen=True, slots=True)
class Unencoded:
    """An image without an embedding, and why. `tags`: what a manifest said of it."""

    path: str
    outcome: Outcome
    reason: str
    tags: Mapping[str, str] = field(default_factory=dict, compare=False)
