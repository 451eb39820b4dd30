"""What a batch does to the images at the paths it names: `tables.Tables` for some rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from facededup.store.base import Batch


class Known(NamedTuple):
    """An image that is stored; a tuple, as a batch makes thousands."""

    id: int
    digest: bytes
    indexed_at: int


@dataclass(slots=True)
class Plan:
    """The steps, to be taken in this order.

    Attributes:
        deleted: Ids of rows that go.
        dropped: Digests of the images that are no more, or had another content.
        renamed: New path by id.
        put: Id, place in the batch, and since when the image is known, of each row to be written.
        next_image_id: Afterwards.
    """

    next_image_id: int
    deleted: set[int] = field(default_factory=set)
    dropped: set[bytes] = field(default_factory=set)
    renamed: dict[int, bytes] = field(default_factory=dict)
    put: dict[int, tuple[int, int]] = field(default_factory=dict)


def named_paths(batch: Batch) -> list[bytes]:
    """All paths of a batch, each once."""
    names = [image.path for image in batch.images]
    names += [path for move in batch.moved for path in move]
    return list(dict.fromkeys([*names, *batch.removed]))


def plan_images(
    batch: Batch, digests: Sequence[bytes], known: Mapping[bytes, Known], next_image_id: int, now: int
) -> Plan:
    """What is to be done with the table of images.

    Args:
        batch: To be applied.
        digests: Of its images, as they are stored.
        known: The images at its paths.
        next_image_id: The id of the next new one.
        now: In seconds since 1970.
    """
    at = dict(known)
    plan = Plan(next_image_id)
    _move(plan, at, batch.moved)
    for path in batch.removed:
        _drop(plan, at, path)
    for place, (image, digest) in enumerate(zip(batch.images, digests, strict=True)):
        before = at.get(image.path)
        if before is None or before.digest != digest:
            if before is not None:
                _drop(plan, at, image.path)
            before = at[image.path] = Known(plan.next_image_id, digest, image.indexed_at or now)
            plan.next_image_id += 1
        plan.put[before.id] = (place, before.indexed_at)
        plan.renamed.pop(before.id, None)
    stored = {image.id for image in known.values()}
    plan.deleted |= stored & plan.put.keys()
    plan.deleted &= stored
    return plan


def _move(plan: Plan, at: dict[bytes, Known], moved: Iterable[tuple[bytes, bytes]]) -> None:
    # All leave before any arrives, so that a chain or a swap works.
    taken = [(target, at.pop(source)) for source, target in moved if source in at]
    for path, image in taken:
        _drop(plan, at, path)
        at[path] = image
        plan.renamed[image.id] = path


def _drop(plan: Plan, at: dict[bytes, Known], path: bytes) -> None:
    image = at.pop(path, None)
    if image is not None:
        plan.deleted.add(image.id)
        plan.dropped.add(image.digest)
        plan.renamed.pop(image.id, None)
        plan.put.pop(image.id, None)
