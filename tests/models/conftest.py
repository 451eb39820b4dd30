"""Real faces cut by dlib itself, and what dlib makes of them."""

import numpy as np
import pytest
from dlib_reference import cut_faces, describe

from facededup.models.catalog import describe_model
from facededup.models.engine import open_engine


@pytest.fixture(scope="session")
def chips():
    """uint8 (6, 150, 150, 3) RGB: two faces, their mirrors and darker versions."""
    plain = cut_faces()
    return np.concatenate([plain, plain[:, :, ::-1], plain // 2])


@pytest.fixture(scope="session")
def engine(cache):
    return open_engine(describe_model("Dlib"))


@pytest.fixture(scope="session")
def dlib_descriptors(chips):
    """float64 (6, 128)."""
    return describe(chips)
