"""A new store in Redis."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from typing import Any

from facededup.store.base import FaceTable, Fingerprint, ImageTable
from facededup.store.redis import scripts
from facededup.store.redis.server import Address, seal, speaking
from facededup.store.redis.snapshot import FORMAT


def create(client: Any, address: Address, fingerprint: Fingerprint) -> None:
    """Makes an empty store where there is none."""
    fields = {
        "format": FORMAT,
        "uuid": uuid.uuid4().hex,
        "fingerprint": json.dumps(fingerprint.to_dict()),
        "epoch": 0,
        "generation": 0,
        "batches": 0,
        "run": "",
        "log": 0,
    }
    with speaking(address, writing=True):
        client.eval(
            scripts.CREATE,
            1,
            address.key("store"),
            address.key(),
            "",
            seal(header(0, 0)),
            json.dumps(now()),
            *(part for field in fields.items() for part in field),
        )


def header(
    next_image_id: int,
    next_face_id: int,
    images: ImageTable | None = None,
    faces: FaceTable | None = None,
) -> bytes:
    """What the tables in the hash `base` begin with; without tables they are empty."""
    counts = {
        "next_image_id": next_image_id,
        "next_face_id": next_face_id,
        "images": 0 if images is None else len(images),
        "faces": 0 if faces is None else len(faces),
    }
    return json.dumps(counts).encode()


def now() -> str:
    """The time as it is recorded."""
    return datetime.now(UTC).isoformat(timespec="seconds")
