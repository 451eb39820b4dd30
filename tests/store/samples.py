"""Batches made of numbers, and a plain model of what a store does with them."""

import hashlib
import os
from dataclasses import dataclass, field

import numpy as np
import pytest

from facededup.store.base import Batch, Content, Fingerprint, ImageRecord
from facededup.store.crypto import Key
from facededup.store.hdf5 import Hdf5Store
from facededup.store.opener import is_url, open_store
from facededup.types import Box, Decision, Face, FaceKey, FileStat, Outcome, Quality

DIMENSION = 8
KEY = Key(b"a key of tests, long enough")
ENCRYPTED = "encrypted-"
"""Begins the name of a folder whose stores are encrypted, in every process of a test."""
FINGERPRINT = Fingerprint("Dlib", "dlib/1", DIMENSION, "dlib", "chip", False, "all")


plain_only = pytest.mark.parametrize("store", ["plain"], indirect=True)
"""For tests that look into the HDF5 file."""


def store_at(path):
    """The store at a path, encrypted or not as its folder is named, or at a URL."""
    if is_url(path):
        return open_store(path)
    is_encrypted = os.path.basename(os.path.dirname(path)).startswith(ENCRYPTED)
    return Hdf5Store(path, KEY if is_encrypted else None, encrypt=is_encrypted)


def digest(key):
    return hashlib.sha256(str(key).encode()).digest()


def content(key, faces=1):
    """A content whose faces and embeddings follow from its key."""
    rng = np.random.default_rng(int.from_bytes(digest(key)[:4], "little"))
    vectors = rng.standard_normal((faces, DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = tuple((float(k), float(k) + 0.5) for k in range(5))
    quality = Quality(0.5, 0.25, 0.75, 1.0, 0.0)
    found = tuple(
        Face(Box(-3 + k, 5, 40, 41), 0.5 + k, points if k % 2 == 0 else (), quality if k % 2 == 0 else None)
        for k in range(faces)
    )
    return Content(digest(key), found, vectors)


def image(path, key=None, *, outcome=Outcome.OK, root=b"/pictures", size=10, **others):
    """A record; `key` is that of its content, None for a file that could not be read."""
    return ImageRecord(
        path=path,
        root=root,
        mount=b"/",
        stat=FileStat(size, 2_000_000_000_000_000_000, 3, 2**63 + 4),
        digest=b"" if key is None else digest(key),
        outcome=outcome,
        width=640,
        height=480,
        **others,
    )


def numbered(number, images=3):
    """A batch of images that are nobody else's."""
    names = [f"{number}-{k}" for k in range(images)]
    return Batch(
        images=tuple(image(b"/pictures/" + name.encode(), name) for name in names),
        contents=tuple(content(name) for name in names),
    )


def decided(a, b, verdict="different", **others):
    """A decision on the first faces of two contents; `others` replace what it says besides."""
    said = {
        "who": "Zo\u00eb \udcff",
        "at": 1_700_000_000,
        "a_path": f"/pictures/{a}".encode() + b"\xff",
        "b_path": f"/pictures/{b}".encode(),
        "similarity": 0.5,
        "cosine": 0.94,
        "model": "Dlib",
    }
    left, right = FaceKey(digest(a), Box(-3, 5, 40, 41)), FaceKey(digest(b), Box(-3, 5, 40, 41))
    return Decision(a=left, b=right, verdict=verdict, **{**said, **others})


@dataclass
class Model:
    """What a store should hold, in the plainest way."""

    images: dict = field(default_factory=dict)  # path -> (id, record)
    contents: dict = field(default_factory=dict)  # digest -> (first face id, content)
    next_image: int = 0
    next_face: int = 0

    def apply(self, batch):
        leaving = [(new, self.images.pop(old)) for old, new in batch.moved if old in self.images]
        for new, entry in leaving:
            self.images[new] = entry
        for path in batch.removed:
            self.images.pop(path, None)
        for item in batch.contents:
            if item.faces and item.digest not in self.contents:
                self.contents[item.digest] = (self.next_face, item)
                self.next_face += len(item.faces)
        for record in batch.images:
            before = self.images.get(record.path)
            if before is not None and before[1].digest == record.digest:
                self.images[record.path] = (before[0], record)
            else:
                self.images[record.path] = (self.next_image, record)
                self.next_image += 1

    def forget(self):
        """What packing does: contents that no image has any more are no longer kept for one that may come."""
        self.contents = dict(self.used())

    def used(self):
        names = {record.digest for _, record in self.images.values()}
        return ((key, value) for key, value in self.contents.items() if key in names)

    def compare(self, snapshot):
        """Asserts that the snapshot holds just this."""
        table, faces = snapshot.images, snapshot.faces
        rows = sorted((number, path, record) for path, (number, record) in self.images.items())
        assert table.id.tolist() == [number for number, _, _ in rows]
        assert table.path == [path for _, path, _ in rows]
        assert snapshot.next_image_id == self.next_image
        digests = [record.digest for _, _, record in rows]
        for k, (_, _, record) in enumerate(rows):
            assert table.digest[k].tobytes() == (record.digest or bytes(32))
            assert table.roots[table.root[k]] == (record.root, record.mount)
            assert (table.size[k], table.mtime_ns[k]) == (record.stat.size, record.stat.mtime_ns)
            assert (table.ctime_ns[k], table.inode[k]) == (record.stat.ctime_ns, record.stat.inode)
            assert Outcome(table.outcome[k]) is record.outcome
            assert table.reason[k] == record.reason
            assert (table.retry[k], table.unresolved[k]) == (record.retry, record.unresolved)
            assert (table.width[k], table.height[k]) == (record.width, record.height)
            assert (table.phash[k], table.tags[k]) == (record.phash, record.tags)
            assert table.first[k] == (digests.index(record.digest) if record.digest else k)
        owned = sorted((start, item) for _, (start, item) in self.used() if item.faces)
        expected = [(start + k, k, item) for start, item in owned for k in range(len(item.faces))]
        assert faces.id.tolist() == [number for number, _, _ in expected]
        assert faces.number.tolist() == [k for _, k, _ in expected]
        assert faces.image.tolist() == [digests.index(item.digest) for _, _, item in expected]
        vectors = snapshot.embeddings(0, len(faces))
        assert vectors.shape == (len(expected), DIMENSION)
        for row, (_, k, item) in enumerate(expected):
            face = item.faces[k]
            assert faces.box[row].tolist() == [face.box.x, face.box.y, face.box.w, face.box.h]
            assert faces.confidence[row] == np.float32(face.confidence)
            assert np.isnan(faces.landmarks[row]).all() == (not face.landmarks)
            if face.landmarks:
                assert faces.landmarks[row].tolist() == [list(point) for point in face.landmarks]
            known = (0.5, 0.25, 0.75, 1.0, 0.0) if face.quality else (np.nan,) * 5
            assert np.array_equal(faces.quality[row], np.float32(known), equal_nan=True)
            assert np.array_equal(vectors[row], item.embeddings[k])
