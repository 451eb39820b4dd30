"""dlib's frontal face detector, from a cache: dlib itself takes half a second to unpack it from its code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from typing import Any

from facededup.models.weights import cache_directory

_DIGEST_SIZE = hashlib.sha256().digest_size


def load_hog() -> Any:
    """A `dlib.fhog_object_detector`, the same as `dlib.get_frontal_face_detector()` gives.

    The cached file starts with the SHA-256 of the rest; a damaged one is written anew, and where the cache
    cannot be written the detector is unpacked each time.
    """
    import dlib

    path = os.path.join(cache_directory(), f"dlib-hog-{dlib.__version__}.dat")
    state = _read(path)
    if state is None:
        hog = dlib.get_frontal_face_detector()
        with contextlib.suppress(OSError):
            _write(path, hog.__getstate__()[0])
        return hog
    hog = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    hog.__setstate__((state,))
    return hog


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        return None
    digest, state = content[:_DIGEST_SIZE], content[_DIGEST_SIZE:]
    return state if hashlib.sha256(state).digest() == digest else None


def _write(path: str, state: bytes) -> None:
    """Puts the file there in one step: several workers may do so at once."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=os.path.dirname(path))
    try:
        with open(descriptor, "wb") as file:
            file.write(hashlib.sha256(state).digest() + state)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
