"""Batch sizes: found by trying, halved for want of memory, remembered."""

import json

import numpy as np
import pytest
from small_memory import SmallMemory

from facededup.errors import DeviceMemoryError, JobError
from facededup.models.batching import BatchSizes, batch_key, find_batch_size
from facededup.models.contract import run_failures
from facededup.models.encoder import Encoder


@pytest.mark.parametrize("most", [1, 2, 5, 16, 1000])
def test_a_batch_that_does_not_fit_is_halved_and_nothing_else_changes(engine, chips, most):
    faces = np.concatenate([chips, chips[:, ::-1], chips[:3]])
    small, told = SmallMemory(engine, most), []
    encoder = Encoder(small, batch_size=15, remember=told.append)
    np.testing.assert_allclose(encoder.encode(faces), Encoder(engine).encode(faces), atol=1e-6)
    assert encoder.batch_size == {1: 1, 2: 1, 5: 3, 16: 15, 1000: 15}[most]
    assert told == {1: [7, 3, 1], 2: [7, 3, 1], 5: [7, 3]}.get(most, [])


def test_mirrors_are_halved_with_their_faces(engine, chips):
    encoder = Encoder(SmallMemory(engine, 2), batch_size=6, flip=True)
    expected = Encoder(engine, flip=True).encode(chips)
    np.testing.assert_allclose(encoder.encode(chips), expected, atol=1e-6)


def test_cuts_that_fitted_before_the_memory_ran_out_count_once(engine, chips):
    class Shrinking(SmallMemory):
        def run(self, faces):
            if len(self.shapes) == 3:
                self.most = 2
            return super().run(faces)

    encoder = Encoder(Shrinking(engine, 6), batch_size=6, crops=5)
    expected = Encoder(engine, crops=5).encode(chips)
    np.testing.assert_allclose(encoder.encode(chips), expected, atol=1e-6)
    assert encoder.batch_size == 1


def test_where_no_face_fits_the_error_says_so(engine, chips):
    with pytest.raises(DeviceMemoryError):
        Encoder(SmallMemory(engine, 0)).encode(chips)


def test_a_gpu_sees_few_shapes_and_a_cpu_no_padding(engine, chips):
    gpu = SmallMemory(engine, 100)
    encoder = Encoder(gpu, batch_size=12)
    for count in (1, 2, 3, 6, 9, 17):
        faces = np.resize(chips, (count, *chips.shape[1:]))
        np.testing.assert_allclose(encoder.encode(faces), Encoder(engine).encode(faces), atol=1e-6)
    assert set(gpu.shapes) == {1, 2, 4, 8, 12}


class Clockwork:
    """A device that takes a fixed time a batch, some a face, and more beyond its best size."""

    def __init__(self, most, best):
        self.now, self.most, self.best, self.tried = 0.0, most, best, []

    def run(self, faces):
        self.tried.append(len(faces))
        if len(faces) > self.most:
            raise DeviceMemoryError("too many")
        self.now += 1.0 + 0.001 * len(faces) + max(0, len(faces) - self.best)

    def find(self, **bounds):
        return find_batch_size(self.run, (2, 3), clock=lambda: self.now, **bounds)


@pytest.mark.parametrize(
    ("most", "best", "found"),
    [(10**6, 256, 256), (300, 10**6, 256), (10**6, 10**6, 4096), (20, 10**6, 16), (1, 10**6, 1)],
)
def test_the_size_that_pays_is_found(most, best, found):
    assert Clockwork(most, best).find() == found


def test_trying_stops_where_nothing_fits():
    device = Clockwork(0, 1)
    with pytest.raises(DeviceMemoryError):
        device.find(first=4)
    assert device.tried == [4, 2, 1]


def test_a_real_engine_has_a_size(engine):
    assert find_batch_size(SmallMemory(engine, 8).run, (150, 150), first=4, most=16) in (4, 8)


def test_sizes_are_remembered_by_what_they_depend_on(engine, tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path / "new" / "folder"))
    keys = {
        batch_key(engine, device, half=half, memory_limit=limit)
        for device in ("card", "other")
        for half in (True, False)
        for limit in (None, 100)
    }
    assert len(keys) == 8
    for size, key in enumerate(sorted(keys), 1):
        assert BatchSizes(key).get() is None
        BatchSizes(key).put(size)
    assert [BatchSizes(key).get() for key in sorted(keys)] == list(range(1, 9))


@pytest.mark.parametrize("content", ["", "[]", "{", '{"k": -1}', '{"k": "many"}', '{"k": true}'])
def test_a_strange_cache_holds_nothing(tmp_path, monkeypatch, content):
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path))
    (tmp_path / "batch-sizes.json").write_text(content)
    assert BatchSizes("k").get() is None
    BatchSizes("k").put(3)
    assert json.loads((tmp_path / "batch-sizes.json").read_text())["k"] == 3


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEDEDUP_CACHE", str(tmp_path / "file"))
    BatchSizes("k").put(3)
    assert BatchSizes("k").get() is None


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)"),
        RuntimeError("BFCArena::AllocateRawInternal Failed to allocate memory for requested buffer"),
        type("ResourceExhaustedError", (Exception,), {})("OOM when allocating tensor"),
    ],
)
def test_what_the_frameworks_raise_for_want_of_memory_is_told_apart(error):
    with pytest.raises(DeviceMemoryError, match="no memory for a batch of 7 faces"), run_failures("X", 7):
        raise error
    with pytest.raises(JobError, match="failed on a batch of 7 faces") as caught, run_failures("X", 7):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")
    assert not isinstance(caught.value, DeviceMemoryError)


def test_pytorch_for_real_runs_out_of_memory(require):
    require("pytorch")
    import torch

    with pytest.raises(DeviceMemoryError), run_failures("PyTorch", 1):
        torch.empty(1 << 50)
