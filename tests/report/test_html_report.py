"""What a page holds, without a browser; test_page_in_browser.py is about what it does."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from page_reader import column, paths_of, read_page, read_text
from PIL import Image

import facededup
from facededup.errors import JobError, UsageError
from facededup.progress import SilentProgress
from facededup.report.json_report import findings_document
from facededup.report.page_template import embedded

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import add_images, people


@pytest.fixture(scope="module")
def searched(all_pictures, tmp_path_factory):
    """A store of the demo's pictures with findings; not to be changed."""
    store = str(tmp_path_factory.mktemp("searched") / "faces.h5")
    facededup.index([all_pictures], store=store, processes=1)
    facededup.find(store=store)
    return store


@pytest.fixture
def made_up(store):
    """Thirty people, four images each, without files behind them; a copy of one, an image without a face."""
    vectors = people(30, 4)
    images = {
        f"/site {row % 3}/person {row // 4}/{row}.jpg": (row + 1, vectors[row : row + 1])
        for row in range(120)
    }
    images["/site 9/copy.jpg"] = (1, vectors[:1])
    images["/site 9/<script>alert(1)<!--.jpg"] = (500, vectors[:0])
    add_images(store, images)
    facededup.find(store=store)
    return store


def test_the_page_holds_what_was_found(searched, all_pictures, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=searched)
    assert os.listdir(tmp_path) == ["r.html"]
    data, pictures = read_page(tmp_path / "r.html")
    found = facededup.find(store=searched)
    assert data["about"]["pairs_total"] == found.pairs_total == len(column(data["pairs"]["a"], "<u4"))
    listed = zip(
        paths_of(data, column(data["pairs"]["a"], "<u4")),
        paths_of(data, column(data["pairs"]["b"], "<u4")),
        column(data["pairs"]["cosine"], "<f8").tolist(),
        strict=True,
    )
    assert list(listed) == [(pair.a.path, pair.b.path, pair.cosine) for pair in found.pairs]
    assert data["clusters"]["id"] == [cluster.id for cluster in found.clusters]
    bounds = column(data["clusters"]["image_offsets"], "<u4")[column(data["clusters"]["offsets"], "<u4")]
    images = column(data["clusters"]["images"], "<u4")
    for cluster, (start, stop) in zip(found.clusters, pairwise(bounds), strict=True):
        assert sorted(paths_of(data, images[start:stop])) == [face.path for face in cluster.faces]
    without = paths_of(data, column(data["unencoded"]["image"], "<u4"))
    assert without == [image.path for image in found.unencoded]

    # Every picture of the demo but the damaged file is shown.
    assert sum(entry[0] is None for entry in pictures["contents"]) == 1
    for entry in pictures["contents"]:
        for place, text in enumerate(filter(None, entry)):
            picture = Image.open(io.BytesIO(base64.b64decode(text)))
            assert picture.format == "JPEG"
            assert max(picture.size) <= 360 if place == 0 else picture.size == (160, 160)


