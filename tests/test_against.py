"""`find --against`: pairs across two stores only."""

from dataclasses import replace

import pytest
from synthetic import FINGERPRINT, add_images, people
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import SettingMismatchError, StoreNotFoundError, TooManyPairsError, UsageError


@pytest.fixture
def base(tmp_path):
    location = str(tmp_path / "base.h5")
    anna, bert = people(2, 4)[:4], people(2, 4)[4:]
    add_images(
        location,
        {"/base/anna.jpg": (1, anna[:1]), "/base/twin.jpg": (1, anna[:1]), "/base/bert.jpg": (2, bert[:1])},
    )
    return location


@pytest.fixture
def batch(store):
    anna = people(2, 4)[1:4]
    stranger = people(1, 1, seed=5)
    add_images(store, {"/a.jpg": (11, anna[:1]), "/b.jpg": (12, anna[1:2]), "/c.jpg": (13, stranger)})
    return store


def test_only_pairs_across_are_found_copies_included(batch, base):
    result = facededup.find(store=batch, against=base)
    assert {(pair.a.path, pair.b.path) for pair in result.pairs} == {
        (a, b) for a in ("/a.jpg", "/b.jpg") for b in ("/base/anna.jpg", "/base/twin.jpg")
    }
    assert (result.pairs_total, result.clusters_total, result.complete) == (4, 0, True)
    assert (result.faces, result.search["against_faces"]) == (3, 3)
    cosines = [pair.cosine for pair in result.pairs]
    assert cosines == sorted(cosines, reverse=True)
    assert facededup.store_status(store=batch).findings is None
    assert len(facededup.find(store=batch, against=base, limit=1).pairs) == 1


def test_the_same_pairs_as_in_one_store(batch, base, tmp_path):
    whole = str(tmp_path / "whole.h5")
    both = people(2, 4)
    add_images(whole, {"/base/anna.jpg": (1, both[:1]), "/a.jpg": (11, both[1:2]), "/b.jpg": (12, both[2:3])})
    expected = {
        (pair.a.path, pair.cosine)
        for pair in facededup.find(store=whole).pairs
        if pair.b.path.startswith("/base")
    }
    across = facededup.find(store=batch, against=base).pairs
    assert {(pair.a.path, pair.cosine) for pair in across} == expected


def test_what_cannot_be_compared_is_a_sentence(batch, base, tmp_path):
    with pytest.raises(UsageError, match="takes another store"):
        facededup.find(store=batch, against=batch)
    with pytest.raises(StoreNotFoundError):
        facededup.find(store=batch, against=str(tmp_path / "none.h5"))
    with pytest.raises(TooManyPairsError, match="--max-pairs 1"):
        facededup.find(store=batch, against=base, max_pairs=1)
    with pytest.raises(UsageError, match="exactly, without groups"):
        facededup.find(store=batch, against=base, index="ivf")
    other = str(tmp_path / "flipped.h5")
    add_images(other, {"/x.jpg": (1, people(1, 1))}, replace(FINGERPRINT, flip=True))
    with pytest.raises(SettingMismatchError, match="cannot be compared"):
        facededup.find(store=batch, against=other)


def test_the_command(batch, base):
    done = CliRunner().invoke(app, ["find", "--store", batch, "--against", base, "--csv", "-"])
    assert done.exit_code == 0
    assert done.stdout.count("/base/twin.jpg") == 2
