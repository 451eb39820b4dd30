"""The Celery application: `celery -A facededup.distributed.celery_app worker`.

Set up from the environment, or from the file that FACEDEDUP_CONFIG names; `facededup worker` and the
coordinators set it up again with their own settings.
"""

from __future__ import annotations

import os

from celery import Celery
from kombu import Exchange, Queue

from facededup.distributed.addresses import backend_of, broker_of
from facededup.distributed.depot import Depot, open_depot
from facededup.settings import Settings, load_settings

INDEX_QUEUE = "facededup.index"
SEARCH_QUEUE = "facededup.search"
INDEX_TASK = "facededup.index_chunk"
SEARCH_TASK = "facededup.search_blocks"
TASK_QUEUES = {INDEX_TASK: INDEX_QUEUE, SEARCH_TASK: SEARCH_QUEUE}

VISIBILITY_SECONDS = 600
"""When Redis hands out anew what a dead worker had taken; the coordinator notices far sooner (see `farm`)."""

SLOTS = max(2, (os.cpu_count() or 1) // 2) + 1
"""Chunks a worker has in hand at once. Its processes are what works: these only keep them fed."""

app = Celery("facededup", include=["facededup.distributed.tasks"], set_as_current=False)
_settings = Settings()


def configure(settings: Settings) -> None:
    """Sets the application up.

    Raises:
        UsageError: There is no broker or no place for results, or it cannot be used.
    """
    global _settings  # noqa: PLW0603 - like the application, one a process
    _settings = settings
    app.conf.update(
        broker_url=broker_of(settings),
        result_backend="disabled://",  # results go to the depot, as bytes
        task_ignore_result=True,
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        accept_content=["json"],
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_track_started=True,
        task_routes={task: {"queue": queue, "routing_key": queue} for task, queue in TASK_QUEUES.items()},
        task_queues=_queues(),
        # Threads: the images are read by processes of the task's own (see `workshop`), CUDA and fork do not
        # mix, and a worker that is busy still answers.
        worker_pool="threads",
        worker_concurrency=SLOTS,
        worker_prefetch_multiplier=1,
        worker_send_task_events=True,
        task_send_sent_event=True,
        worker_redirect_stdouts=False,
        worker_consumer="facededup.distributed.consumer:LastingConsumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Undone by the thread of a task, which reads from the connection in the midst of what another reads.
        worker_enable_prefetch_count_reduction=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options=_transport_options(broker_of(settings)),
    )


def worker_settings() -> Settings:
    """The settings this process was set up with."""
    return _settings


def depot() -> Depot:
    """Where jobs and results are."""
    return open_depot(backend_of(_settings))


def _queues() -> list[Queue]:
    # Each with an exchange of its own: Redis shows every queue of a shared one the messages of all.
    return [Queue(name, Exchange(name), routing_key=name) for name in (INDEX_QUEUE, SEARCH_QUEUE)]


def _transport_options(broker: str) -> dict[str, object]:
    if not broker.startswith("redis"):
        return {}
    return {"visibility_timeout": VISIBILITY_SECONDS, "socket_keepalive": True, "health_check_interval": 30}


configure(load_settings({}, config=os.environ.get("FACEDEDUP_CONFIG")))