def test_the_policy_lets_only_our_script_and_style_run(searched, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=searched)
    text = (tmp_path / "r.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]
    for tag in ("style", "script"):
        [content] = re.findall(rf"<{tag}>(.*?)</{tag}>", text, flags=re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text)


def test_pictures_beyond_the_limit_lie_beside(searched, tmp_path):
    target = tmp_path / "my report.html"
    facededup.write_report(target, store=searched, inline_limit=20_000)
    _, pictures = read_page(target)
    assert pictures["base"].startswith("my%20report_files/")
    folder = tmp_path / "my report_files"
    [run] = os.listdir(folder)
    entries = pictures["contents"]
    beside = [
        (number, place)
        for number, entry in enumerate(entries)
        for place, item in enumerate(entry)
        if item == 1
    ]
    assert {path.name for path in folder.rglob("*.jpg")} == {
        f"{number}-{place}.jpg" for number, place in beside
    }
    assert (
        0
        < sum(len(item) for entry in entries for item in entry if isinstance(item, str))
        <= 20_000 * 4 / 3 + 300
    )
    # Another report leaves no picture of this one, and one that needs no folder leaves none.
    facededup.write_report(target, store=searched, inline_limit=0)
    assert os.listdir(folder) != [run]
    assert len(os.listdir(folder)) == 1
    facededup.write_report(target, store=searched)
    assert os.listdir(tmp_path) == ["my report.html"]


def test_a_report_that_fails_leaves_the_one_before(searched, tmp_path, monkeypatch):
    target = tmp_path / "r.html"
    facededup.write_report(target, store=searched, inline_limit=0)
    before = target.read_text(), sorted(map(str, tmp_path.rglob("*")))

    class Stops(SilentProgress):
        def advance(self, _amount=1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facededup.write_report(target, store=searched, inline_limit=0, progress=Stops())
    assert (target.read_text(), sorted(map(str, tmp_path.rglob("*")))) == before
    (tmp_path / "other_files").write_text("in the way")
    with pytest.raises(JobError, match="other_files"):
        facededup.write_report(tmp_path / "other.html", store=searched, inline_limit=0)
    assert not (tmp_path / "other.html").exists()


def test_what_is_gone_or_changed_is_not_shown(pictures, store, tmp_path):
    facededup.index([pictures], store=store, processes=1)
    facededup.find(store=store)
    gone, changed = pictures / "collins-dark.jpg", pictures / "collins-turned.jpg"
    gone.unlink()
    os.replace(pictures / "no-face-cat.jpg", changed)
    facededup.write_report(tmp_path / "r.html", store=store)
    data, shown = read_page(tmp_path / "r.html")
    content = column(data["images"]["content"], "<u4")
    rows = range(len(content))
    missing = {
        os.path.basename(path)
        for path, row in zip(paths_of(data, np.array(rows)), rows, strict=True)
        if shown["contents"][content[row]][0] is None
    }
    assert missing == {gone.name, changed.name, "damaged-file.jpg", "no-face-cat.jpg"}
    for entry in shown["contents"]:
        assert entry[0] is not None or set(entry) == {None}


def test_pairs_of_both_ends(made_up, tmp_path):
    whole = facededup.find(store=made_up)
    cosines = [pair.cosine for pair in whole.pairs]
    facededup.write_report(tmp_path / "r.html", store=made_up, edges=5, symmetric=True)
    data, _ = read_page(tmp_path / "r.html")
    assert column(data["pairs"]["cosine"], "<f8").tolist() == cosines[:5] + cosines[-5:]
    assert data["about"]["symmetric"] is True
    facededup.write_report(tmp_path / "r.html", store=made_up, edges=10_000)
    data, _ = read_page(tmp_path / "r.html")
    assert column(data["pairs"]["cosine"], "<f8").tolist() == cosines
    facededup.write_report(tmp_path / "r.html", store=made_up, limit=7)
    data, _ = read_page(tmp_path / "r.html")
    assert column(data["pairs"]["cosine"], "<f8").tolist() == cosines[:7]
    assert len(data["clusters"]["id"]) == 7
    assert data["about"]["pairs_total"] == len(cosines)


def test_the_page_holds_what_a_second_model_said(searched, tmp_path):
    plain = facededup.find(store=searched, threshold=-1.0)
    facededup.write_report(tmp_path / "r.html", store=searched, result=plain)
    data, _ = read_page(tmp_path / "r.html")
    assert data["about"]["second_model"] is data["pairs"]["second"] is None
    assert data["metrics"]["command"] == "find"
    # Near the threshold are some pairs, not all.
    band = plain.pairs[len(plain.pairs) // 2].similarity + 1.0 + 1e-9
    found = facededup.find(store=searched, threshold=-1.0, confirm_model="Dlib", confirm_band=band)
    facededup.write_report(tmp_path / "r.html", store=searched, result=found, edges=4)
    data, _ = read_page(tmp_path / "r.html")
    assert data["about"]["second_model"] == "Dlib"
    said = [pair.second_similarity for pair in (*found.pairs[:4], *found.pairs[-4:])]
    assert None in said
    assert column(data["pairs"]["second"], "<f8").tolist() == pytest.approx(
        [np.nan if score is None else score for score in said], nan_ok=True
    )


def test_the_trees_end_in_the_clusters(made_up, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=made_up)
    clusters = read_page(tmp_path / "r.html")[0]["clusters"]
    offsets = column(clusters["offsets"], "<u4").astype(int)
    last = offsets[1:] - np.arange(len(offsets) - 1) - 2
    height, lowest = column(clusters["tree_height"], "<f8"), column(clusters["tree_lowest"], "<f8")
    assert len(height) == offsets[-1] - (len(offsets) - 1)
    assert lowest[last] == pytest.approx(column(clusters["lowest"], "<f8"), abs=1e-9)
    assert column(clusters["tree_mean"], "<f8")[last] == pytest.approx(
        column(clusters["mean"], "<f8"), abs=1e-9
    )


def test_where_and_when_duplicates_arise(made_up, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=made_up)
    told = read_page(tmp_path / "r.html")[0]["analytics"]
    found = facededup.find(store=made_up)
    assert findings_document(found)["analytics"] == {name: told[name] for name in told if name != "histogram"}
    assert sum(told["histogram"]["counts"]) == found.pairs_total
    assert sum(number for _, number in told["cluster_sizes"]) == found.clusters_total
    assert sum(size * number for size, number in told["cluster_sizes"]) == sum(c.size for c in found.clusters)
    shared = {(row["a"], row["b"]): row["clusters"] for row in told["folders"]}
    expected = {}
    for cluster in found.clusters:
        folders = sorted(os.path.dirname(face.path) for face in cluster.faces)
        for a in set(folders):
            for b in set(folders):
                if a < b or (a == b and folders.count(a) > 1):
                    expected[a, b] = expected.get((a, b), 0) + 1
    assert {tuple(sorted(key)): value for key, value in shared.items()} == dict(
        sorted(expected.items(), key=lambda item: -item[1])[: len(shared)]
    )
    assert told["folders_total"] == len(expected)
    [month] = told["months"]
    assert month == {"month": "1970-01", "images": 122, "duplicates": 91}


def test_duplicates_over_time_by_dates_in_paths(store, tmp_path):
    """The earliest of a cluster is no duplicate; what has no date is later than all others."""
    vectors = people(2, 4)
    names = ("2024-11/a.jpg", "2023-02-07/b.jpg", "2023-02-01/c.jpg", "none/d.jpg", "2024-13/e.jpg")
    names += ("2024-11/f.jpg", "2022/g.jpg", "2023-02/h.jpg")
    images = {f"/in {name}": (row + 1, vectors[row : row + 1]) for row, name in enumerate(names)}
    add_images(store, images)
    told = facededup.find(store=store, date_by=r"in (\d{4})-?(\d\d)?-?(\d\d)?").analytics
    assert told["months"] == [
        {"month": "2022", "images": 1, "duplicates": 0},
        {"month": "2023-02", "images": 3, "duplicates": 2},
        {"month": "2024-11", "images": 2, "duplicates": 2},
        {"month": "?", "images": 2, "duplicates": 2},
    ]
    facededup.write_report(tmp_path / "r.html", store=store)
    page = read_page(tmp_path / "r.html")[0]["analytics"]
    assert page["months"] == told["months"]
    assert page["dated_by"] == told["dated_by"] == r"in (\d{4})-?(\d\d)?-?(\d\d)?"
    for wrong in ("(", "column:intake"):
        with pytest.raises(UsageError, match="--date-by"):
            facededup.find(store=store, date_by=wrong)


def test_duplicates_over_time_by_a_manifest(pictures, store, tmp_path):
    images = sorted(pictures.glob("collins*.jpg"))[:3]
    rows = [f"{image.name},{date}\n" for image, date in zip(images, ("2024", "", "20230601"), strict=True)]
    manifest = pictures / "manifest.csv"
    manifest.write_text("path,enrolled\n" + "".join(rows))
    facededup.index(images, store=store, manifest=str(manifest), processes=1)
    found = facededup.find(store=store, date_by="column:enrolled")
    assert found.analytics["months"] == [
        {"month": "2023-06", "images": 1, "duplicates": 0},
        {"month": "2024", "images": 1, "duplicates": 1},
        {"month": "?", "images": 1, "duplicates": 1},
    ]


def test_names_cannot_leave_their_place(made_up, tmp_path):
    facededup.write_report(tmp_path / "r.html", store=made_up)
    text = (tmp_path / "r.html").read_text()
    assert "<script>alert" not in text
    assert "<script>alert(1)<!--.jpg" in read_text(text)[0]["images"]["name"]
    assert embedded(["<!--", "\udce9"]) == '["\\u003c!--","\\udce9"]'


def test_a_store_without_findings_has_no_report(all_pictures, store, tmp_path):
    facededup.index([next(all_pictures.glob("*.jpg"))], store=store, processes=1)
    with pytest.raises(UsageError, match="run `facededup find` first"):
        facededup.write_report(tmp_path / "r.html", store=store)
    assert not (tmp_path / "r.html").exists()
