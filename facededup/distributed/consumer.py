"""What takes messages from the broker in a worker, and outlives a restart of the broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

from celery.worker.consumer import Consumer


class LastingConsumer(Consumer):  # type: ignore[misc]
    """Celery's consumer, that leaves a broken connection alone.

    Celery would hand unacknowledged messages back, and acknowledge others, over the connection they came
    by. Where that is gone for good, kombu's Redis transport fails with an error that ends the worker. Nothing
    is lost without: the broker hands these messages out again, or the coordinator does.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._broken: WeakSet[Any] = WeakSet()
        super().__init__(*args, **kwargs)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Ends the connection; messages it brought are not handed back."""
        if self.task_consumer is not None:
            channel = self.task_consumer.channel
            channel.do_restore = False
            self._broken.add(channel)
        super().on_connection_error_after_connected(exc)

    def call_soon_ack(self, answer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Answers a message in the thread of the connection, if that is still the one it came by."""
        return super().call_soon_ack(self._answer, answer, *args, **kwargs)

    def _answer(self, answer: Any, *args: Any, **kwargs: Any) -> None:
        if answer.__self__.channel not in self._broken:
            answer(*args, **kwargs)
