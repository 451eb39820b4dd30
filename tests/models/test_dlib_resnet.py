import json
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest
from dlib_reference import VECTORS_FILE, digest, pattern

from facededup.errors import WeightsMissingError
from facededup.models.dlib_resnet import WEIGHTS_FILE, load_graph, read_network
from facededup.models.encoder import Encoder
from facededup.models.weights import find_weights

TOLERANCE = 1e-5
with open(VECTORS_FILE, encoding="utf-8") as file:
    CANONICAL = {entry["name"]: entry for entry in json.load(file)["vectors"]}


@pytest.fixture(scope="module")
def network():
    with open(find_weights(WEIGHTS_FILE), "rb") as file:
        return read_network(file.read())


def test_network_is_dlibs(network):
    assert [block.second.weight.shape[0] for block in network.blocks] == [
        *[32] * 3,
        *[64] * 4,
        *[128] * 3,
        *[256] * 4,
    ]
    assert [number for number, block in enumerate(network.blocks) if block.down] == [3, 7, 10, 13]
    assert network.projection.shape == (256, 128)


def test_damaged_weights_are_refused(network):
    with open(find_weights(WEIGHTS_FILE), "rb") as file:
        data = bytearray(file.read())
    data[-1000] ^= 1
    with pytest.raises(WeightsMissingError, match=r"damaged.*pip install"):
        read_network(bytes(data))


@pytest.mark.parametrize(("number", "name"), [(0, "astronaut"), (1, "grace_hopper")])
def test_canonical_faces(engine, chips, number, name):
    if digest(chips[number]) != CANONICAL[name]["chip_sha256"]:
        pytest.skip("another version of dlib or of the picture: the chip's pixels differ")
    (embedding,) = engine.run(chips[number : number + 1])
    np.testing.assert_allclose(embedding, CANONICAL[name]["descriptor"], rtol=0, atol=TOLERANCE)


def test_canonical_pattern(engine):
    chip = pattern()
    assert digest(chip) == CANONICAL["pattern"]["chip_sha256"]
    (embedding,) = engine.run(chip[None])
    np.testing.assert_allclose(embedding, CANONICAL["pattern"]["descriptor"], rtol=0, atol=TOLERANCE)


def test_equals_dlib_itself(engine, chips, dlib_descriptors):
    np.testing.assert_allclose(engine.run(chips), dlib_descriptors, rtol=0, atol=TOLERANCE)


def test_tells_people_apart(engine, chips):
    embeddings = Encoder(engine).encode(chips)
    cosines = embeddings @ embeddings.T
    same = cosines[0::2, 0::2].min(), cosines[1::2, 1::2].min()
    assert min(same) > 0.95
    assert cosines[0::2, 1::2].max() < 0.93


def cached_file(folder):
    (path,) = folder.glob("*.graph")
    return path


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_damaged_cache_is_rebuilt(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path))
    graph = load_graph()
    path = cached_file(tmp_path)
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    path.write_bytes({"truncated": good[:1_000_000], "flipped": bytes(flipped), "empty": b""}[damage])
    assert load_graph() == graph
    assert path.read_bytes() == good


def test_unwritable_cache_is_done_without(tmp_path, monkeypatch):
    occupied = tmp_path / "file"
    occupied.write_text("not a folder")
    monkeypatch.setenv("FACEDEDUP_CACHE", str(occupied / "cache"))
    assert len(load_graph()) > 20_000_000
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_read_only_cache_is_done_without(tmp_path):
    """As an unprivileged user: to root every folder is writable."""
    tmp_path.chmod(0o555)
    code = (
        "import os\n"
        "from facededup.models.dlib_resnet import load_graph\n"
        "from facededup.models.weights import find_weights\n"
        "import onnx\n"  # what root alone may read is imported before root is given up
        "if os.getuid() == 0: os.setuid(65534)\n"
        "print(len(load_graph()))\n"
    )
    done = run(code, tmp_path)
    assert int(done) > 20_000_000
    assert list(tmp_path.iterdir()) == []


def test_warm_cache_needs_no_onnx(cache, engine):
    code = (
        "import sys\n"
        "from facededup.models.catalog import describe_model\n"
        "from facededup.models.engine import open_engine\n"
        "open_engine(describe_model('Dlib'))\n"
        "print('onnx' in sys.modules)\n"
    )
    assert run(code, cache) == "False"


def test_two_processes_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        one, other = pool.submit(load_graph), pool.submit(load_graph)
        assert one.result() == other.result()
    assert [path.suffix for path in tmp_path.iterdir()] == [".graph"]


def run(code, cache):
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "FACEDEDUP_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
