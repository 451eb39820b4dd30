"""`export` and `import`: what goes out comes back, and what does not fit is refused."""

import csv
import errno
import json
import os
import sys

import numpy as np
import pytest
from synthetic import FINGERPRINT, add_images, people
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app
from facededup.errors import (
    JobError,
    PackageMissingError,
    PathNotFoundError,
    SettingMismatchError,
    StoreNotFoundError,
    UsageError,
)
from facededup.exchange import export_table, import_faces
from facededup.report.csv_report import write_pairs
from facededup.settings import Settings
from facededup.store.files import disk
from facededup.store.opener import open_store


@pytest.fixture
def filled(store):
    anna, bert = people(2, 3)[:3], people(2, 3)[3:]
    add_images(
        store,
        {
            "/a.jpg": (1, [anna[0], bert[0]]),
            "/copy.jpg": (1, [anna[0], bert[0]]),
            "/odd, 'name'\n.jpg": (2, anna[1:2]),
            "/d.jpg": (3, anna[2:]),
        },
    )
    facededup.find(store=store)
    return Settings(store=store)


def pairs_of(location):
    result = facededup.find(store=location, limit=0)
    return {(pair.a, pair.b, round(pair.cosine, 6)) for pair in result.pairs}


@pytest.mark.parametrize("form", ["npz", "parquet"])
def test_faces_go_out_and_come_back_into_a_new_store(filled, tmp_path, form):
    target = str(tmp_path / f"faces.{form}")
    assert export_table(filled, target, what="faces", form=form) == 6
    other = Settings(store=str(tmp_path / "other.h5"))
    assert import_faces(other, target) == (4, 6)
    with open_store(other.store).snapshot() as back, open_store(filled.store).snapshot() as own:
        assert back.fingerprint == own.fingerprint
        assert sorted(back.images.path) == sorted(own.images.path)
        assert len(back.faces) == len(own.faces) == 4
        assert back.faces.box[np.lexsort(back.faces.box.T)].tolist() == sorted(own.faces.box.tolist())
    assert pairs_of(other.store) == pairs_of(filled.store)
    assert import_faces(other, target) == (4, 6)
    assert pairs_of(other.store) == pairs_of(filled.store)


