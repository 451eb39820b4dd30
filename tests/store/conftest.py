import os
import tempfile

import programs
import pytest
from samples import ENCRYPTED, store_at

from facededup.store.opener import open_store


@pytest.fixture(scope="session", autouse=True)
def programs_end():
    """The process behind `programs.start` ends with the tests."""
    yield
    programs.stop()


@pytest.fixture(params=["plain", "encrypted"])
def store(request):
    """The place for a store in a folder of its own; in memory where that can be, so that a flush is free."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    prefix = ENCRYPTED if request.param == "encrypted" else None
    with tempfile.TemporaryDirectory(prefix=prefix, dir=memory) as folder:
        yield store_at(os.path.join(folder, "s.h5"))


@pytest.fixture(scope="session", autouse=True)
def cheap_keys():
    """scrypt is slow by design; what it costs is written in each file."""
    from facededup.store import crypto

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crypto, "SCRYPT_COST", 4)
        yield


@pytest.fixture
def any_store(location):
    """The place for a store, of each kind in turn."""
    return open_store(location)
