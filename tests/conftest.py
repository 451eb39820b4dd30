"""Real pictures of two people, a graph cache of the tests' own, and results made by hand."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import hypothesis
import pytest
from servers import location, postgres_server, postgres_url, redis_server, redis_url, require_drivers  # noqa: F401

from facededup.cli.demo import write_pictures
from facededup.metrics import Metrics
from facededup.results import FindResult, ImageCounts, IndexResult, SearchResult, StoreStatus
from facededup.store.base import Fingerprint
from facededup.types import Box, Cluster, ClusterFace, Face, FaceRef, Match, Outcome, Pair, Unencoded

# How long an example takes says how busy the machine is, not whether the code is right.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")

# A shell has what it runs in the background ignore Ctrl-C, and so would the processes that tests interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

ODD_NAMES = (
    "/photos/plain.jpg",
    "/photos/with space and 'quotes\".jpg",
    "/photos/line\nbreak.jpg",
    "/photos/[bold red]markup[/].jpg",
    "/photos/escape\x1b[31mred.jpg",
    "/photos/übung-日本.jpg",
    "/photos/latin-\udce9.jpg",
    "/photos/back\u202egpj.exe",
)


def fingerprint() -> Fingerprint:
    return Fingerprint(
        model="Dlib", weights="w", dimension=128, detector="dlib", align="chip", flip=False, faces="all"
    )


def metrics(command: str) -> Metrics:
    made = Metrics(command, devices={"embed": "CPU"}, engine="onnx", images=12, faces=11)
    made.add({"decode": 0.5, "embed": 1.0}, items=12)
    made.mark_started()
    return made


@pytest.fixture
def found() -> FindResult:
    box = Box(10, -2, 30, 40)
    pairs = tuple(
        Pair(FaceRef(ODD_NAMES[0], 0), FaceRef(name, 1), 0.987654321012345, 0.998, name == ODD_NAMES[1])
        for name in ODD_NAMES[1:]
    )
    return FindResult(
        store="people.h5",
        fingerprint=fingerprint(),
        threshold=0.4,
        cosine_cut=0.93,
        operating_cosine=0.93,
        operating_cosine_source="catalogue",
        complete=True,
        search={"engine": "faiss", "device": "CPU"},
        images=ImageCounts(total=12, ok=9, no_face=1, multiple_faces=0, failed=2),
        faces=11,
        expected_false_pairs=0.033,
        suppressed={"different": 0, "group": 0},
        clusters_total=25,
        clusters=(
            Cluster(
                "0123456789ab",
                8,
                0.41,
                True,
                tuple(ClusterFace(n, min(1, i), box) for i, n in enumerate(ODD_NAMES)),
            ),
            Cluster(
                "ba9876543210",
                2,
                0.95,
                False,
                (ClusterFace("/photos/a.jpg", 0, box), ClusterFace("/photos/b/c.jpg", 3, box)),
            ),
        ),
        pairs_total=7,
        pairs=pairs,
        unencoded=(Unencoded(ODD_NAMES[2], Outcome.FILE_ERROR, "it is not an image"),),
        metrics=metrics("find"),
    )


@pytest.fixture
def indexed() -> IndexResult:
    return IndexResult(
        store="people.h5",
        fingerprint=fingerprint(),
        found=14,
        unchanged=2,
        read=12,
        embedded=11,
        moved=0,
        copies=1,
        unresolved=0,
        ok=3,
        no_face=7,
        multiple_faces=0,
        failed=2,
        problems=tuple(
            Unencoded(name, Outcome.NO_FACE_DETECTED, "no face was found") for name in ODD_NAMES[1:]
        )
        + (Unencoded("/photos/x.jpg", Outcome.FILE_ERROR, "cut off [bold]"),) * 2,
        unreadable=(("/photos/secret\n", "Permission denied"),),
        links_skipped=3,
        interrupted=False,
        counts=ImageCounts(total=14, ok=5, no_face=7, multiple_faces=0, failed=2),
        faces=13,
        metrics=metrics("index"),
    )


@pytest.fixture
def looked_up() -> SearchResult:
    box = Box(1, 2, 3, 4)
    return SearchResult(
        image="/photos/probe.jpg",
        store="people.h5",
        threshold=None,
        operating_cosine=0.93,
        faces=(Face(box, 1.5), Face(Box(5, 6, 7, 8), 0.5)),
        matches=(
            Match(0, FaceRef(ODD_NAMES[6], 2), box, 0.9, 0.9883),
            Match(0, FaceRef(ODD_NAMES[3], 0), box, 0.35, 0.9242),
        ),
        metrics=metrics("search"),
    )


@pytest.fixture
def status() -> StoreStatus:
    return StoreStatus(
        store="people.h5",
        fingerprint=fingerprint(),
        images=ImageCounts(total=14, ok=5, no_face=7, multiple_faces=0, failed=2),
        faces=13,
        embeddings=12,
        disk_bytes=3_456_789,
        last_run={
            "command": "index",
            "finished": "2026-01-02T03:04:05+00:00",
            "interrupted": True,
            "seconds": 2.5,
            "images": 12,
            "faces": 11,
        },
        findings=None,
    )


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """One cached graph for all tests, away from the user's."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACEDEDUP_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def all_pictures(tmp_path_factory):
    """The seventeen pictures of the demo; not to be changed."""
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(str(folder))
    return folder


@pytest.fixture
def pictures(all_pictures, tmp_path):
    """The seventeen pictures of the demo, to do with as one likes."""
    return Path(shutil.copytree(all_pictures, tmp_path / "pictures"))


@pytest.fixture
def store(tmp_path):
    """Where a test keeps its store."""
    return str(tmp_path / "faces.h5")


@pytest.fixture(scope="session")
def lfw():
    """The folder of LFW images, one sub-folder a person."""
    default = Path(__file__).parent.parent.parent / "shared" / "lfw"
    folder = Path(os.environ.get("FACEDEDUP_LFW", default))
    if not folder.is_dir():
        pytest.skip("no LFW images: set FACEDEDUP_LFW")
    return folder


@pytest.fixture(scope="session")
def require():
    """`require("pytorch")` skips where that framework is absent, and fails if FACEDEDUP_REQUIRE names it."""
    packages = {
        "browser": "playwright",
        "onnx": "onnxruntime",
        "pytorch": "torch",
        "tensorflow": "tensorflow",
    }
    programs = {"browser": "chromium"}
    demanded = os.environ.get("FACEDEDUP_REQUIRE", "").split(",")

    def check(framework):
        if importlib.util.find_spec(packages[framework]) is None:
            if framework in demanded:
                pytest.fail(f"FACEDEDUP_REQUIRE demands {framework}, which is not installed")
            pytest.skip(f"{packages[framework]} is not installed")
        if framework in programs and shutil.which(programs[framework]) is None:
            if framework in demanded:
                pytest.fail(f"FACEDEDUP_REQUIRE demands {framework}: there is no {programs[framework]}")
            pytest.skip(f"there is no {programs[framework]}")

    return check
