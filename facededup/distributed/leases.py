"""Keeps the leases of the units this process works at; a process that dies renews none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from facededup.distributed.depot import LEASE_SECONDS, Job
from facededup.errors import JobError

_log = logging.getLogger(__name__)


class Leases:
    """Renews leases from a thread of its own."""

    def __init__(self) -> None:
        self._held: set[tuple[Job, int]] = set()
        self._lock = threading.Lock()
        self._started = False

    @contextmanager
    def hold(self, job: Job, unit: int) -> Iterator[None]:
        """Renews the lease of a unit that was begun, until the block is left."""
        held = (job, unit)
        with self._lock:
            self._held.add(held)
            if not self._started:
                threading.Thread(target=self._renew, name="leases", daemon=True).start()
                self._started = True
        try:
            yield
        finally:
            with self._lock:
                self._held.remove(held)

    def _renew(self) -> None:
        pause = threading.Event()
        while not pause.wait(LEASE_SECONDS / 4):
            with self._lock:
                held = list(self._held)
            for job, unit in held:
                try:
                    job.renew([unit])
                except JobError as exc:  # the next round, or another worker
                    _log.warning("%s", exc)
