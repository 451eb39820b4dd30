"""Makes store_v1.h5, the store of format 1 that every later version must read: `python make_store_v1.py`.

Made once, of numbers; to be run again only if the file is lost, by a version that writes format 1.
"""

from pathlib import Path

import numpy as np

from facededup.store import tables
from facededup.store.base import Batch, ClusterTable, Content, Fingerprint, ImageRecord, PairBlock
from facededup.store.hdf5 import Hdf5Store
from facededup.types import Box, Face, FileStat, Outcome

FINGERPRINT = Fingerprint("Dlib", "dlib_face_recognition_resnet_model_v1", 128, "dlib", "chip", False, "all")


def record(name, digest, outcome=Outcome.OK, reason=""):
    return ImageRecord(
        path=b"/registry/" + name,
        root=b"/registry",
        mount=b"/",
        stat=FileStat(1000, 1_700_000_000_000_000_000, 1_700_000_000_000_000_001, 42),
        digest=digest,
        outcome=outcome,
        reason=reason,
        retry=not digest,
        width=640,
        height=480,
    )


def main(path):
    vectors = np.zeros((3, 128), np.float32)
    vectors[:, 0] = 0.8, 0.6, 0.0
    vectors[:, 1] = 0.6, 0.8, 1.0
    points = tuple((float(k), k + 0.5) for k in range(5))
    face = Face(Box(-3, 5, 40, 41), 1.25, points)
    one, two, three = (bytes([k]) * 32 for k in (1, 2, 3))
    tables.time.time = lambda: 1_700_000_000.0
    with Hdf5Store(str(path)).writer(FINGERPRINT) as writer:
        writer.commit(
            Batch(
                images=(
                    record(b"a.jpg", one),
                    record("é ü.jpg".encode(), two),
                    record(b"copy-of-a \xff.jpg", one),
                    record(b"cat.jpg", three, Outcome.NO_FACE_DETECTED, "no face was found"),
                    record(b"gone.jpg", b"", Outcome.FILE_ERROR, "file vanished"),
                ),
                contents=(
                    Content(one, (face,), vectors[:1]),
                    Content(two, (face, Face(Box(50, 5, 40, 41), 0.5)), vectors[1:]),
                ),
            )
        )
        findings = writer.write_findings()
        findings.append(PairBlock(np.array([0]), np.array([1]), np.array([0.96]), np.array([True])))
        meta = {
            "created": "2026-01-01T00:00:00+00:00",
            "threshold": 0.4,
            "cosine_cut": 0.93,
            "operating_cosine": 0.93,
            "operating_cosine_source": "catalogue",
            "complete": True,
            "search": {"engine": "faiss", "index": "IndexFlatIP", "device": "CPU"},
            "known_images": 0,
            "next_image_id": 5,
        }
        cluster = ClusterTable(
            ["0123456789ab"], np.array([0, 2]), np.array([0, 1]), np.array([0.96]), np.array([True])
        )
        findings.finish(meta, cluster)


if __name__ == "__main__":
    main(Path(__file__).with_name("store_v1.h5"))
