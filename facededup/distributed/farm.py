"""The coordinator's side of a job: sends units out, takes results in, and looks after what got lost.

Celery hands a message whose worker died to another worker: RabbitMQ at once, Redis after ten minutes. The
farm does not wait for that. A worker renews a lease while it is at a unit; a unit that was begun, has not
ended and has no lease is sent again. It does not matter then if a message comes twice, or late: a unit that
has ended, or is in hand, is not begun.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from facededup.distributed.addresses import broker_out_of_reach
from facededup.distributed.celery_app import TASK_QUEUES
from facededup.distributed.depot import Ended, Job
from facededup.errors import JobError
from facededup.workers.pool import Failure

_log = logging.getLogger(__name__)

TRIES = 3
"""A unit whose worker died or failed this often is given back to the caller as a failure."""

LOOK_SECONDS = 2.0
LOST_SECONDS = 15.0
"""A unit that nobody began for this long while the queue is empty was in the hands of a worker that died."""

_PATIENCE = {"max_retries": 30, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 2}
"""With a broker that is gone, about a minute."""

QUIET_SECONDS = 10.0
"""After so long without a sign of a worker the log says so."""


class Farm:
    """Units of one job under way.

    Args:
        app: The Celery application.
        job: Of the depot; `description` is put there.
        task: The task's name.
        description: What all units share.
        worker_wait: Seconds of waiting without a sign of a worker before the job is given up; 0 for none.
        go_on: What to do then, once there are workers: the rest of a sentence.
        on_failure: Told what went wrong with a unit, before it is sent again.
        on_loss: Told that the depot lost what it held; puts there what else belongs to the job.
    """

    def __init__(
        self,
        app: Any,
        job: Job,
        task: str,
        description: bytes,
        *,
        worker_wait: float,
        go_on: str,
        on_failure: Callable[[str], None] = lambda _error: None,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self.job = job
        self._app = app
        self._task = task
        self._queue = TASK_QUEUES[task]
        self._description = description
        self._worker_wait = worker_wait
        self._go_on = go_on
        self._on_failure = on_failure
        self._on_loss = on_loss
        self._payloads: dict[int, bytes] = {}
        self._sent_at: dict[int, float] = {}
        self._begun: dict[int, int] = {}
        self._finished: deque[tuple[int, bytes | Failure]] = deque()
        self._looked_at = time.monotonic()
        self._quiet = 0.0
        """Seconds that `next` waited since the last sign of a worker."""
        self._waiting: int | None = None
        """Messages in the queue when it was last looked into."""
        self._is_told = False
        self._connect()
        job.describe(description)

    def _connect(self) -> None:
        # Not from the application's own pool, which would outlive a change of the broker.
        self._producer = self._app.amqp.Producer(self._app.connection_for_write())

    def close(self) -> None:
        """Ends the connection to the broker; what was sent stays sent."""
        self._producer.connection.release()

    def __len__(self) -> int:
        """Units that were added and not yet given back."""
        return len(self._payloads) + len(self._finished)

    def add(self, units: dict[int, bytes]) -> None:
        """Sends units out."""
        self.job.publish(units)
        self.adopt(units)
        for unit in units:
            self._send(unit)

    def adopt(self, units: dict[int, bytes]) -> None:
        """Takes over units that an earlier coordinator sent; those that got lost are sent again."""
        self._payloads.update(units)
        self._begun.update(dict.fromkeys(units, 0))
        self._sent_at.update(dict.fromkeys(units, 0.0))

    def next(self) -> tuple[int, bytes | Failure]:
        """Waits for the next unit to end: its number and its result.

        Raises:
            JobError: No worker can do this job, or none is there, or the servers are gone.
        """
        while not self._finished:
            began = time.monotonic()
            self._collect(self.job.wait(1.0))
            if time.monotonic() - self._looked_at > LOOK_SECONDS:
                self.look_after()
            self._quiet += time.monotonic() - began
            self._tell_of_quiet()
        return self._finished.popleft()

    def _tell_of_quiet(self) -> None:
        """Says that nobody is at the job, and in the end gives it up.

        Raises:
            JobError: That was so for too long.
        """
        if self._quiet > QUIET_SECONDS and not self._is_told:
            _log.warning("no worker is at this job: is `facededup worker` running?")
            self._is_told = True
        if 0 < self._worker_wait < self._quiet:
            raise JobError(
                f"no worker did anything for {self._worker_wait:g} seconds: start `facededup worker`, then "
                f"{self._go_on}"
            )

    def _hear(self) -> None:
        """There was a sign of a worker."""
        self._quiet, self._is_told = 0.0, False

    def look_after(self) -> None:
        """Collects results whose news got lost, and sends units again whose worker did."""
        self._looked_at = time.monotonic()
        if self.job.description() is None:
            self._restore()
            return
        begun, leased = self.job.standing(list(self._payloads))
        # In this order: what ends meanwhile had its lease then, and what had ended by then is taken in here.
        self._collect(self._payloads)
        lost = [unit for unit, count in self._begun.items() if unit not in leased and begun[unit] > count]
        if leased or lost:
            self._hear()
        for unit in lost:
            self._try_again(unit, begun[unit], "the worker died")
        overdue = time.monotonic() - LOST_SECONDS
        silent = [
            unit
            for unit in self._payloads
            if unit not in leased and unit not in lost and self._sent_at[unit] < overdue
        ]
        if silent:
            self._look_into_queue(silent)

    def _look_into_queue(self, silent: Sequence[int]) -> None:
        """Sends units again that are not in the queue any more; where others are before them, waits on."""
        waiting = self._messages_waiting()
        if waiting == 0:
            # A server that went back to an earlier state of its disk has lost payloads as well.
            self.job.publish({unit: self._payloads[unit] for unit in silent})
            for unit in silent:
                self._send(unit)
        elif waiting is not None and self._waiting not in (None, waiting):
            self._hear()  # of workers that are at another job
        self._waiting = waiting or None

    def _collect(self, units: Iterable[int]) -> None:
        for unit, ended in self.job.ended([unit for unit in units if unit in self._payloads]).items():
            self._hear()
            if ended.error:
                self._failed(unit, ended)
                continue
            result = self.job.result(ended)
            if result is None:
                self._failed(unit, Ended(error="the result is gone from the server"))
            else:
                self._finish(unit, result)

    def _failed(self, unit: int, ended: Ended) -> None:
        begun, _ = self.job.standing([unit])
        if ended.fatal and begun[unit] >= TRIES:
            raise JobError(f"the workers cannot do this job: {ended.error}")
        self._on_failure(ended.error)
        self.job.retract(unit)
        self._try_again(unit, begun[unit], ended.error)

    def _try_again(self, unit: int, begun: int, reason: str) -> None:
        self._begun[unit] = begun
        if begun >= TRIES:
            self._finish(unit, Failure(f"{reason}, {begun} times"))
        else:
            self._send(unit)

    def _finish(self, unit: int, result: bytes | Failure) -> None:
        del self._payloads[unit], self._begun[unit], self._sent_at[unit]
        self._finished.append((unit, result))

    def _restore(self) -> None:
        """After the server lost what it held: puts everything there again."""
        _log.warning("the job is gone from the results' server: sending %d units again", len(self._payloads))
        self.close()  # a new connection declares the queues, which may be gone as well
        self._connect()
        self._on_loss()
        self.job.describe(self._description)
        if self._payloads:
            self.add(dict(self._payloads))

    def _send(self, unit: int) -> None:
        from kombu.exceptions import OperationalError

        try:
            self._app.send_task(
                self._task,
                args=(self.job.name, unit),
                producer=self._producer,
                ignore_result=True,
                retry=True,
                retry_policy=_PATIENCE,
            )
        except OperationalError as exc:
            raise broker_out_of_reach(self._app.conf.broker_url, exc) from exc
        self._sent_at[unit] = time.monotonic()

    def _messages_waiting(self) -> int | None:
        """Messages in the queue that no worker has taken; None where the broker does not answer."""
        from kombu.exceptions import OperationalError

        with self._app.connection_for_write() as connection:
            try:
                declared = connection.default_channel.queue_declare(self._queue, passive=True)
            except connection.channel_errors:
                return 0  # there is no such queue: to Redis an empty one does not exist
            except (OperationalError, *connection.connection_errors) as exc:
                _log.info("the broker did not answer: %s", type(exc).__name__)
                return None
        return int(declared.message_count)
