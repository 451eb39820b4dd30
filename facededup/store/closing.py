"""How snapshots and writers of every kind of store end as context managers: by their `close`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from facededup.errors import FacededupError


class Closing(ABC):
    """What is closed when its block is left."""

    @abstractmethod
    def close(self) -> None:
        """Lets everything go."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ClosingWriter(Closing):
    """A writer: what went wrong in its block matters more than what goes wrong as it closes.

    All that was committed is safe by then.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except FacededupError:
            if error is None:
                raise
