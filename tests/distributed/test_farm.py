"""What the coordinator does about workers that are not there, and about a server that forgot."""

from __future__ import annotations

import threading
import time

import pytest
import redis as client

from facededup.distributed import farm as farms
from facededup.distributed.celery_app import INDEX_QUEUE, INDEX_TASK, app, configure
from facededup.distributed.depot import Depot
from facededup.errors import JobError
from facededup.settings import Settings

UNITS = {unit: b"unit %d" % unit for unit in range(4)}


@pytest.fixture
def connection(own):
    with client.Redis.from_url(own.url) as connection:
        yield connection


@pytest.fixture
def farm(own, monkeypatch):
    """One with four units sent out, on a server of its own; what is lost is missed at once."""
    monkeypatch.setattr(farms, "LOST_SECONDS", 0.1)
    monkeypatch.setattr(farms, "LOOK_SECONDS", 0.1)
    configure(Settings(broker_url=own.url))
    job = Depot(own.url).job("mine")
    made = farms.Farm(
        *(app, job, INDEX_TASK, b"what all units share"),
        worker_wait=1.5,
        go_on="go on",
        on_loss=lambda: job.put("known", b"what many units read"),
    )
    made.add(UNITS)
    yield made
    made.close()


def test_workers_at_another_job_are_workers(farm, connection):
    ended = []

    def fail():
        with pytest.raises(JobError, match=r"no worker did anything for 1.5 seconds.* then go on"):
            farm.next()
        ended.append(True)

    waiting = threading.Thread(target=fail)
    waiting.start()
    for _ in range(3):
        time.sleep(1)
        assert connection.lpop(INDEX_QUEUE)
        assert not ended
    waiting.join(20)
    assert ended


def test_to_a_server_that_comes_back_empty_all_is_given_again(farm, connection):
    connection.flushall()
    farm.look_after()
    assert farm.job.description() == b"what all units share"
    assert farm.job.get("known") == b"what many units read"
    assert farm.job.units() == UNITS
    assert connection.llen(INDEX_QUEUE) == len(UNITS)


def test_to_a_server_that_forgot_the_last_all_is_given_again(farm, connection):
    connection.delete("facededup:mine:units", INDEX_QUEUE)
    time.sleep(0.2)
    farm.look_after()
    assert farm.job.units() == UNITS
    assert connection.llen(INDEX_QUEUE) == len(UNITS)


def test_a_unit_that_ends_while_it_is_looked_for_is_not_lost(farm, connection, monkeypatch):
    """At the last try it would be given back as a failure, though its result is there."""
    connection.hset("facededup:mine:tries", 0, farms.TRIES - 1)
    assert farm.job.begin(0, "worker") == UNITS[0]
    standing = farm.job.standing

    def meanwhile(units):
        farm.job.finish(0, b"done")
        return standing(units)

    monkeypatch.setattr(farm.job, "standing", meanwhile)
    farm.look_after()
    assert farm.next() == (0, b"done")


def test_a_unit_whose_result_is_gone_is_done_again(farm, connection):
    assert farm.job.begin(1, "worker") == UNITS[1]
    farm.job.finish(1, b"dropped")
    connection.delete(farm.job.ended([1])[1].parts)
    farm.look_after()
    assert farm.job.begin(1, "another") == UNITS[1]
    farm.job.finish(1, b"done")
    assert farm.next() == (1, b"done")


def test_a_broker_that_does_not_answer_is_asked_again(farm, own, monkeypatch):
    monkeypatch.setitem(app.conf, "broker_connection_timeout", 0.5)
    own.stop()
    assert farm._messages_waiting() is None
    own.start()
    assert farm._messages_waiting() == len(UNITS)
