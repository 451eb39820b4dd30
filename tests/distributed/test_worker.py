"""`worker` and its relatives, as they are started by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from machines import free_port, worker

import facededup


def command(*words, **environment):
    return subprocess.run(
        [sys.executable, "-m", "facededup", *words],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_check_names_the_workers_that_answer(redis, steady_worker):
    there = command("worker", "--check", FACEDEDUP_BROKER_URL=redis.url)
    assert there.returncode == 0, there.stderr
    assert there.stdout.startswith(f"facededup-{steady_worker.process.pid}@")
    nobody = command("worker", "--check", FACEDEDUP_BROKER_URL=redis.url[:-1] + "5")
    assert nobody.returncode == 1
    assert "no worker answers" in nobody.stderr


@pytest.mark.parametrize(
    ("words", "url", "sentence"),
    [
        (["--queues", "index,nonsense"], "redis://127.0.0.1:{port}/0", "not 'nonsense'"),
        ([], "redis://:secret@127.0.0.1:{port}/0", "start that server, or correct FACEDEDUP_RESULT_BACKEND"),
        ([], "sqs://x:secret@y", "FACEDEDUP_BROKER_URL must begin with"),
        (["--check"], "amqp://u:secret@127.0.0.1:{port}//", "FACEDEDUP_RESULT_BACKEND"),
    ],
)
def test_a_worker_that_cannot_start_says_why(words, url, sentence):
    ended = command("worker", *words, FACEDEDUP_BROKER_URL=url.format(port=free_port()))
    assert ended.returncode in (1, 2)
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "secret" not in ended.stderr


@pytest.mark.parametrize("watched", [False, True])
def test_celerys_own_command_starts_a_worker(redis, pictures, store, watched, monkeypatch):
    url = redis.url[:-1] + ("6" if watched else "7")
    monkeypatch.setenv("FACEDEDUP_BROKER_URL", url)
    words = ["-m", "celery", "-A", "facededup.distributed.celery_app", "worker", "--loglevel", "INFO"]
    if watched:
        words = [*("-m", "watchdog.watchmedo", "auto-restart", "-d", "facededup", "-p", "*.py", "-R", "--")]
        words += [sys.executable, "-m", "celery", "-A", "facededup.distributed.celery_app", "worker"]
        words += ["--loglevel", "INFO"]
    with worker(url, pictures.parent / "log", command=words, FACEDEDUP_PROCESSES="1", FACEDEDUP_GPU="false"):
        result = facededup.index([pictures / "hopper-dark.jpg"], store=store, queue=True)
    assert (result.ok, result.failed) == (1, 0)
