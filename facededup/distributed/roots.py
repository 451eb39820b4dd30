"""Which files a worker may read: those below its roots, links followed to where they lead."""

from __future__ import annotations

import logging
import os

_log = logging.getLogger(__name__)


def real_roots(roots: str | None) -> tuple[str, ...]:
    """The folders of a list such as PATH's, with links resolved; nothing stands for any path."""
    return tuple(os.path.realpath(root) for root in (roots or "").split(os.pathsep) if root)


def is_below(path: str, roots: tuple[str, ...]) -> bool:
    """Whether the file that a path leads to is one of the roots or below one; True without roots."""
    if not roots:
        return True
    real = os.path.realpath(path)
    return any(real == root or real.startswith(os.path.join(root, "")) for root in roots)


def warn_without_roots(roots: tuple[str, ...]) -> None:
    """Says so in the log where any path would be read."""
    if not roots:
        _log.warning("no roots are configured: this worker reads any path it is sent (see --root)")
