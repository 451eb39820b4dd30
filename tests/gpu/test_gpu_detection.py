"""A detector on a GPU finds the faces it finds on the CPU; those whose library and weights are here."""

from itertools import chain

import numpy as np
import pytest
from skimage import data

from facededup.errors import NoGpuError, PackageMissingError, WeightsMissingError
from facededup.workers.detection import DetectionProcess, RemoteFinder

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def pictures():
    """BGR: a person and her mirror image at two sizes, and a cat."""
    person = np.ascontiguousarray(data.astronaut()[:300, 60:420, ::-1])
    cat = np.ascontiguousarray(data.chelsea()[:300, :360, ::-1])
    return [person, cat, np.ascontiguousarray(person[:, ::-1]), np.ascontiguousarray(person[:240])] * 4


@pytest.mark.parametrize("detector", ["mtcnn", "fastmtcnn", "retinaface", "yolov8n", "yolov11n"])
def test_a_gpu_finds_the_faces_of_the_cpu(detector, pictures):
    try:
        with DetectionProcess(detector, None) as process:
            expected = RemoteFinder(process.address).find(pictures)
        with DetectionProcess(detector, 0) as process:
            assert process.device == "GPU"
            found = RemoteFinder(process.address).find(pictures)
    except (PackageMissingError, WeightsMissingError, NoGpuError) as exc:
        pytest.skip(str(exc))
    assert [len(each) for each in found] == [len(each) for each in expected]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert abs(one.confidence - other.confidence) < 0.01
        assert (
            np.abs(np.subtract([one.x, one.y, one.w, one.h], [other.x, other.y, other.w, other.h])).max() <= 2
        )