def test_all_pairs_go_out_whatever_the_limit_was(filled, tmp_path):
    expected = pairs_of(filled.store)
    facededup.find(store=filled.store, limit=1)
    for form in ("csv", "npz", "parquet"):
        target = tmp_path / f"pairs.{form}"
        assert export_table(filled, str(target), what="pairs", form=form) == len(expected) == 7
    with open(tmp_path / "pairs.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["a_path"], int(row["a_face"]), row["b_path"], int(row["b_face"])) for row in rows}
    assert {frozenset((pair[:2], pair[2:])) for pair in found} == {
        frozenset(((a.path, a.face), (b.path, b.face))) for a, b, _ in expected
    }
    with np.load(tmp_path / "pairs.npz") as file:
        assert {path.decode() for path in file["a_path"]} <= {a for a, *_ in found} | {
            b for *_, b, _ in found
        }
        assert sorted(file["cosine"].round(6)) == sorted(cosine for *_, cosine in expected)
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(tmp_path / "pairs.parquet")
    assert sorted(np.round(table["cosine"].to_numpy(), 6)) == sorted(cosine for *_, cosine in expected)
    assert json.loads(table.schema.metadata[b"fingerprint"]) == FINGERPRINT.to_dict()


def test_no_pairs_are_a_table_without_rows(store, tmp_path):
    add_images(store, {"/a.jpg": (1, people(1, 1))})
    with pytest.raises(UsageError, match="run `facededup find` first"):
        export_table(Settings(store=store), str(tmp_path / "p.csv"), what="pairs", form="csv")
    assert list(tmp_path.glob("p.csv*")) == []
    facededup.find(store=store)
    for form in ("csv", "npz", "parquet"):
        assert export_table(Settings(store=store), str(tmp_path / "p"), what="pairs", form=form) == 0
    export_table(Settings(store=store), str(tmp_path / "p.csv"), what="pairs", form="csv")
    assert (tmp_path / "p.csv").read_text() == "a_path,a_face,b_path,b_face,similarity,cosine,new\n"


def test_faces_as_csv_have_a_column_a_coordinate(filled, tmp_path):
    target = tmp_path / "faces.csv"
    export_table(filled, str(target), what="faces", form="csv")
    with open(target, newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    vector = np.array([float(rows[0][f"e{place}"]) for place in range(128)])
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_paths_and_vectors_are_enough_for_a_store_that_is_there(filled, tmp_path):
    more = people(1, 2, seed=9)
    np.savez(
        tmp_path / "more.npz", path=np.array(["/x.jpg", "/y.jpg"]), embedding=5 * more.astype(np.float64)
    )
    assert import_faces(filled, str(tmp_path / "more.npz")) == (2, 2)
    assert any({a.path, b.path} == {"/x.jpg", "/y.jpg"} for a, b, _ in pairs_of(filled.store))
    with pytest.raises(StoreNotFoundError, match="does not say what made"):
        import_faces(Settings(store=str(tmp_path / "none.h5")), str(tmp_path / "more.npz"))


def made(tmp_path, **columns):
    np.savez(tmp_path / "made.npz", **columns)
    return str(tmp_path / "made.npz")


def test_what_does_not_fit_is_refused_in_a_sentence(filled, tmp_path):
    two, paths = people(1, 2), np.array(["/x", "/y"])
    other = json.dumps({**FINGERPRINT.to_dict(), "model": "ArcFace", "flip": True})
    refused = [
        (
            SettingMismatchError,
            "another model and flip",
            {"path": paths, "embedding": two, "fingerprint": other},
        ),
        (
            SettingMismatchError,
            "another crops",
            {
                "path": paths,
                "embedding": two,
                "fingerprint": json.dumps({**FINGERPRINT.to_dict(), "crops": 2}),
            },
        ),
        (SettingMismatchError, "have 64 numbers", {"path": paths, "embedding": two[:, :64]}),
        (UsageError, "needs the columns", {"embedding": two}),
        (UsageError, "needs the columns", {"path": paths, "embedding": two[0]}),
        (UsageError, "a value for each embedding", {"path": paths[:1], "embedding": two}),
        (UsageError, "all zeros", {"path": paths, "embedding": 0 * two}),
        (UsageError, "not finite", {"path": paths, "embedding": np.nan * two}),
        (UsageError, "SHA-256", {"path": paths, "embedding": two, "digest": np.array(["ab", "zz"])}),
        (UsageError, "fingerprint", {"path": paths, "embedding": two, "fingerprint": "{}"}),
    ]
    before = pairs_of(filled.store)
    for error, text, columns in refused:
        with pytest.raises(error, match=text):
            import_faces(filled, made(tmp_path, **columns))
    for name in ("text.npz", "text.parquet"):
        (tmp_path / name).write_text("nothing of the kind")
        with pytest.raises(UsageError, match="is not a"):
            import_faces(filled, str(tmp_path / name))
    (tmp_path / "faces.csv").write_text("path\n")
    with pytest.raises(UsageError, match=r"is CSV, and import takes \.npz or \.parquet"):
        import_faces(filled, str(tmp_path / "faces.csv"))
    with pytest.raises(PathNotFoundError):
        import_faces(filled, str(tmp_path / "nowhere.npz"))
    assert pairs_of(filled.store) == before


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("name", ["-", "pipe", "."])
def test_only_a_file_is_replaced(filled, name, tmp_path, monkeypatch):
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    os.mkfifo("pipe")
    with pytest.raises(UsageError, match="export makes a file"):
        export_table(filled, name, what="pairs", form="csv")
    assert os.listdir() == ["pipe"]
    assert not os.path.isfile("pipe")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("`face` .* whole numbers", {"face": [np.nan, 1]}),
        ("`face` .* must be numbers", {"face": ["a", "b"]}),
        ("`face` .* a value for each", {"face": [[0, 0], [0, 0]]}),
        ("`x` .* a value for each", {"x": 3}),
        ("`x` .* whole numbers below", {"x": [1e300, 1]}),
        ("`w` .* whole numbers below", {"w": [2**40, 1]}),
        ("`confidence` .* must be numbers", {"confidence": ["1", "high"]}),
        ("`path` .* must be texts", {"path": [1, 2]}),
        ("`path` .* must be texts", {"path": ["/x\ud800", "/y"]}),
        ("is empty or no file name", {"path": [b"/x\0y", b"/y"]}),
        ("is empty or no file name", {"path": ["", "/y"]}),
        ("a row of numbers", {"embedding": np.full((2, 128), "a")}),
        ("a row of numbers", {"embedding": np.full((2, 128), 1j)}),
        ("SHA-256", {"digest": ["00" * 32, "ab" * 32]}),
        ("JSON objects of texts", {"tags": ['{"a": "\\ud800"}', ""]}),
        ("JSON objects of texts", {"tags": ["[" * 100_000, ""]}),
        ("fingerprint", {"fingerprint": "[" * 100_000}),
        ("fingerprint .* model 5", {"fingerprint": json.dumps({**FINGERPRINT.to_dict(), "model": 5})}),
    ],
)
def test_columns_that_mean_nothing_are_refused(tmp_path, text, columns):
    """Before there is a store; whatever numpy or Python would make of them."""
    base = {"path": ["/x", "/y"], "embedding": people(1, 2), "fingerprint": json.dumps(FINGERPRINT.to_dict())}
    other = Settings(store=str(tmp_path / "other.h5"))
    with pytest.raises(UsageError, match=text):
        import_faces(other, made(tmp_path, **{**base, **columns}))
    assert not (tmp_path / "other.h5").exists()
    with pytest.raises(SettingMismatchError, match="have 64 numbers"):
        import_faces(other, made(tmp_path, **{**base, "embedding": people(1, 2)[:, :64]}))
    assert not (tmp_path / "other.h5").exists()
    assert import_faces(other, made(tmp_path, **base, unknown=np.array(3))) == (2, 2)


