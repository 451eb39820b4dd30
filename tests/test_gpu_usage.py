"""What is sampled of GPUs, with readings made up; reading real ones is for tests/gpu."""

import threading

import pytest

from facededup.devices import Gpu, count_gpus
from facededup.gpu_usage import Sampler, add_usage, gpus_watched
from facededup.metrics import Metrics
from facededup.settings import Settings

CARD = Gpu(0, "card", 100, "GPU-0")
OTHER = Gpu(1, "other", 200, "GPU-1")


def test_means_and_peaks_of_what_was_read():
    readings, done = iter([(0.0, 10), (1.0, 70), None, (0.5, 30)]), threading.Event()

    def read():
        reading = next(readings, "end")
        if reading == "end":
            done.set()
            return None
        return reading

    sampler = Sampler({CARD: read, OTHER: lambda: None}, seconds=0.001)
    assert done.wait(10)
    card, other = sampler.stop()["devices"]
    assert card == {
        "number": 0,
        "name": "card",
        "memory_bytes": 100,
        "busy_share": 0.5,
        "peak_memory_bytes": 70,
        "samples": 3,
    }
    assert (other["busy_share"], other["peak_memory_bytes"], other["samples"]) == (None, None, 0)


def test_usage_of_two_commands_adds_up():
    def usage(number, samples, busy=None, peak=None):
        device = {"number": number, "samples": samples, "busy_share": busy, "peak_memory_bytes": peak}
        return {"devices": [device]}

    assert add_usage(usage(0, 1, 1.0, 5), usage(0, 3, 0.2, 9)) == usage(0, 4, 0.4, 9)
    assert add_usage(usage(0, 0), usage(0, 3, 0.2, 9)) == usage(0, 3, 0.2, 9)
    assert add_usage(None, usage(0, 3, 0.2, 9)) == add_usage(usage(0, 3, 0.2, 9), None) == usage(0, 3, 0.2, 9)
    assert len(add_usage(usage(0, 1, 1.0, 5), usage(1, 1, 1.0, 5))["devices"]) == 2
    assert add_usage(None, None) is None


@pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")
def test_without_a_gpu_nothing_is_measured():
    metrics = Metrics("find", devices={"search": "CPU"})
    with gpus_watched(Settings(), metrics):
        pass
    assert metrics.gpu is None
