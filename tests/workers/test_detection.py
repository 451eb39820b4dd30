"""Faces found by a process for all workers are those that each would find by itself."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import chain
from multiprocessing import AuthenticationError, Pipe
from multiprocessing.connection import Client

import numpy as np
import pytest
from PIL import Image
from skimage import data

from facededup.errors import JobError, PackageMissingError
from facededup.workers.detection import DetectionProcess, RemoteFinder, _answer_all, _Request
from facededup.workers.pool import Pool
from facededup.workers.steps import Analyser, AnalysisSettings, ImageTask

SETTINGS = AnalysisSettings(detector="dlib", align="deepface", faces="all", max_pixels=10**8)


@pytest.fixture(scope="module")
def astronaut():
    return np.ascontiguousarray(data.astronaut()[:300, 60:420])


@pytest.fixture(scope="module")
def pictures(astronaut):
    """BGR: two people, one of them turned, at two sizes, and a cat."""
    upright = np.ascontiguousarray(astronaut[..., ::-1])
    cat = np.ascontiguousarray(data.chelsea()[:300, :360, ::-1])
    return [
        upright,
        cat,
        np.ascontiguousarray(np.rot90(upright)),
        upright[:, ::-1].copy(),
        upright[::-1].copy(),
    ]


@pytest.fixture(scope="module")
def tasks(astronaut, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    images = {
        "a": astronaut,
        "turned": np.rot90(astronaut),
        "cat": data.chelsea(),
        "mirrored": astronaut[:, ::-1],
    }
    for name, image in images.items():
        Image.fromarray(image).save(folder / f"{name}.png")
    return [ImageTask(str(path), str(folder)) for path in sorted(folder.iterdir())]


@pytest.fixture(scope="module")
def process():
    with DetectionProcess("dlib", None) as process:
        yield process


def test_workers_find_what_they_would_by_themselves(process, tasks):
    here = Analyser(SETTINGS)
    with Pool(Analyser, replace(SETTINGS, detection=process.address), 3) as pool:
        results = dict(pool.run(tasks))
    assert len(results) == len(tasks)
    for task, found in results.items():
        expected = here(task)
        # As text, as there is a quality that is not a number.
        assert (found.outcome, repr(found.faces)) == (expected.outcome, repr(expected.faces))
        np.testing.assert_array_equal(found.chips, expected.chips)
    assert sum(bool(found.faces) for found in results.values()) == 3


def test_a_detector_that_cannot_be_opened_says_why():
    with pytest.raises(PackageMissingError, match="mediapipe"):
        DetectionProcess("mediapipe", None)


def test_a_process_that_dies_ends_the_run(tasks):
    process = DetectionProcess("dlib", None)
    os.kill(process._stop.peek()[2][0].pid, signal.SIGKILL)
    settings = replace(SETTINGS, detection=process.address)
    with (
        Pool(Analyser, settings, 1) as pool,
        pytest.raises(JobError, match="on the CPU died; what is stored"),
    ):
        list(pool.run(tasks))
    process.close()
    process.close()


def test_it_ends_in_mid_run_with_what_is_asked_of_it(process, pictures):
    own = DetectionProcess("dlib", None)
    finder = RemoteFinder(own.address)
    assert len(finder.find(pictures[:1])[0]) == 1
    own.close()
    with pytest.raises(JobError, match="died"):
        finder.find(pictures[:1])
    assert len(RemoteFinder(process.address).find(pictures[:1])[0]) == 1


def test_nothing_is_left_of_it():
    process = DetectionProcess("dlib", None)
    address = process.address.address
    assert os.path.exists(address)
    process.close()
    assert not os.path.exists(address)


def test_a_stranger_is_not_listened_to(process, pictures):
    with pytest.raises(AuthenticationError):
        Client(process.address.address, authkey=b"a guess")
    assert len(RemoteFinder(process.address).find(pictures[:1])[0]) == 1


# mtcnn carries its weights, and looks at several images at once.


@pytest.fixture(scope="module")
def mtcnn(require):
    require("tensorflow")
    pytest.importorskip("mtcnn")
    with DetectionProcess("mtcnn", None) as process:
        yield process


@pytest.mark.filterwarnings("ignore")
def test_batches_find_what_single_images_show(mtcnn, pictures):
    """Shown by several workers at once, so that images of two sizes wait together."""
    one = RemoteFinder(mtcnn.address)
    expected = [one.find([picture])[0] for picture in pictures]
    assert [bool(found) for found in expected] == [True, False, False, True, False]
    assert_alike(one.find(pictures), expected)
    barrier = threading.Barrier(8)

    def show(number):
        finder = RemoteFinder(mtcnn.address)
        barrier.wait()
        return [finder.find([pictures[(number + turn) % 5]])[0] for turn in range(5)]

    with ThreadPoolExecutor(8) as threads:
        for number, found in enumerate(threads.map(show, range(8))):
            assert_alike(found, [expected[(number + turn) % 5] for turn in range(5)])


def assert_alike(found, expected):
    assert [len(each) for each in found] == [len(each) for each in expected]
    for one, other in zip(chain(*found), chain(*expected), strict=True):
        assert (one.x, one.y, one.w, one.h, one.points) == (other.x, other.y, other.w, other.h, other.points)
        assert one.confidence == pytest.approx(other.confidence, abs=1e-5)


# What goes wrong with a batch. No GPU can be made to fail at will: a finder fails in its stead.


class Picky:
    """Gives each image's first value as its face; fails on some values, and for good after some calls."""

    def __init__(self, chokes_on=(), calls=99):
        self._chokes_on, self._calls = chokes_on, calls

    def find(self, images):
        self._calls -= 1
        if self._calls < 0:
            raise RuntimeError("CUDA error: device lost")
        values = [int(image[0, 0, 0]) for image in images]
        for value in values:
            if value in self._chokes_on:
                raise self._chokes_on[value]
        return [[value] for value in values]


def filled(*values):
    return [np.full((8, 8, 3), value, np.uint8) for value in values]


def answers(finder, *requests):
    """What each of some workers gets that wait together."""
    ends = [Pipe() for _ in requests]
    waiting = [_Request(images, theirs) for images, (_, theirs) in zip(requests, ends, strict=True)]
    _answer_all(finder, waiting)
    return [ours.recv() for ours, _ in ends]


def test_one_odd_image_is_no_other_workers_business():
    finder = Picky({3: ValueError("an odd picture"), 4: MemoryError("too large")})
    first, odd, large, last = answers(finder, filled(1, 2), filled(3), filled(5, 4), filled(6))
    assert (first, last) == ([[1], [2]], [[6]])
    assert isinstance(large, MemoryError)
    assert repr(odd) == repr(RuntimeError("ValueError: an odd picture"))


def test_a_device_that_is_lost_ends_the_run():
    first, second = answers(Picky(calls=2, chokes_on={2: ValueError()}), filled(1), filled(2))
    assert first == [[1]]
    assert isinstance(second, JobError)
    assert "ValueError" not in str(second)
    assert "no longer be found on the GPU (RuntimeError: CUDA error: device lost); what is stored" in str(
        second
    )


def test_a_worker_that_is_gone_disturbs_nobody():
    ours, theirs = Pipe()
    gone, end = Pipe()
    gone.close()
    _answer_all(Picky(), [_Request(filled(1), end), _Request(filled(2), theirs)])
    assert ours.recv() == [[2]]
