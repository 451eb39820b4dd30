"""Image files that somebody listed, looked at one by one."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence

from facededup.images.read import explain, file_stat
from facededup.images.walk import FoundFile


class ListedImages:
    """Files by their paths, whatever their extension; what `ImageWalk` is for folders.

    Attributes:
        unreadable: (path, reason) of those that are no files or cannot be looked at, so far.
        links_skipped: None is: a link in a list is meant.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.unreadable: list[tuple[str, str]] = []
        self.links_skipped = 0
        self._paths = paths

    def __iter__(self) -> Iterator[FoundFile]:
        self.unreadable.clear()
        for path in self._paths:
            try:
                status = os.stat(path)
            except FileNotFoundError:
                self.unreadable.append((path, "no such file"))
                continue
            except OSError as exc:
                self.unreadable.append((path, explain(exc)))
                continue
            if stat.S_ISREG(status.st_mode):
                # The folder, for a store keeps few roots: many images have one.
                yield FoundFile(path, os.path.dirname(path), file_stat(status))
            else:
                self.unreadable.append((path, "not a regular file"))
