"""dlib's network on every framework, against the vectors dlib itself gave."""

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from dlib_reference import VECTORS_FILE, digest, pattern

from facededup.errors import JobError, NoGpuError, UsageError
from facededup.models import pytorch_engine
from facededup.models.catalog import describe_model
from facededup.models.contract import Placement
from facededup.models.engine import open_engine

DLIB = describe_model("Dlib")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the frameworks' own code


@pytest.fixture(scope="module", params=["onnx", "pytorch", "tensorflow"])
def opened(request, require, cache):
    require(request.param)
    return open_engine(DLIB, engine=request.param)


def test_names_itself(opened, request):
    assert opened.name == request.node.callspec.params["opened"]
    assert opened.model is DLIB
    assert all(version[0].isdigit() for version in opened.versions.values())


def test_equals_dlib(opened, chips, dlib_descriptors):
    embeddings = opened.run(chips)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(embeddings, dlib_descriptors, rtol=0, atol=1e-5)


def test_equals_canonical_vectors(opened, chips):
    with open(VECTORS_FILE, encoding="utf-8") as file:
        vectors = {entry["chip_sha256"]: entry["descriptor"] for entry in json.load(file)["vectors"]}
    known = [chip for chip in (*chips, pattern()) if digest(chip) in vectors]
    assert known, "the pattern has the same pixels everywhere"
    np.testing.assert_allclose(
        opened.run(np.stack(known)), [vectors[digest(chip)] for chip in known], rtol=0, atol=1e-5
    )


def test_any_batch_gives_the_same(opened, chips):
    together = opened.run(chips)
    for number in range(len(chips)):
        np.testing.assert_allclose(opened.run(chips[number : number + 1])[0], together[number], atol=1e-6)


def test_read_only_chips_are_taken(opened, chips):
    frozen = chips.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(opened.run(frozen), opened.run(chips))


def test_demanded_gpu_is_never_replaced(opened):
    if opened.device == "GPU":
        pytest.skip("this machine has a GPU")
    with pytest.raises(NoGpuError, match=r"sees none: install .*, or leave out --gpu"):
        open_engine(DLIB, engine=opened.name, gpu=True)


def test_batches_side_by_side_are_those_one_by_one(opened, chips):
    assert opened.lanes >= 2
    expected = opened.run(chips)
    with ThreadPoolExecutor(opened.lanes) as threads:
        for rows in threads.map(opened.run, [chips] * 6):
            np.testing.assert_allclose(rows, expected, atol=1e-6)


@pytest.mark.gpu
def test_gpu_equals_cpu(opened, chips):
    if opened.device == "CPU":
        pytest.skip("this framework sees no GPU")
    on_cpu = open_engine(DLIB, engine=opened.name, gpu=False)
    assert on_cpu.device == "CPU"
    np.testing.assert_allclose(opened.run(chips), on_cpu.run(chips), atol=1e-5)


def test_half_precision_is_taken_where_it_changes_nothing(require, chips, dlib_descriptors):
    """On the CPU, too, which is how it is tested without a GPU; `index` keeps it to GPUs."""
    require("pytorch")
    half = open_engine(DLIB, placement=Placement(gpu=False, half=True))
    assert half.name == "pytorch"
    rows = half.run(chips)
    assert rows.dtype == np.float32
    lengths = np.linalg.norm(rows, axis=1) * np.linalg.norm(dlib_descriptors, axis=1)
    assert ((rows * dlib_descriptors).sum(axis=1) / lengths).min() > 0.9999
    assert np.abs(rows - dlib_descriptors).max() > 1e-6, "it was not calculated in float16"


def test_half_precision_is_refused_where_it_changes_embeddings(require, chips, monkeypatch):
    require("pytorch")
    monkeypatch.setattr(pytorch_engine, "LEAST_COSINE", 1.0)
    with pytest.raises(JobError, match=r"other embeddings in float16.*leave --precision out"):
        open_engine(DLIB, placement=Placement(gpu=False, half=True))
    with pytest.raises(UsageError, match="onnx runs in float32 only"):
        open_engine(DLIB, engine="onnx", placement=Placement(half=True))


def test_threads_are_as_asked(require):
    require("pytorch")
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (2, 1):
            open_engine(DLIB, engine="pytorch", threads=threads)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
