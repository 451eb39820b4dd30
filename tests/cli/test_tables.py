from __future__ import annotations

import io
import re
from dataclasses import replace

import pytest

from facededup.cli.tables import (
    note_limit,
    print_findings,
    print_index,
    print_models,
    print_search,
    print_status,
)
from facededup.cli.terminal import console
from facededup.cli.text import shown, size
from facededup.models.catalog import MODELS


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(params=["pipe", "narrow terminal", "wide terminal"])
def stream(request, monkeypatch):
    """A real console of the command line, on a stream of each kind."""
    monkeypatch.setenv("COLUMNS", "200" if request.param == "wide terminal" else "80")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return io.StringIO() if request.param == "pipe" else Terminal()


def plain(stream) -> str:
    """What a reader sees, without the colours the console itself may set on a terminal."""
    return re.sub(r"\x1b\[[0-9;]*m", "", stream.getvalue())


def harmless(text: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in text)


def fits(stream) -> bool:
    width = console(stream).width
    return all(len(line) <= width for line in plain(stream).splitlines())


def test_pipes_get_no_colours(found, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    print_findings(console(stream), console(stream), found)
    assert "\x1b[" not in stream.getvalue()


def test_no_line_in_a_pipe_ends_in_blanks(found, status):
    stream = io.StringIO()
    print_findings(console(stream), console(stream), found)
    print_status(console(stream), status)
    print_models(console(stream), MODELS)
    lines = stream.getvalue().splitlines()
    assert len(lines) > 20
    assert [line for line in lines if line != line.rstrip(" ")] == []


def test_a_file_name_of_42_letters_is_whole_in_a_terminal_of_80_columns(found, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    name = f"{'person' * 3}/{'person' * 3}1.jpg"
    face = replace(found.clusters[0].faces[0], path=f"/photos/{name}", face=0)
    other = replace(face, path="/photos/other/x.jpg")
    cluster = replace(found.clusters[0], size=2, faces=(face, other), new=True)
    stream = Terminal()
    print_findings(console(stream), console(stream), replace(found, clusters=(cluster,)))
    assert len(name) == 42
    assert name in plain(stream)


def test_findings(found, stream):
    print_findings(console(stream), console(stream), found)
    text = plain(stream)
    assert "11 faces compared at threshold 0.4 = cosine 0.9300: 7 pairs in 25 clusters" in " ".join(
        text.split()
    )
    assert "about 0.033 false pairs" in " ".join(text.split())
    assert "0123456789ab" in text
    assert "0.410" in text
    assert text.count("new") == 1
    assert "+4 more" in text
    assert "b/c.jpg (face 3)" in text
    assert "showing 2 of 25 clusters" in text
    assert "note:" not in text
    assert harmless(text)
    assert fits(stream)


def test_markup_and_escapes_in_names_are_shown_and_do_nothing(found, stream):
    cluster = found.clusters[0]
    odd = replace(cluster, faces=cluster.faces[2:6])
    print_findings(console(stream), console(stream), replace(found, clusters=(odd,)))
    text = plain(stream)
    for name in ("line\\nbreak.jpg", "[bold red]markup[/].jpg", "escape\\x1b[31mred.jpg", "übung-日本.jpg"):
        assert name in text


def test_many_false_pairs_are_a_note(found):
    out, notes = io.StringIO(), io.StringIO()
    print_findings(
        console(out),
        console(notes),
        replace(found, expected_false_pairs=29_000.0, true_pairs_kept=0.774, extrapolated=True),
    )
    assert "about 29,000 false pairs to expect, about 77% of the true kept" in out.getvalue()
    assert "29,000 false pairs are to be expected at this threshold, more than the 7" in notes.getvalue()
    assert "extrapolated" in notes.getvalue()


def test_half_of_the_pairs_false_is_a_note(found):
    notes = io.StringIO()
    print_findings(console(io.StringIO()), console(notes), replace(found, expected_false_pairs=5.0))
    assert "more than half of these pairs may be false" in notes.getvalue()


def test_an_approximate_search_names_its_recall_and_the_price_of_an_exact_one(found):
    notes = io.StringIO()
    search = {
        "recall": 0.9995,
        "recall_interval": [0.9989, 0.9998],
        "recall_queries": 5000,
        "exact_seconds_expected": 4000.0,
    }
    print_findings(console(io.StringIO()), console(notes), replace(found, complete=False, search=search))
    assert "99.95% of the pairs of 5,000 random faces (95% interval 99.89% to 99.98%)" in notes.getvalue()
    assert "--exact finds all, in about 1 h 7 min" in notes.getvalue()


def test_a_capped_listing_is_a_note(found):
    notes = io.StringIO()
    note_limit(console(notes), replace(found, pairs_total=1_000_000))
    assert "files list 7 of 1,000,000 pairs" in notes.getvalue()


def test_index(indexed, stream):
    print_index(console(stream), indexed)
    text = plain(stream)
    assert "OK 3, NO_FACE_DETECTED 7, FILE_ERROR 2" in text
    assert "2 (not read again)" in text
    assert "moved" not in text
    assert "3 (--follow-symlinks follows them)" in text
    assert "and 4 more" in text
    assert "/photos/secret\\n" in text
    assert "CPU: embed (onnx)" in text
    assert harmless(text)


def test_verbose_lists_all_problems(indexed):
    stream = io.StringIO()
    print_index(console(stream), indexed, verbose=True)
    assert "cut off [bold]" in stream.getvalue()
    assert "more;" not in stream.getvalue()


def test_what_could_not_be_looked_at_is_listed_up_to_a_limit(indexed):
    many = replace(indexed, problems=(), unreadable=tuple((f"/{n}.jpg", "no such file") for n in range(7)))
    for verbose, listed in ((False, 5), (True, 7)):
        stream = io.StringIO()
        print_index(console(stream), many, verbose=verbose)
        assert stream.getvalue().count("not read: ") == listed
        assert ("and 2 more not read; --verbose lists all" in stream.getvalue()) is not verbose


def test_nothing_found_is_said(indexed):
    stream = io.StringIO()
    nothing = replace(
        indexed, found=0, read=0, unchanged=0, copies=0, ok=0, no_face=0, failed=0, problems=(), embedded=0
    )
    print_index(console(stream), nothing)
    assert "there is no image file under the given paths" in stream.getvalue()


def test_search(looked_up, stream):
    print_search(console(stream), looked_up)
    text = plain(stream)
    assert "latin-\\xe9.jpg (face 2)" in text
    assert "[bold red]markup[/].jpg" in text
    assert "face 1 at x 5, y 6, 7 x 8 pixels: nobody in the store looks like it" in text
    assert "0.9883" in text
    assert harmless(text)


def test_a_store_without_a_face_is_told_what_it_lacks(found):
    out = io.StringIO()
    print_findings(console(out), console(io.StringIO()), replace(found, faces=0, clusters=(), pairs=()))
    assert "there is no face to compare" in out.getvalue()
    assert "of the true kept" not in out.getvalue()


def test_status(status, stream):
    print_status(console(stream), status)
    text = " ".join(plain(stream).split())
    assert "people.h5 (3.5 MB)" in text
    assert "12 images read, 11 faces embedded in 2.5 s, interrupted" in text
    assert "findings none" in text


def test_pairs_in_the_store_are_not_mistaken_for_those_listed(status):
    stream = io.StringIO()
    found = {"created": "2026-11-22", "pairs": 1, "clusters": 2, "threshold": 0.4, "unsearched": 0}
    print_status(console(stream), replace(status, findings=found, faces=status.embeddings + 1))
    assert "1 pair without those of copies, 2 clusters at threshold 0.4" in stream.getvalue()


def test_models(stream):
    print_models(console(stream), MODELS)
    for model in MODELS:
        assert model.name in plain(stream)
    assert fits(stream)


def test_a_quiet_console_says_nothing(found, indexed):
    stream = io.StringIO()
    silent = console(stream, quiet=True)
    print_findings(silent, silent, found)
    print_index(silent, indexed)
    assert stream.getvalue() == ""


def test_a_stream_that_knows_few_letters_does_not_end_the_job(found):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    print_findings(console(stream), console(stream), found)
    stream.flush()
    assert b"0123456789ab" in raw.getvalue()


def test_shown_keeps_what_prints():
    assert shown("a b/ü日.jpg") == "a b/ü日.jpg"
    assert shown("\udcff\n\x1b\u202e") == "\\xff\\n\\x1b\\u202e"


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (2 * 10**13, "20.0 TB")]
)
def test_size(amount, text):
    assert size(amount) == text
