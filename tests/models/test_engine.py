import threading
import time

import numpy as np
import onnxruntime
import pytest

from facededup.errors import JobError, NoGpuError, UsageError
from facededup.models.catalog import describe_model
from facededup.models.engine import open_engine

DLIB = describe_model("Dlib")
NO_CUDA = "CUDAExecutionProvider" not in onnxruntime.get_available_providers()


def test_names_itself(engine):
    assert engine.name == "onnx"
    assert engine.device == "CPU" or not NO_CUDA
    assert engine.versions == {"onnxruntime": onnxruntime.__version__}
    assert engine.model is DLIB


def test_any_batch_gives_the_same(engine, chips):
    together = engine.run(chips)
    assert together.shape == (6, 128)
    assert together.dtype == np.float32
    for number in range(len(chips)):
        np.testing.assert_allclose(engine.run(chips[number : number + 1])[0], together[number], atol=1e-6)


def test_threads_give_the_same(engine, chips):
    np.testing.assert_allclose(open_engine(DLIB, threads=2).run(chips), engine.run(chips), atol=1e-6)


def test_lets_other_threads_work(engine, chips):
    """A counter in this thread goes on while a batch runs in another."""
    batch = np.concatenate([chips] * 8)
    worker = threading.Thread(target=engine.run, args=(batch,))
    worker.start()
    turns = 0
    while worker.is_alive():
        turns += 1
        time.sleep(0.001)
    worker.join()
    assert turns > 10


@pytest.mark.skipif(not NO_CUDA, reason="this onnxruntime has CUDA")
def test_demanded_gpu_is_never_replaced():
    with pytest.raises(NoGpuError, match=r"onnxruntime .* sees none.*leave out --gpu"):
        open_engine(DLIB, engine="onnx", gpu=True)
    with pytest.raises(NoGpuError, match=r"Dlib here sees one \(onnx.*facededup\[gpu\].*leave out --gpu"):
        open_engine(DLIB, gpu=True)


@pytest.mark.gpu
@pytest.mark.skipif(NO_CUDA, reason="this onnxruntime has no CUDA")
def test_gpu_gives_the_same(chips):
    gpu = open_engine(DLIB, gpu=True)
    assert gpu.device == "GPU"
    np.testing.assert_allclose(gpu.run(chips), open_engine(DLIB, gpu=False).run(chips), atol=1e-5)


def test_unknown_engine():
    with pytest.raises(UsageError, match=r"'caffe'.*auto, onnx"):
        open_engine(DLIB, engine="caffe")


def test_engine_that_does_not_run_the_model():
    with pytest.raises(UsageError, match="SFace does not run on pytorch: use --engine onnx"):
        open_engine(describe_model("SFace"), engine="pytorch")


def test_failures_are_translated(engine):
    with pytest.raises(JobError, match="batch of 1 faces"):
        engine.run(np.zeros((1, 10, 10, 3), np.uint8))
