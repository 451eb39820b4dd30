"""One network in several processes gives what it gives in one."""

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from facededup.errors import JobError, NoGpuError
from facededup.models.catalog import describe_model
from facededup.models.contract import Placement
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.workers.embedders import EmbedderProcesses

DLIB = describe_model("Dlib")
ON_CPU = Placement(gpu=False)


@pytest.fixture(scope="module")
def two(cache):
    engine = EmbedderProcesses(DLIB, "onnx", [ON_CPU, ON_CPU])
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def faces():
    return np.random.default_rng(0).integers(0, 256, (21, 150, 150, 3), np.uint8)


def test_two_processes_give_what_one_does(two, faces):
    one = open_engine(DLIB, engine="onnx")
    assert (two.name, two.device, two.versions) == ("onnx", "CPU", one.versions)
    assert two.lanes >= 4
    expected = Encoder(one).encode(faces)
    with ThreadPoolExecutor(two.lanes) as threads:
        for embeddings in threads.map(Encoder(two, batch_size=4).encode, [faces] * 6):
            np.testing.assert_allclose(embeddings, expected, atol=1e-6)


def test_what_goes_wrong_in_a_process_comes_back(two, faces):
    with pytest.raises(JobError, match="failed on a batch of 3 faces"):
        two.run(faces[:3, :10])
    assert two.run(faces[:3]).shape == (3, 128)


def test_a_process_that_cannot_start_says_why():
    with pytest.raises(NoGpuError, match="sees none"):
        EmbedderProcesses(DLIB, "onnx", [ON_CPU, Placement(gpu=True)])


def test_a_process_that_dies_is_an_error_and_not_a_wait(cache, faces):
    engine = EmbedderProcesses(DLIB, "onnx", [ON_CPU])
    os.kill(engine._stop.peek()[2][0][0].pid, signal.SIGKILL)
    with pytest.raises(JobError, match=r"embedder on the CPU died; what is stored is kept"):
        engine.run(faces)
    engine.close()
    engine.close()