def test_parquet_of_other_programs(filled, tmp_path):
    """Long texts, dictionaries, nulls where nothing is known; but no guess where an embedding is wanting."""
    import pyarrow as pa
    from pyarrow import parquet

    rows = people(1, 2).tolist()

    def written(**columns):
        parquet.write_table(pa.table(columns), tmp_path / "t.parquet")
        return str(tmp_path / "t.parquet")

    for paths in (pa.array(["/x", "/y"], pa.large_string()), pa.array(["/x", "/y"]).dictionary_encode()):
        table = written(path=paths, embedding=rows, digest=[None, "ab" * 32], tags=[None, '{"id": "7"}'])
        assert import_faces(filled, table) == (2, 2)
    with open_store(filled.store).snapshot() as snapshot:
        row = snapshot.images.path.index(b"/y")
        assert (snapshot.images.digest[row].tobytes(), snapshot.images.tags[row]) == (
            b"\xab" * 32,
            '{"id":"7"}',
        )
    for embedding in ([rows[0][:100], rows[1] + rows[1][:28]], [rows[0], None], ["a", "b"]):
        with pytest.raises(UsageError, match="is not a Parquet table of embeddings"):
            import_faces(filled, written(path=["/x", "/y"], embedding=embedding))
    with pytest.raises(UsageError, match="is empty"):
        import_faces(filled, written(path=[None, "/y"], embedding=rows))
    with pytest.raises(UsageError, match="whole numbers"):
        import_faces(filled, written(path=["/x", "/y"], embedding=rows, face=[None, 0]))


def test_csv_with_any_character_in_names(store, tmp_path):
    """A lone carriage return ends a line for most readers, unless it is quoted."""
    names = ["/a\rb", "/a\nb", "/a\r\n", '/"a",', "/ a ", "/\udcff", "/=1+1", "/\u2028"]
    vectors = people(1, len(names))
    add_images(store, {name: (number, vectors[number : number + 1]) for number, name in enumerate(names)})
    found = facededup.find(store=store)
    for what, column in (("faces", 1), ("pairs", 2)):
        export_table(Settings(store=store), str(tmp_path / "t.csv"), what=what, form="csv")
        with open(tmp_path / "t.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
            _, *rows = csv.reader(file, strict=True)
        assert {row[0] for row in rows} | {row[column] for row in rows if what == "pairs"} == set(names)
    write_pairs(found, str(tmp_path / "t.csv"))
    with open(tmp_path / "t.csv", encoding="utf-8", errors="surrogateescape", newline="") as file:
        _, *rows = csv.reader(file, strict=True)
    assert {name for row in rows for name in (row[0], row[2])} == set(names)


def test_a_table_takes_its_place_only_when_it_is_on_the_disk(filled, tmp_path, monkeypatch):
    """Where the disk fails at the flush, what was there before stays."""
    (tmp_path / "t.csv").write_text("the table of yesterday")

    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(disk, "flush", fail)
    with pytest.raises(JobError, match="Input/output error"):
        export_table(filled, str(tmp_path / "t.csv"), what="pairs", form="csv")
    assert (tmp_path / "t.csv").read_text() == "the table of yesterday"
    assert [path.name for path in tmp_path.glob("t.*")] == ["t.csv"]


def test_wrong_words_missing_folders_and_a_missing_package(filled, tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="the format must be one of"):
        export_table(filled, str(tmp_path / "x"), what="pairs", form="xls")
    with pytest.raises(UsageError, match="--what must be"):
        export_table(filled, str(tmp_path / "x.csv"), what="images", form="csv")
    with pytest.raises(JobError, match="cannot write"):
        export_table(filled, str(tmp_path / "no" / "x.csv"), what="pairs", form="csv")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PackageMissingError, match=r"pip install 'facededup\[parquet\]'"):
        export_table(filled, str(tmp_path / "x.parquet"), what="pairs", form="parquet")
    assert not list(tmp_path.glob("x*"))


def test_the_commands(filled, tmp_path):
    target = str(tmp_path / "faces.npz")
    done = CliRunner().invoke(app, ["export", target, "--what", "faces", "--store", filled.store])
    assert (done.exit_code, done.output.split(" written")[0]) == (0, "6 faces")
    new = str(tmp_path / "new.h5")
    done = CliRunner().invoke(app, ["import", target, "--store", new])
    assert (done.exit_code, done.output.split(" taken")[0]) == (0, "6 faces of 4 images")
