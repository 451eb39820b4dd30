"""What can go wrong, as one tree.

FacededupError                 exit code 1
├── JobError                   1: the job failed through its surroundings
│   ├── StoreLockedError       another process is writing to the store
│   ├── StoreWriteError        disk full, read-only folder, I/O error
│   ├── WeightsMissingError    the model's weights are not on this machine
│   ├── PackageMissingError    an optional package is not installed
│   └── DeviceMemoryError      a batch or tile does not fit into the memory of its device
├── UsageError                 2: the request cannot be carried out as asked
│   ├── PathNotFoundError      a given path does not exist
│   ├── StoreNotFoundError     there is no store at the given place
│   ├── NewerFormatError       the store was made by a later version
│   ├── WrongKeyError          the store is encrypted, and its key is missing or another
│   ├── SettingMismatchError   a setting differs from the one the store was made with
│   ├── NoGpuError             a GPU was demanded and none is usable
│   └── TooManyPairsError      the threshold would give more pairs than allowed
├── DamagedStoreError          3: the store is damaged, or is no store
└── InterruptedRunError        130: stopped by the user, the work so far is kept

Each carries one sentence that says what is wrong and what to do; errors of the libraries below are
translated where they are called, with the cause kept (``raise ... from exc``).
"""

from __future__ import annotations


class FacededupError(Exception):
    """The root of every error facededup raises on purpose."""

    exit_code = 1


class JobError(FacededupError):
    """The job failed through its surroundings."""


class StoreLockedError(JobError):
    """Another process is writing to the store."""


class StoreWriteError(JobError):
    """The store could not be written: disk full, read-only folder, I/O error."""


class WeightsMissingError(JobError):
    """The model's weights are not on this machine."""


class PackageMissingError(JobError):
    """An optional package is not installed."""


class DeviceMemoryError(JobError):
    """A batch or tile does not fit into the memory of its device."""


class UsageError(FacededupError):
    """The request cannot be carried out as asked."""

    exit_code = 2


class PathNotFoundError(UsageError):
    """A given path does not exist."""


class StoreNotFoundError(UsageError):
    """There is no store at the given place."""


class NewerFormatError(UsageError):
    """The store was made by a later version of facededup."""


class WrongKeyError(UsageError):
    """The store is encrypted, and its key is missing or another."""


class SettingMismatchError(UsageError):
    """A setting differs from the one the store was made with."""


class NoGpuError(UsageError):
    """A GPU was demanded and none is usable."""


class TooManyPairsError(UsageError):
    """The threshold would give more pairs than allowed."""


class DamagedStoreError(FacededupError):
    """The store is damaged, or is no store."""

    exit_code = 3


class InterruptedRunError(FacededupError):
    """Stopped by the user; the work so far is kept."""

    exit_code = 130


def first_line(error: BaseException) -> str:
    """What another package's error says in its first line; its kind where it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip()
