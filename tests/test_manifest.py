"""A manifest: what is read, what a bad line is told, and where its columns come out again."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from pathlib import Path

import pytest
from synthetic import add_images, people
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import PathNotFoundError, UsageError
from facededup.exchange import export_table, import_faces
from facededup.manifest import decode_tags, read_manifest
from facededup.report.csv_report import write_pairs
from facededup.report.json_report import findings_document
from facededup.settings import load_settings


def written(folder, text, name="list.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def test_paths_are_relative_to_the_manifest_and_columns_go_along(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    text = '\ufeffID,Path,Group,born,"a, b"\r\n7,x/../a.jpg,g1,1970,\r\n\r\n8,/else/b.jpg,,"two\nlines",z\r\n'
    manifest = read_manifest(written(tmp_path, text))
    assert manifest.columns == ("id", "group", "born", "a, b")
    assert {os.fsdecode(path): decode_tags(tags) for path, tags in manifest.tags.items()} == {
        f"{tmp_path}/a.jpg": {"id": "7", "group": "g1", "born": "1970"},
        "/else/b.jpg": {"id": "8", "born": "two\nlines", "a, b": "z"},
    }


def test_names_that_are_no_utf_8_stay_what_they_are(tmp_path):
    manifest = read_manifest(written(tmp_path, b"path,id\nlatin-\xe9.jpg,\xe9\n"))
    ((path, tags),) = manifest.tags.items()
    assert path == os.fsencode(tmp_path) + b"/latin-\xe9.jpg"
    assert decode_tags(tags) == {"id": "\udce9"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no column `path`"),
        ("path;id\na.jpg;1\n", "with commas between them, not 'path;id'"),
        ("path,id,id\n", "two columns 'id'"),
        ("path,\n", "a column ''"),
        ("path,id\na.jpg,1\nb.jpg\n", "line 3 of the manifest .* has 1 fields, and the heading has 2"),
        ("path,id\na.jpg,1\n,2\n", "line 3 of the manifest .* names no image"),
        ("path\na.jpg\nb.jpg\n./a.jpg\n", "line 4 of .* names '.*/a.jpg', which line 2 has already"),
        ('path,id\n"a.jpg"x,1\n', "line 2 of the manifest .* is not CSV"),
        ("path\n" + "a" * 200_000 + "\n", "line 2 of the manifest .* is not CSV: field larger"),
        ("path\na\0.jpg\n", "line 2 of the manifest"),
    ],
)
def test_a_line_that_means_nothing_is_a_sentence_with_its_number(tmp_path, text, sentence):
    with pytest.raises(UsageError, match=sentence):
        read_manifest(written(tmp_path, text))


@pytest.mark.parametrize("coding", ["utf-16-le", "utf-16-be"])
def test_what_spreadsheets_call_unicode_text_is_named(tmp_path, coding):
    (tmp_path / "m.csv").write_bytes("\ufeffpath,id\na.jpg,1\n".encode(coding))
    with pytest.raises(UsageError, match="is in UTF-16: save it as UTF-8"):
        read_manifest(str(tmp_path / "m.csv"))


def test_no_manifest_or_a_folder_is_a_sentence(tmp_path):
    with pytest.raises(PathNotFoundError, match="no manifest"):
        read_manifest(str(tmp_path / "none.csv"))
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_manifest(str(tmp_path))


@pytest.fixture
def listed(pictures):
    """A manifest of four of the pictures; one has no face and one is not there."""
    names = sorted(path.name for path in pictures.iterdir() if path.suffix in (".png", ".jpg"))
    hopper = [name for name in names if name.startswith("hopper")][:2]
    rows = [
        (hopper[0], "A1", "", "north"),
        (hopper[1], "A2", "", "south"),
        ("no-face-coffee.jpg", "C", "", ""),
    ]
    lines = ["path,id,group,camp", *(",".join(row) for row in rows), "gone.jpg,X,,"]
    return written(pictures, "\n".join(lines) + "\n"), [str(pictures / row[0]) for row in rows]


def test_a_manifest_goes_from_the_list_of_images_to_every_output(listed, store, tmp_path):
    manifest, (first, second, coffee) = listed
    indexed = facededup.index([], store=store, manifest=manifest, processes=1)
    assert (indexed.found, indexed.ok, indexed.no_face) == (3, 2, 1)
    assert [path.rpartition("/")[2] for path, _ in indexed.unreadable] == ["gone.jpg"]
    assert (indexed.manifest.images, indexed.manifest.unknown) == (4, 1)

    result = facededup.find(store=store)
    (pair,) = result.pairs
    said = {first: {"id": "A1", "camp": "north"}, second: {"id": "A2", "camp": "south"}}
    assert {face.path: face.tags for face in (pair.a, pair.b)} == said
    document = json.loads(json.dumps(findings_document(result)))
    assert {face["path"]: face["tags"] for face in document["clusters"][0]["faces"]} == said
    assert document["pairs"][0]["a"]["tags"] == said[document["pairs"][0]["a"]["path"]]
    assert [(item["path"], item["tags"]) for item in document["unencoded"]] == [(coffee, {"id": "C"})]

    write_pairs(result, str(tmp_path / "pairs.csv"))
    (row,) = csv.DictReader(io.StringIO((tmp_path / "pairs.csv").read_text()))
    assert (row["a_id"], row["b_id"], row["a_camp"], row["b_camp"]) == ("A1", "A2", "north", "south")
    for form in ("csv", "npz", "parquet"):
        name = str(tmp_path / f"table.{form}")
        export_table(load_settings({"store": store}), name, what="pairs", form=form)
        export_table(load_settings({"store": store}), name + ".faces", what="faces", form=form)
    with open(tmp_path / "table.csv") as file:
        (row,) = csv.DictReader(file)
    assert {row["a_id"], row["b_id"]} == {"A1", "A2"}
    for form in ("npz", "parquet"):
        copy = str(tmp_path / f"{form}.h5")
        shutil.copy(tmp_path / f"table.{form}.faces", tmp_path / f"faces.{form}")
        import_faces(load_settings({"store": copy}), str(tmp_path / f"faces.{form}"))
        (pair,) = facededup.find(store=copy).pairs
        assert {face.path: face.tags for face in (pair.a, pair.b)} == said
    match = facededup.search(first, store=store, k=1).matches[0]
    assert match.face.tags == said[match.face.path]


def test_a_new_manifest_is_applied_without_reading_an_image(listed, pictures, store, tmp_path):
    manifest, (first, second, _) = listed
    facededup.index([pictures], store=store, manifest=manifest, processes=1)
    other = written(pictures, f"path,id\n{first},B1\n{tmp_path}/nobody.jpg,N\n", "other.csv")
    again = facededup.index([pictures], store=store, manifest=other)
    assert (again.read, again.embedded) == (0, 0)
    assert (again.manifest.changed, again.manifest.unknown_paths) == (1, (f"{tmp_path}/nobody.jpg",))
    # A move and a new look keep what is known.
    os.rename(second, pictures / "elsewhere.jpg")
    moved = facededup.index([pictures], store=store, rehash=True, processes=1)
    assert (moved.moved, moved.embedded, moved.manifest) == (1, 0, None)
    tags = {
        face.path: face.tags for cluster in facededup.find(store=store).clusters for face in cluster.faces
    }
    assert tags[first] == {"id": "B1"}
    assert tags[str(pictures / "elsewhere.jpg")] == {"id": "A2", "camp": "south"}
    assert facededup.index([pictures], store=store, manifest=other).manifest.changed == 0


def test_the_column_group_groups_unless_told_otherwise(store, tmp_path):
    anna, bert = people(2, 3)[:3], people(2, 3)[3:]
    images = {f"/made/up/{n}.jpg": (n + 1, vector[None]) for n, vector in enumerate([*anna, *bert])}
    add_images(store, images)
    lines = ["path,group,camp", "0.jpg,a,x", "1.jpg,a,y", "2.jpg,b,x", "3.jpg,,x", "4.jpg,,x"]
    manifest = written(tmp_path, "\n".join(lines).replace("\n", "\n/made/up/"))
    assert facededup.index([tmp_path], store=store, manifest=manifest).manifest.changed == 5
    assert facededup.find(store=store, group_by="none").pairs_total == 6
    result = facededup.find(store=store)
    assert (result.group_by, result.pairs_total, result.suppressed["group"]) == ("column:group", 5, 1)
    camps = facededup.find(store=store, group_by="column:camp")
    assert {(pair.a.path[9], pair.b.path[9]) for pair in camps.pairs} == {
        ("0", "1"),
        ("1", "2"),
        ("3", "5"),
        ("4", "5"),
    }
    assert facededup.find(store=store, group_by="parent").pairs_total == 0
    with pytest.raises(UsageError, match="no image has a column 'colour'; the columns known are group, camp"):
        facededup.find(store=store, group_by="column:colour")


def test_the_command_takes_a_manifest_on_standard_input_and_needs_something(listed, pictures, store):
    manifest, _ = listed
    text = Path(manifest).read_text().replace("\nhopper", f"\n{pictures}/hopper")
    done = CliRunner().invoke(app, ["run", "--store", store, "--manifest", "-", "-p", "1"], input=text)
    assert done.exit_code == 0, done.output
    assert "4 images named" in done.output
    gone = [line for line in done.output.splitlines() if "gone.jpg" in line]
    assert [line.rpartition(": ")[2] for line in gone] == ["no such file"]
    assert "1 pair in 1 cluster" in done.output
    nothing = CliRunner().invoke(app, ["index", "--store", store])
    assert nothing.exit_code == 2
    assert "give a PATH, or --manifest" in nothing.output
    bad = CliRunner().invoke(app, ["index", "--store", store, "--manifest", "-"], input="path,id\na.jpg\n")
    assert bad.exit_code == 2
    assert "line 2 of the manifest on standard input has 1 fields, and the heading has 2" in bad.output
