from __future__ import annotations

import functools
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import closing

WHEN_IMPORTED = frozenset(sys.modules)

import numpy as np
import pytest

from facededup.errors import JobError, UsageError
from facededup.workers import pool
from facededup.workers.pool import Failure, Pool

# Workers import this module under its own name to find these factories and handlers.


def build(handler):
    return handler


def square(number):
    return number * number


def process_id(_):
    return os.getpid()


def chips(size):
    return np.full(size, 7, np.uint8)


def environment(name):
    return os.environ.get(name)


def state_at_start(name):
    """Whether a module was there before this one asked, and how many threads the process has."""
    found = name in WHEN_IMPORTED, len(os.listdir("/proc/self/task"))
    return lambda _: found


def main_module(_):
    return getattr(sys.modules["__main__"], "__file__", None)


def refuse_odd(number):
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


def unpicklable(_):
    return lambda: None


def die_on_thirteen(number):
    if number == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_the_first_time(task):
    marker, number = task
    if number == 3 and not os.path.exists(marker):
        with open(marker, "w"):
            os._exit(9)
    return number


def sleep(seconds):
    time.sleep(seconds)
    return seconds


def hang_on_thirteen(number):
    if number == 13:
        time.sleep(60)
    return number


def touch(path):
    open(path, "w").close()


def unplugged(number):
    if number == 3:
        raise JobError("the device of all workers is gone")
    return number


def broken_factory(_):
    raise OSError("no such model")


def refusing_factory(_):
    raise UsageError("there is no detector 'nosuch'")


def dying_factory(_):
    os._exit(4)


def pool_of(handler, processes=2, **options):
    return Pool(build, handler, processes, **options)


