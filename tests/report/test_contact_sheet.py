from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import JobError

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import add_images, people

GREY, WEAK = (0xE4, 0xE7, 0xEC), (0xB0, 0x60, 0x00)


def colours(path):
    pixels, count = np.unique(np.asarray(Image.open(path)).reshape(-1, 3), axis=0, return_counts=True)
    return {tuple(pixel): int(number) for pixel, number in zip(pixels.tolist(), count.tolist(), strict=True)}


def test_each_cluster_is_a_picture(all_pictures, store, tmp_path):
    facededup.index([all_pictures], store=store, processes=1)
    result = CliRunner().invoke(
        app, ["find", "--store", store, "--contact-sheet", str(tmp_path / "a" / "sheets")]
    )
    assert result.exit_code == 0, result.output
    assert "contact sheets  2 in" in result.output
    found = facededup.find(store=store)
    names = [f"{place:04}-{cluster.id}.png" for place, cluster in enumerate(found.clusters, start=1)]
    assert sorted(os.listdir(tmp_path / "a" / "sheets")) == names
    for name in names:
        seen = colours(tmp_path / "a" / "sheets" / name)
        assert seen[WEAK] >= 2 * 4 * 3 * 130  # two frames
        assert GREY not in seen
        assert len(seen) > 10_000  # real faces


def test_what_cannot_be_shown_is_grey_and_a_long_list_is_cut(store, tmp_path):
    vectors = people(1, 130)
    names = (f"/made up/\u202eodd\n{row}-日本.jpg" for row in range(130))
    add_images(store, {name: (row + 1, vectors[row : row + 1]) for row, name in enumerate(names)})
    facededup.find(store=store)
    assert facededup.write_contact_sheets(tmp_path, store=store, limit=1) == 1
    [sheet] = tmp_path.glob("*.png")
    assert colours(sheet)[GREY] > 0.7 * 120 * 140**2
    assert facededup.write_contact_sheets(tmp_path, store=store, limit=1) == 1
    (tmp_path / "file").write_text("")
    with pytest.raises(JobError, match="cannot write the contact sheet"):
        facededup.write_contact_sheets(tmp_path / "file", store=store)


def test_pictures_of_what_is_not_kept_are_refused(store, tmp_path):
    for option in ("--report", "--contact-sheet"):
        line = ["find", "--store", store, "--against", store, option, str(tmp_path / "x")]
        result = CliRunner().invoke(app, line)
        assert result.exit_code == 2
        assert "--against keeps nothing" in result.output
