"""Waiting for a process of its own kind, an embedder or a detector, to say that it is ready."""

from __future__ import annotations

from multiprocessing import connection
from typing import Any

from facededup.errors import FacededupError, JobError

START_SECONDS = 300.0
"""A framework may take a minute to import, and longer to prepare a GPU."""


def await_ready(pipe: connection.Connection, name: str) -> Any:
    """The first word of a process that was just started.

    Args:
        pipe: To the process.
        name: What to call it in a message.

    Raises:
        FacededupError: The process sent this error instead.
        JobError: It died, or did not get ready.
    """
    try:
        if not pipe.poll(START_SECONDS):
            raise JobError(f"{name} was not ready within {START_SECONDS:g} seconds")
        answer: Any | FacededupError = pipe.recv()
    except (EOFError, OSError) as exc:
        raise JobError(f"{name} died while it started; see above for its own message") from exc
    if isinstance(answer, FacededupError):
        raise answer
    return answer
