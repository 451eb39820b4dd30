"""Real pictures of two people, from installed packages, and a graph cache of the tests' own."""

import os
import shutil
from pathlib import Path

import pytest

from facededup.cli.demo import write_pictures


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
