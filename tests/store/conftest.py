import pytest

from facededup.store.hdf5 import Hdf5Store


@pytest.fixture
def store(tmp_path):
    """The place for a store in a folder of its own."""
    folder = tmp_path / "place"
    folder.mkdir()
    return Hdf5Store(str(folder / "s.h5"))
