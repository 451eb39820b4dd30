"""What a manifest says of images, brought into the store while they are indexed."""

from __future__ import annotations

import os
from dataclasses import replace

from facededup.identity import KnownImages
from facededup.manifest import Manifest
from facededup.results import ManifestCounts
from facededup.store.base import Batch, Writer

TAG_COLUMNS = "tag_columns"
"""Entry of the store's `info`: the columns of all manifests so far."""
_BATCH_IMAGES = 1000
_MAX_LISTED = 1000


class ManifestUse:
    """A manifest in one run of `index`.

    Args:
        manifest: What it says.
        writer: Of the store.
        known: The images of the store before the run.
    """

    def __init__(self, manifest: Manifest, writer: Writer, known: KnownImages) -> None:
        self._manifest = manifest
        self._writer = writer
        self._known = known
        self._unseen = dict.fromkeys(manifest.tags)
        self._changed = 0

    def note(self, path: bytes) -> None:
        """An image was found."""
        self._unseen.pop(path, None)

    def said(self, path: bytes) -> str | None:
        """The tags it gives an image, "" for none; None for one it does not name."""
        return self._manifest.tags.get(path)

    def apply(self) -> None:
        """Gives the images that the store has already the tags it says, without reading their files.

        Raises:
            StoreWriteError: The store cannot be written; what was committed before is safe.
        """
        note_columns(self._writer, self._manifest.columns)
        changed = [
            path
            for path, tags in self._manifest.tags.items()
            if path in self._known and self._known.tags(path) != tags
        ]
        for start in range(0, len(changed), _BATCH_IMAGES):
            records = (self._known.record(path) for path in changed[start : start + _BATCH_IMAGES])
            self._writer.commit(
                Batch(images=tuple(replace(old, tags=self._manifest.tags[old.path]) for old in records))
            )
        self._changed = len(changed)

    def counts(self) -> ManifestCounts:
        """What came of it: files it names that neither this run nor the store knows are `unknown`."""
        unknown = [path for path in self._unseen if path not in self._known]
        return ManifestCounts(
            images=len(self._manifest.tags),
            changed=self._changed,
            unknown=len(unknown),
            unknown_paths=tuple(map(os.fsdecode, unknown[:_MAX_LISTED])),
        )


def note_columns(writer: Writer, columns: tuple[str, ...]) -> None:
    """Remembers the names of tags, for the headings of tables."""
    before = writer.snapshot.info.get(TAG_COLUMNS, [])
    after = list(dict.fromkeys([*before, *columns]))
    if after != before:
        writer.record({TAG_COLUMNS: after})