def gone(pids, seconds=5.0):
    """Whether all these processes end within that time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not any(alive(pid) for pid in pids):
            return True
        time.sleep(0.02)
    return False


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_results_equal_those_without_a_pool():
    with pool_of(square) as pool:
        assert sorted(pool.run(range(100))) == [(number, square(number)) for number in range(100)]


def test_a_pool_may_run_again_and_nothing_at_all():
    with pool_of(square) as pool:
        assert list(pool.run([])) == []
        assert list(pool.run([3])) == [(3, 9)]
        assert list(pool.run([4])) == [(4, 16)]


def test_thousands_of_tiny_tasks():
    with pool_of(square) as pool:
        assert sum(result for _, result in pool.run(range(5000))) == sum(map(square, range(5000)))


def test_large_results_and_tasks_do_not_block_each_other():
    """Pipes hold some 200 KB: both sides send more than that before either could read."""
    with pool_of(np.negative) as pool:
        for task, result in pool.run(np.full(1_000_000, k, np.int8) for k in range(40)):
            assert np.array_equal(result, -task)


def test_both_workers_work_and_are_other_processes():
    with pool_of(process_id) as pool:
        used = {result for _, result in pool.run(range(500))}
        assert used == set(pool.pids)
        assert os.getpid() not in used


def test_tasks_are_pulled_a_bounded_way_ahead():
    pulled = 0

    def count():
        nonlocal pulled
        for number in range(10_000):
            pulled += 1
            yield number

    with pool_of(square) as pool:
        furthest = 0
        for given, _ in enumerate(pool.run(count())):
            furthest = max(furthest, pulled - given)
            if given == 300:
                break
    assert furthest <= 33
    assert pulled < 400


def test_tasks_are_pulled_in_the_callers_thread():
    with pool_of(square) as pool:
        tasks = (threading.get_ident() for _ in range(50))
        assert {task for task, _ in pool.run(tasks)} == {threading.get_ident()}


def test_a_slow_caller_finds_the_results_waiting():
    with pool_of(sleep, 2) as pool:
        results = pool.run([0.02] * 32)
        next(results)
        time.sleep(0.6)
        started = time.monotonic()
        assert len(list(results)) == 31
        assert time.monotonic() - started < 0.3


def test_workers_have_one_thread_each_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with pool_of(environment) as pool:
        assert list(pool.run(["OMP_NUM_THREADS"])) == [("OMP_NUM_THREADS", "1")]
    assert "OMP_NUM_THREADS" not in os.environ


def test_an_exception_comes_back_with_its_traceback_and_the_worker_lives_on():
    with pool_of(refuse_odd, 1) as pool:
        before = None
        for task, result in pool.run(range(6)):
            before = before or pool.pids
            if task % 2:
                assert result.reason == f"ValueError: {task} is odd"
                assert "in refuse_odd" in result.traceback
            else:
                assert result == task
        assert pool.pids == before


def test_a_result_that_cannot_be_sent_is_a_failure():
    with pool_of(unpicklable) as pool:
        ((_, result),) = pool.run([1])
    assert isinstance(result, Failure)
    assert "pickle" in result.traceback


def test_a_killed_workers_task_is_tried_again_and_none_is_lost(tmp_path):
    marker = str(tmp_path / "died")
    with pool_of(die_the_first_time) as pool:
        results = list(pool.run((marker, number) for number in range(40)))
    assert sorted(result for _, result in results) == list(range(40))
    assert os.path.exists(marker)


def test_a_task_that_always_kills_is_given_up_and_the_others_are_done():
    with pool_of(die_on_thirteen) as pool:
        results = dict(pool.run(range(60)))
    failure = results.pop(13)
    assert failure == Failure("the worker process died (SIGKILL), twice")
    assert results == {number: number for number in range(60) if number != 13}


def test_workers_killed_from_outside():
    with pool_of(sleep) as pool:
        # One kill a run: a second one could hit the same task again, which is then rightly given up.
        for _ in range(3):
            for done, (_, result) in enumerate(pool.run([0.005] * 60)):
                assert result == 0.005
                if done == 20:
                    os.kill(pool.pids[0], signal.SIGKILL)
            assert done == 59
            assert len(pool.pids) == 2


def test_a_task_that_hangs_is_given_up():
    started = time.monotonic()
    with pool_of(hang_on_thirteen, timeout=0.4) as pool:
        results = dict(pool.run(range(20)))
    assert results.pop(13) == Failure("took longer than 0.4 seconds, twice")
    assert results == {number: number for number in range(20) if number != 13}
    assert time.monotonic() - started < 20


def test_results_that_wait_for_a_slow_caller_are_not_late():
    with pool_of(square, timeout=0.3) as pool:
        results = pool.run(range(40))
        collected = [next(results)]
        time.sleep(0.8)
        collected += results
    assert sorted(collected) == [(number, number * number) for number in range(40)]


def test_leaving_early_stops_the_workers_at_once():
    pool = pool_of(sleep)
    with closing(pool.run([0.0, 0.0] + [30.0] * 50)) as results:
        next(results)
        pids = pool.pids
        started = time.monotonic()
    assert time.monotonic() - started < 2
    assert len(pids) == 2
    assert gone(pids)
    assert pool.pids == []
    with pytest.raises(RuntimeError, match="closed"):
        next(pool.run([1]))


def test_a_caller_that_raises_stops_the_workers():
    pids = []

    def call():
        with pool_of(sleep) as pool:
            for _ in pool.run([0.0] * 3 + [30.0] * 10):
                pids.extend(pool.pids)
                raise KeyError

    with pytest.raises(KeyError):
        call()
    assert gone(pids)
    assert len(pids) == 2


def test_a_task_iterator_that_raises_stops_the_workers():
    def tasks():
        yield from range(40)
        raise LookupError("the folder is gone")

    with pool_of(square) as pool, pytest.raises(LookupError, match="the folder is gone"):
        list(pool.run(tasks()))
    assert pool.pids == []


def test_closing_twice_and_closing_while_starting():
    pool = pool_of(square)
    pool.close()
    pool.close()
    assert pool.pids == []
    assert not [thread for thread in threading.enumerate() if thread.name == "pool pump"]
    assert not multiprocessing.active_children()


def test_a_factory_that_raises_ends_the_job_with_its_reason(capfd):
    with Pool(broken_factory, None, 2) as pool:
        with pytest.raises(JobError, match="a worker could not start: OSError: no such model"):
            list(pool.run([1]))
    assert pool.pids == []


def test_an_error_of_our_own_in_the_factory_keeps_its_kind(capfd):
    with Pool(refusing_factory, None, 2) as pool, pytest.raises(UsageError, match="no detector 'nosuch'"):
        list(pool.run([1]))


def test_a_task_whose_surroundings_are_broken_ends_the_run():
    with pool_of(unplugged, 1) as pool:
        results = pool.run(range(9))
        assert [next(results) for _ in range(3)] == [(0, 0), (1, 1), (2, 2)]
        with pytest.raises(JobError, match="device of all workers is gone"):
            next(results)
    assert pool.pids == []


def test_where_no_process_can_be_started_the_job_ends_with_advice():
    code = (
        "import functools, multiprocessing\n"
        "from facededup.workers.pool import Pool\n"
        "multiprocessing.set_executable('/bin/false')\n"
        "with Pool(functools.partial, str, 2) as pool:\n"
        "    list(pool.run([1, 2]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "JobError: no worker process can be started (" in done.stderr
    assert "take fewer --processes" in done.stderr


def test_workers_that_die_while_starting_end_the_job():
    with Pool(dying_factory, None, 2) as pool:
        with pytest.raises(JobError, match=r"no worker could start: .*exit code 4"):
            list(pool.run(range(5)))


SCRIPT = """
import functools, os, sys, time
print("the script runs", flush=True)
from facededup.workers.pool import Pool
pool = Pool(functools.partial, time.sleep, 2)
results = pool.run({tasks})
next(results)
print(*pool.pids, flush=True)
list(results)
"""


def start_script(tmp_path, tasks):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tasks=tasks))
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": here},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_a_script_needs_no_guard_and_runs_once(tmp_path):
    with start_script(tmp_path, "[0, 0, 0]") as process:
        out, error = process.communicate(timeout=30)
    assert (process.returncode, error) == (0, "")
    assert out.count("the script runs") == 1


def test_workers_end_when_the_parent_is_killed(tmp_path):
    with start_script(tmp_path, "[0, 60, 60, 60]") as process:
        assert process.stdout.readline() == "the script runs\n"
        pids = [int(pid) for pid in process.stdout.readline().split()]
        process.kill()
        assert len(pids) == 2
        assert gone(pids)


def test_an_answer_that_nobody_takes_is_no_error(tmp_path, capfd):
    """The parent may be killed just then; here it only stops listening, so that its worker lives on."""
    context = multiprocessing.get_context("spawn")
    parent, child = context.Pipe()
    worker = context.Process(target=pool._serve, args=(child,))
    worker.start()
    child.close()
    parent.send_bytes(pickle.dumps((build, touch, None)))
    assert pickle.loads(parent.recv_bytes())[0] == "ready"
    with socket.socket(fileno=os.dup(parent.fileno())) as end:
        end.shutdown(socket.SHUT_RD)
    for name in ("first", "second"):
        parent.send_bytes(pickle.dumps(str(tmp_path / name)))
    deadline = time.monotonic() + 30
    while not (tmp_path / "second").exists() and worker.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    parent.close()
    worker.join(30)
    assert (worker.exitcode, capfd.readouterr().err) == (0, "")
    assert (tmp_path / "second").exists()


def test_control_c_reaches_the_parent_only(tmp_path):
    with start_script(tmp_path, "[0, 60, 60, 60]") as process:
        assert process.stdout.readline() == "the script runs\n"
        pids = [int(pid) for pid in process.stdout.readline().split()]
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=10)
        assert error.count("KeyboardInterrupt") == 1
        assert gone(pids)


def test_main_is_not_loaded_again():
    with pool_of(main_module) as pool:
        ((_, result),) = pool.run([None])
    assert result is None


def test_a_factory_may_be_a_partial_of_an_importable_one():
    with Pool(functools.partial, square, 1) as pool:
        assert list(pool.run([5])) == [(5, 25)]


@pytest.mark.skipif(sys.platform != "linux", reason="a limit as Linux has it")
def test_a_task_that_wants_too_much_memory_fails_and_the_worker_lives():
    with pool_of(chips, processes=1, memory=100_000_000) as pool:
        results = dict(pool.run([10, 1_000_000_000, 20]))
        pids = pool.pids
        assert len(results[10]) == 10
        assert len(results[20]) == 20
        assert isinstance(results[1_000_000_000], Failure)
        assert "MemoryError" in results[1_000_000_000].reason
        assert pool.pids == pids


def test_warm_workers_begin_with_modules_loaded_and_without_threads():
    code = (
        "import os\n"
        "from facededup.workers.pool import Pool, warm_up\n"
        "os.environ.pop('OMP_NUM_THREADS', None)\n"
        "warm_up('numpy.linalg', 'facededup.errors', 'there.is.no.such.module')\n"
        "assert 'OMP_NUM_THREADS' not in os.environ\n"
        "from test_pool import state_at_start\n"
        "with Pool(state_at_start, 'numpy.linalg', 1) as pool:\n"
        "    print(*next(pool.run([0]))[1])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.stdout.split() == ["True", "1"], done.stderr
