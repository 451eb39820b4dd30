"""What the pipelines do with demands for GPUs, and with a GPU that fails; no GPU is needed."""

import os
import signal
from functools import partial

import pytest

import facededup
from facededup.devices import count_gpus
from facededup.errors import JobError, NoGpuError, UsageError
from facededup.executor import LocalExecutor
from facededup.faces.deepface_client import _choose_gpu
from facededup.indexing import index_images
from facededup.metrics import Metrics
from facededup.models.catalog import describe_detector, describe_model
from facededup.models.encoder import Encoder
from facededup.models.engine import open_engine
from facededup.progress import SilentProgress
from facededup.settings import Settings
from facededup.workers.detection import DetectionProcess

no_gpu = pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU")


@no_gpu
@pytest.mark.parametrize("demand", [{"gpu": True}, {"devices": (0,)}, {"devices": (0, 1)}])
def test_demands_are_refused_before_anything_is_done(all_pictures, tmp_path, demand):
    store = tmp_path / "faces.h5"
    with pytest.raises(NoGpuError):
        facededup.index([str(all_pictures)], store=str(store), **demand)
    assert not store.exists()
    with pytest.raises(NoGpuError):
        facededup.find(store=str(store), **demand)
    with pytest.raises(NoGpuError):
        facededup.find(store=str(store), against=str(tmp_path / "base.h5"), **demand)


@no_gpu
def test_half_precision_is_for_gpus(all_pictures, store, require):
    require("pytorch")
    with pytest.raises(UsageError, match="float16 is for GPUs"):
        facededup.index([str(all_pictures)], store=store, precision="float16", engine="pytorch")


@no_gpu
@pytest.mark.parametrize("options", [{}, {"gpu": False}, {"index": "ivf"}, {"search_engine": "faiss"}])
def test_half_precision_is_not_passed_over_by_a_search_on_the_cpu(store, tmp_path, options):
    words = r"float16 is for GPUs, and the search.*leave --precision out"
    with pytest.raises(UsageError, match=words):
        facededup.find(store=store, precision="float16", **options)
    if "index" not in options:
        with pytest.raises(UsageError, match=words):
            facededup.find(store=store, precision="float16", against=str(tmp_path / "base.h5"), **options)


@no_gpu
@pytest.mark.parametrize("demand", [{"gpu": True}, {"devices": (0,)}])
def test_a_lookup_does_not_pass_over_a_demand(all_pictures, tmp_path, demand):
    store, picture = str(tmp_path / "faces.h5"), str(min(all_pictures.rglob("*.jpg")))
    facededup.index([picture], store=store)
    with pytest.raises(NoGpuError):
        facededup.search(picture, store=store, **demand)
    with pytest.raises(NoGpuError):
        facededup.compare(picture, picture, store=store, **demand)


@pytest.mark.parametrize(
    ("detector", "error", "words"),
    [("dlib", UsageError, "runs on CPUs only"), ("yunet", UsageError, "CPUs only")]
    + ([] if count_gpus() else [("retinaface", NoGpuError, "there is none"), ("mtcnn", NoGpuError, "none")]),
)
def test_detection_on_a_gpu_is_refused_where_it_cannot_be(all_pictures, tmp_path, detector, error, words):
    store = tmp_path / "faces.h5"
    with pytest.raises(error, match=f"{words}.*leave out --detect-gpu"):
        facededup.index([str(all_pictures)], store=str(store), detector=detector, detect_gpu=True)
    assert not store.exists()


@no_gpu
def test_a_detector_whose_library_sees_no_gpu_says_so(monkeypatch):
    for name in ("CUDA_VISIBLE_DEVICES", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")  # so that both are put back
    with pytest.raises(NoGpuError, match="library of retinaface, onnxruntime, sees none"):
        _choose_gpu(describe_detector("retinaface"), 0)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    with pytest.raises(NoGpuError):
        _choose_gpu(describe_detector("retinaface"), 1)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "7"


def test_a_gpu_searches_exactly(store):
    with pytest.raises(UsageError, match="a GPU searches exactly"):
        facededup.find(store=store, gpu=True, index="ivf")


class Failing:
    """A real engine whose device is lost after some batches."""

    def __init__(self, engine, batches):
        self._engine, self._left = engine, batches

    def __getattr__(self, name):
        return getattr(self._engine, name)

    def run(self, chips):
        self._left -= 1
        if self._left < 0:
            raise JobError("the device is gone")
        return self._engine.run(chips)


def test_a_gpu_that_fails_keeps_the_work_before(all_pictures, store):
    engine = open_engine(describe_model("Dlib"), engine="onnx")
    encoder = Encoder(Failing(engine, 3), batch_size=1)
    with pytest.raises(JobError, match="device is gone"):
        index_images(
            [str(all_pictures)],
            Settings(store=store, processes=1),
            Metrics("index"),
            SilentProgress(),
            open_executor=partial(LocalExecutor, encoder=encoder),
        )
    kept = facededup.store_status(store=store).embeddings
    assert kept >= 1
    done = facededup.index([str(all_pictures)], store=store, processes=1)
    assert facededup.store_status(store=store).embeddings == kept + done.embedded > kept


class Killing(SilentProgress):
    """Kills a detection process when some images are done."""

    def __init__(self, process, images):
        self._pid, self._images = process._stop.peek()[2][0].pid, images

    def start(self, step, total):
        self._left = self._images if step == "index" else total

    def advance(self, amount=1):
        if self._left is not None:
            self._left -= amount
            if self._left == 0:
                os.kill(self._pid, signal.SIGKILL)


def test_a_detection_process_that_dies_keeps_the_work_before(all_pictures, store):
    """On the CPU: to the rest of the run it is the same where it has a GPU."""
    some = sorted(map(str, all_pictures.rglob("*.jpg")))[:8]
    settings = Settings(store=store, align="deepface", processes=2)

    def index(process, progress):
        executor = partial(LocalExecutor, detection=process)
        return index_images(some, settings, Metrics("index"), progress, open_executor=executor)

    process = DetectionProcess("dlib", None)
    with pytest.raises(JobError, match="finds faces on the CPU died; what is stored is kept"):
        index(process, Killing(process, 3))
    kept = facededup.store_status(store=store).images.total
    done = index(DetectionProcess("dlib", None), SilentProgress())
    assert 3 <= kept == done.unchanged < done.found == 8
    assert done.metrics.devices["detect"] == "CPU"
