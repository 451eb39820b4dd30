"""Embeddings from a GPU are those of the CPU, whatever the framework, the batch and the precision."""

import numpy as np
import pytest

import facededup
from facededup.errors import NoGpuError
from facededup.models.batching import find_batch_size
from facededup.models.catalog import describe_model
from facededup.models.contract import Placement
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.workers.embedders import EmbedderProcesses

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore")]  # warnings of the frameworks' own code
DLIB = describe_model("Dlib")
LEAST_COSINE = 0.9999


@pytest.fixture(scope="module", params=["pytorch", "tensorflow", "onnx"])
def engine(request, require):
    require(request.param)
    try:
        return open_engine(DLIB, engine=request.param, placement=Placement(gpu=True))
    except NoGpuError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module")
def faces():
    """Smooth pictures rather than noise: a face has no sharp grain."""
    coarse = np.random.default_rng(0).integers(0, 256, (37, 10, 10, 3), np.uint8)
    return coarse.repeat(15, axis=1).repeat(15, axis=2)


@pytest.fixture(scope="module")
def expected(faces):
    return Encoder(open_engine(DLIB, engine="onnx", gpu=False)).encode(faces)


def least_cosine(a, b):
    return float(np.einsum("ij,ij->i", a, b).min())


@pytest.mark.parametrize("batch_size", [1, 8, 37, 64])
def test_a_gpu_gives_the_embeddings_of_the_cpu(engine, faces, expected, batch_size):
    assert engine.device == "GPU"
    assert least_cosine(Encoder(engine, batch_size=batch_size).encode(faces), expected) >= LEAST_COSINE


def test_half_precision_gives_them_too(require, faces, expected):
    require("pytorch")
    try:
        half = open_engine(DLIB, placement=Placement(gpu=True, half=True))
    except NoGpuError as exc:
        pytest.skip(str(exc))
    assert least_cosine(Encoder(half).encode(faces), expected) >= LEAST_COSINE


def test_a_process_of_its_own_gives_them_too(engine, faces, expected):
    processes = EmbedderProcesses(DLIB, engine.name, [Placement(gpu=True)])
    assert processes.device == "GPU"
    assert least_cosine(Encoder(processes).encode(faces), expected) >= LEAST_COSINE
    processes.close()


def test_a_batch_size_is_found(engine):
    assert find_batch_size(engine.run, DLIB.input_size, most=1024) >= 32


def test_the_whole_job_gives_the_findings_of_the_cpu(engine, all_pictures, tmp_path):
    found = {}
    for gpu in (True, False):
        store = str(tmp_path / f"{gpu}.h5")
        options = {"store": store, "gpu": gpu}
        indexed = facededup.index([str(all_pictures)], engine=engine.name, **options)
        try:
            found[gpu] = facededup.find(**options)
        except NoGpuError as exc:
            pytest.skip(str(exc))
        assert indexed.metrics.devices["embed"] == ("GPU" if gpu else "CPU")
        assert found[gpu].metrics.devices["search"] == ("GPU" if gpu else "CPU")
    pairs = {gpu: [(pair.a, pair.b) for pair in result.pairs] for gpu, result in found.items()}
    assert sorted(pairs[True], key=str) == sorted(pairs[False], key=str)
    assert [cluster.faces for cluster in found[True].clusters] == [
        cluster.faces for cluster in found[False].clusters
    ]


def test_the_metrics_tell_of_the_gpu(engine, all_pictures, tmp_path):
    pytest.importorskip("pynvml")
    metrics = facededup.index(
        [str(all_pictures)], store=str(tmp_path / "x.h5"), gpu=True, engine=engine.name
    ).metrics.to_dict()
    device = metrics["gpu"]["devices"][0]
    assert 0 < device["peak_memory_bytes"] <= device["memory_bytes"]
    assert 0 <= device["busy_share"] <= 1
