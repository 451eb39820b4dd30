"""dlib's frontal face detector, from a cache: dlib itself takes half a second to unpack it from its code."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from typing import Any

from facededup.models.weights import cache_directory

_DIGEST_SIZE = hashlib.sha256().digest_size

# A filter has 31 planes of 10 x 10 weights and a threshold; dlib writes five column vectors of that length.
_WEIGHTS = 31 * 10 * 10 + 1
_FIVE_FILTERS = b"\x01\x05" + b"\x82\x1d\x0c" + b"\x81\x01"  # 5, then -3101 rows and -1 columns


def load_hog(*, upright: bool = False) -> Any:
    """A `dlib.fhog_object_detector`, the same as `dlib.get_frontal_face_detector()` gives.

    The cached file starts with the SHA-256 of the rest; a damaged one is written anew, and where the cache
    cannot be written the detector is unpacked each time.

    Args:
        upright: Leave out the two of dlib's five filters that look for tilted heads: a third cheaper, for a
            first look.
    """
    import dlib

    if upright:
        hog = load_hog()
        return _from_state(without_tilted(hog.__getstate__()[0]))
    path = os.path.join(cache_directory(), f"dlib-hog-{dlib.__version__}.dat")
    state = _read(path)
    if state is None:
        hog = dlib.get_frontal_face_detector()
        with contextlib.suppress(OSError):
            _write(path, hog.__getstate__()[0])
        return hog
    return _from_state(state)


def _from_state(state: bytes) -> Any:
    import dlib

    hog = dlib.fhog_object_detector.__new__(dlib.fhog_object_detector)
    hog.__setstate__((state,))
    return hog


def without_tilted(state: bytes) -> bytes:
    """A serialised five-filter detector with its first three: frontal, and looking to either side.

    At the end of dlib's serialisation stand the number of filters and each filter's weights: rows, columns,
    then a mantissa and an exponent a weight, all as integers of a length byte (its top bit the sign) and that
    many bytes. A state of another form comes back as it is.
    """
    found = state.find(_FIVE_FILTERS)
    if found < 0:
        return state
    ends, place = [], found + 2
    for _ in range(5):
        for _ in range(2 + 2 * _WEIGHTS):
            if place >= len(state):
                return state
            place += 1 + (state[place] & 0x7F)
        ends.append(place)
    if ends[-1] != len(state):
        return state
    return state[:found] + b"\x01\x03" + state[found + 2 : ends[2]]


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
