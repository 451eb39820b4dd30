"""The short form of benchmarks/torture.py: kills, power losses, failing disks, hostile input."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import faults
import fuzz
import powerloss

linux = pytest.mark.skipif(sys.platform != "linux", reason="processes and signals as Linux has them")


@pytest.mark.slow
@linux
def test_kills_lose_nothing():
    """In a process of its own: it forks, which one with the threads of other tests should not."""
    line = ["--kills", "5", "--images", "17", "--errors", "0", "--cuts", "0", "--inputs", "0", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "torture.py"), *line],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(BENCHMARKS.parent), "PATH": ""},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "kill -9: " in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("encrypted", [False, True])
def test_power_losses_lose_nothing(encrypted):
    assert powerloss.power_losses(2, 40, seed=1, encrypted=encrypted) >= 40


def test_a_power_loss_that_loses_is_noticed(monkeypatch):
    """The simulation can fail: without flushes, promises break."""
    monkeypatch.setattr(powerloss.Record, "promise", _too_early)
    with pytest.raises(AssertionError, match="power cut"):
        powerloss.power_losses(2, 100, seed=1)


def test_power_losses_while_keys_change_lose_nothing():
    assert powerloss.losses_between_keys(40, seed=1) >= 40


def test_power_losses_in_a_repair_lose_nothing():
    assert powerloss.losses_in_a_repair(40, seed=1) >= 40


@pytest.mark.parametrize("encrypted", [False, True])
def test_power_losses_in_a_search_lose_nothing_that_was_kept(encrypted):
    assert powerloss.losses_in_a_search(80, seed=1, encrypted=encrypted) >= 80


def _too_early(record, state):
    record.promised.append((max(0, len(record.log) - 40), state))


@pytest.mark.parametrize("encrypted", [False, True])
def test_errors_of_the_disk_lose_nothing(encrypted):
    assert faults.write_errors(2, 10, finish_every=4, encrypted=encrypted) >= 10


def test_readers_do_not_wait_for_a_slow_disk():
    assert faults.slow_disk(4, 0.001) > 2


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mutated_image_is_read_or_refused(seed):
    fuzz.image_case(seed)


@pytest.mark.parametrize("data", fuzz.images(), ids=range(len(fuzz.images())))
def test_pretenders_are_refused_in_time(data):
    pretends = data in fuzz.pretenders(fuzz.images()[4])
    assert fuzz.try_image(data) == ("refused" if pretends else "read")


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32))
def test_a_mutated_store_is_refused_or_repaired(seed):
    fuzz.store_case(seed)
