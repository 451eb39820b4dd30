from __future__ import annotations

import importlib.util
import os

import pytest
from PIL import Image, UnidentifiedImageError

from facededup.cli.demo import write_pictures
from facededup.errors import PackageMissingError


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "pictures"
    write_pictures(str(folder))
    return folder


def test_seventeen_pictures(pictures):
    names = sorted(os.listdir(pictures))
    assert len(names) == 17
    assert sum(name.startswith("collins-") for name in names) == 6
    assert sum(name.startswith("hopper-") for name in names) == 6


def test_all_but_the_damaged_one_can_be_read(pictures):
    for path in pictures.iterdir():
        if path.name == "damaged-file.jpg":
            with pytest.raises((OSError, UnidentifiedImageError)), Image.open(path) as image:
                image.load()
        else:
            with Image.open(path) as image:
                image.load()


def test_the_copy_is_one_byte_for_byte(pictures):
    copy = (pictures / "copy-of-hopper-original.jpg").read_bytes()
    assert copy == (pictures / "hopper-original.jpg").read_bytes()


def test_what_is_there_stays(pictures):
    times = {path.name: path.stat().st_mtime_ns for path in pictures.iterdir()}
    write_pictures(str(pictures))
    assert {path.name: path.stat().st_mtime_ns for path in pictures.iterdir()} == times


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PackageMissingError, match=r"scikit-image.*facededup\[cpu,demo\]"):
        write_pictures(str(tmp_path))
