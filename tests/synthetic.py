"""Stores with made-up embeddings, for what real pictures are too few for."""

import os

import numpy as np

from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.opener import open_store
from facededup.types import Box, Face, FileStat, Outcome

FINGERPRINT = Fingerprint(
    model="Dlib",
    weights="dlib_face_recognition_resnet_model_v1",
    dimension=128,
    detector="dlib",
    align="chip",
    flip=False,
    faces="all",
)


def unit(vectors):
    """Rows of length 1, float32."""
    vectors = np.asarray(vectors, np.float64)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def people(count, each, *, seed=0, spread=0.2):
    """float32 (count * each, 128): random people, `each` noisy pictures of everyone."""
    random = np.random.default_rng(seed)
    centres = unit(random.standard_normal((count, 128)))
    noise = random.standard_normal((count, each, 128)) * spread / np.sqrt(128)
    return unit(centres[:, None] + noise).reshape(-1, 128)


def digest_of(number):
    return number.to_bytes(32, "big")[::-1] if number else b"\xff" * 32


def record(path, digest, outcome=Outcome.OK, reason=""):
    return ImageRecord(
        path=path,
        root=b"/made/up",
        mount=b"/",
        stat=FileStat(1, 1, 1, 1),
        digest=digest,
        outcome=outcome,
        reason=reason,
        width=100,
        height=100,
    )


def add_images(location, images, fingerprint=FINGERPRINT):
    """Puts images into a store.

    Args:
        location: The store's.
        images: path -> (content number, vectors (k, 128)); equal numbers are byte-identical copies.
        fingerprint: Of a new store.
    """
    with open_store(location).writer(fingerprint) as writer:
        records, contents = [], {}
        for path, (number, vectors) in images.items():
            digest = digest_of(number)
            outcome = Outcome.OK if len(vectors) else Outcome.NO_FACE_DETECTED
            records.append(record(os.fsencode(path), digest, outcome, "" if len(vectors) else "no face"))
            faces = tuple(Face(Box(10 * place, 0, 8, 8), 1.0) for place in range(len(vectors)))
            contents[digest] = Content(digest, faces, np.asarray(vectors, np.float32).reshape(-1, 128))
        kept = tuple(content for content in contents.values() if len(content.faces))
        writer.commit(Batch(images=tuple(records), contents=kept))
