"""These tests need a GPU: they skip, visibly, without one, and fail where FACEDEDUP_REQUIRE names `gpu`."""

import os

import pytest

from facededup.devices import count_gpus


@pytest.fixture(scope="session", autouse=True)
def _a_gpu():
    if not count_gpus():
        if "gpu" in os.environ.get("FACEDEDUP_REQUIRE", "").split(","):
            pytest.fail("FACEDEDUP_REQUIRE demands a GPU, and the driver shows none")
        pytest.skip("no GPU on this machine")
