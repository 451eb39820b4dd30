"""Where broker and results are, and how to name them without their passwords."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from facededup.errors import JobError, UsageError
from facededup.settings import Settings

BROKERS = ("redis", "rediss", "amqp", "amqps", "pyamqp")
BACKENDS = ("redis", "rediss")
DEFAULT_BROKER = "redis://localhost:6379/0"


def broker_of(settings: Settings) -> str:
    """The broker's URL; by default a Redis server on this machine.

    Raises:
        UsageError: It is of no kind that is supported.
    """
    url = settings.broker_url or DEFAULT_BROKER
    _check(url, "FACEDEDUP_BROKER_URL", BROKERS)
    return url


def backend_of(settings: Settings) -> str:
    """The URL of the Redis server that keeps jobs and results; by default that of the broker.

    Raises:
        UsageError: It is no Redis, or the broker is none and nothing is set.
    """
    url = settings.result_backend
    if url is None:
        url = broker_of(settings)
        if urlsplit(url).scheme not in BACKENDS:
            raise UsageError(
                f"results need a Redis server beside the broker: set FACEDEDUP_RESULT_BACKEND, for example "
                f"to {DEFAULT_BROKER}"
            )
        return url
    _check(url, "FACEDEDUP_RESULT_BACKEND", BACKENDS)
    return url


def without_password(url: str) -> str:
    """A URL that can be shown."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    user = parts.username or ""
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{user}:**@{place}"))


def broker_out_of_reach(url: str, exc: Exception) -> JobError:
    """What is said where the broker does not answer."""
    return JobError(
        f"the broker at {without_password(url)} cannot be reached: {str(exc).rstrip('.')}; "
        "start it, or correct FACEDEDUP_BROKER_URL"
    )


def _check(url: str, name: str, schemes: tuple[str, ...]) -> None:
    try:
        scheme = urlsplit(url).scheme
    except ValueError:  # whose text may hold the password
        raise UsageError(f"{name} is no URL") from None
    if scheme not in schemes:
        raise UsageError(f"{name} must begin with {', '.join(s + '://' for s in schemes)}, not {scheme}://")
