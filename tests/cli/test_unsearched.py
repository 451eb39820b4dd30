"""Findings that know nothing of the faces indexed since: whatever shows them says so."""

import re

import pytest
from synthetic import add_images, people
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app


@pytest.fixture
def searched(store):
    """Three images of one person, and the findings of these."""
    add_images(store, {f"/made/up/{k}.jpg": (k, [vector]) for k, vector in enumerate(people(1, 3))})
    facededup.find(store=store)
    return store


@pytest.fixture
def grown(searched):
    """With two images that came after the findings, and a copy of a searched one."""
    old, new = people(1, 3), people(1, 2, seed=1)
    add_images(
        searched,
        {"/new/0.jpg": (10, [new[0]]), "/new/1.jpg": (11, [new[1]]), "/new/copy.jpg": (0, [old[0]])},
    )
    return searched


def run(*arguments):
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("command", [["report", "r.html"], ["export", "p.csv"], ["apply", "list", "--all"]])
def test_a_note_tells_of_faces_not_searched(grown, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    note = "note: this leaves out 2 faces indexed since the last `find`"
    assert note in run(*command, "--store", grown).stderr
    facededup.find(store=grown)
    assert "leaves out" not in run(*command, "--store", grown).stderr


def test_status_counts_them(grown):
    assert facededup.store_status(store=grown).findings["unsearched"] == 2
    assert "2 faces since not searched" in run("status", "--store", grown).stdout


def test_faces_that_are_gone_are_not_missed(searched):
    facededup.forget(["/made/up/1.jpg"], store=searched)
    assert facededup.store_status(store=searched).findings["unsearched"] == 0


def test_the_page_knows_them(grown, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=grown)
    assert re.search(r'"unsearched":\s*2\b', (tmp_path / "r.html").read_text())
