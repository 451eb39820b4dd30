"""The page as a person uses it, in a real browser."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import facededup
from facededup.cli.app import app

sys.path.insert(0, str(Path(__file__).parents[1]))
from synthetic import FINGERPRINT, add_images, people, record, unit

from facededup.models.scores import cosine_cut
from facededup.store.base import Batch, ClusterTable, PairBlock
from facededup.store.opener import open_store
from facededup.types import Outcome

VIEWS = ("clusters", "pairs", "unencoded", "summary")
HOSTILE = (
    "<img src=x onerror=alert(1)>.jpg",
    "\"'><script>alert(2)</script>.jpg".replace("/", "\u2044"),
    "line\nbreak.jpg",
    "latin-\udce9.jpg",
    "back\u202egpj.exe",
    "${alert(3)}`.jpg",
    "&lt;b&gt;.jpg",
    "nul\x01bell\x07.jpg",
)


@pytest.fixture(scope="module")
def browser(require):
    require("browser")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Watched:
    """A page that must not complain, nor ask anybody for anything but what `allowed` begins with."""

    def __init__(self, browser, allowed, **options):
        self.context = browser.new_context(viewport={"width": 1366, "height": 768}, **options)
        self.complaints = []
        self.allowed = allowed

    def open(self, url):
        page = self.context.new_page()
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (self.complaints.append(dialog.message), dialog.dismiss()))
        page.on("request", lambda request: self.note(request.url))
        page.goto(url)
        page.wait_for_selector("html[data-pictures]")
        return page

    def note(self, url):
        if not url.startswith((self.allowed, "data:", "blob:")):
            self.complaints.append(f"asked for {url}")


@pytest.fixture
def watch(browser):
    """Opens a report; its page must have nothing to complain of in the end."""
    opened = []

    def start(path, **options):
        folder = path.parent.as_uri()
        opened.append(Watched(browser, folder, **options))
        return opened[-1].open(path.as_uri())

    yield start
    for watched in opened:
        watched.context.close()
        assert watched.complaints == []


@pytest.fixture(scope="module")
def real(all_pictures, tmp_path_factory):
    """The report of the demo's pictures, searched."""
    folder = tmp_path_factory.mktemp("real")
    facededup.index([all_pictures], store=str(folder / "faces.h5"), processes=1)
    facededup.find(store=str(folder / "faces.h5"))
    facededup.write_report(folder / "r.html", store=str(folder / "faces.h5"))
    return folder / "r.html"


@pytest.fixture(scope="module")
def loose(tmp_path_factory):
    """Clusters that fall apart when the threshold rises; no files behind them."""
    folder = tmp_path_factory.mktemp("loose")
    store = str(folder / "faces.h5")
    vectors = drifting(12, 6)
    rows = range(len(vectors))
    add_images(store, {f"/people/{row // 6}/{row}.jpg": (row + 1, vectors[row : row + 1]) for row in rows})
    facededup.find(store=store)
    facededup.write_report(folder / "r.html", store=store)
    return folder / "r.html"


def drifting(count, each):
    """People who change from picture to picture: the first and the last are the least alike."""
    random = np.random.default_rng(4)
    vectors = [unit(random.standard_normal((count, 128)))]
    for _ in range(each - 1):
        vectors.append(unit(vectors[-1] + 0.2 * random.standard_normal((count, 128)) / np.sqrt(128)))
    return np.stack(vectors, axis=1).reshape(-1, 128)


SLIDE = """value => {
    const slider = $("threshold");
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
}"""
DRAWN = "() => [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
GROUPS = """() => Array.from(views.clusters.groups.cluster, (_, group) => ({
    paths: views.clusters.members(group).flatMap((member) => Array.from(memberImages(member), pathOf)),
    lowest: similarityOf(views.clusters.shape(group).lowest),
}))"""


def slide(page, threshold):
    page.evaluate(SLIDE, threshold)
    page.wait_for_function("value => Math.abs(app.similarity - value) < 1e-9", arg=threshold)
    page.evaluate("() => app.refresh()")


def test_every_view_shows_what_it_has(watch, real):
    page = watch(real)
    assert page.locator("#clusters .card").count() == 2
    assert page.locator("#clusters .card").first.locator(".head strong").inner_text() == "7 images"
    assert page.locator("#clusters .tile img").count() == 12  # the copy is a badge on its twin's tile
    assert page.locator("#clusters").get_by_text("2 files").count() == 1
    assert page.locator("#clusters").get_by_text("weakest link", exact=True).count() == 4
    page.click("#tab-pairs")
    pairs = page.locator("#pairs .pair")
    assert pairs.count() > 5
    assert page.locator("#compare .photo img").count() == 2
    page.click("#tab-unencoded")
    assert page.locator("#unencoded .pair").count() == 4
    assert page.locator("#unencoded").get_by_text("no face detected").count() == 3
    page.select_option("#filter", label="FILE_ERROR")
    assert page.locator("#unencoded .pair .name").all_inner_texts() == ["damaged-file.jpg"]
    page.click("#tab-summary")
    assert page.locator("#summary svg.chart").count() >= 2
    assert page.locator("#summary").get_by_text("17", exact=True).count() >= 1
    # All pictures are really drawn.
    page.click("#tab-clusters")
    assert page.evaluate(
        "() => [...document.images].every((image) => image.complete && image.naturalWidth > 0)"
    )


def test_the_slider_gives_the_clusters_that_find_would(watch, loose):
    page = watch(loose)
    store = str(loose.parent / "faces.h5")
    seen = set()
    for threshold in (0.4, 0.55, 0.7, 0.8, 0.9):
        slide(page, threshold)
        groups = page.evaluate(GROUPS)
        found = facededup.find(store=store, threshold=threshold)
        expected = {frozenset(face.path for face in cluster.faces) for cluster in found.clusters}
        assert {frozenset(group["paths"]) for group in groups} == expected
        seen.add(len(expected))
        lowest = sorted(group["lowest"] for group in groups)
        assert lowest == pytest.approx(sorted(c.min_similarity for c in found.clusters), abs=1e-6)
        page.click("#tab-pairs")
        assert page.evaluate("() => views.pairs.list.items.length") == found.pairs_total
        page.click("#tab-clusters")
    assert len(seen) > 2


@pytest.mark.parametrize(
    "options",
    [{}, {"clustering": "components"}, {"group_by": r"visit \d+"}],
    ids=["average", "components", "groups"],
)
def test_the_slider_respects_what_is_known(watch, store, tmp_path, options):
    """Decisions, faces of one image, copies and groups: the groups are those that `find` gives."""
    vectors = drifting(8, 6)
    images = {
        f"/visit {row // 3}/{row}.jpg": (row + 1, vectors[row : row + 1]) for row in range(len(vectors))
    }
    images["/visit 90/copy.jpg"] = images["/visit 2/7.jpg"]
    images["/visit 91/both.jpg"] = (900, np.stack([vectors[12], vectors[18]]))
    images["/visit 92/twice.jpg"] = (901, np.stack([vectors[24], vectors[24]]))
    add_images(store, images)
    facededup.find(store=store, **options)
    for a, b, verdict in (
        (0, 7, "same"),  # joins two people
        (12, 19, "same"),
        (19, 25, "same"),
        (30, 33, "different"),  # takes one person apart
        (36, 42, "same"),
        (42, 45, "look-alike"),
    ):
        first, second = f"/visit {a // 3}/{a}.jpg", f"/visit {b // 3}/{b}.jpg"
        facededup.add_decision(first, second, verdict, store=store)
    facededup.find(store=store, **options)
    facededup.write_report(tmp_path / "r.html", store=store)
    page = watch(tmp_path / "r.html")
    seen = set()
    for threshold in (0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.9, 1.0):
        slide(page, threshold)
        groups = page.evaluate(GROUPS)
        found = facededup.find(store=store, threshold=threshold, **options)
        expected = {frozenset(face.path for face in cluster.faces) for cluster in found.clusters}
        assert {frozenset(group["paths"]) for group in groups} == expected, threshold
        lowest = sorted(group["lowest"] for group in groups)
        assert lowest == pytest.approx(sorted(c.min_similarity for c in found.clusters), abs=1e-6)
        page.click("#tab-pairs")
        assert page.evaluate("() => views.pairs.list.items.length") == found.pairs_total
        page.click("#tab-clusters")
        seen.add(frozenset(expected))
    assert len(seen) > 2


def test_search_filter_and_order(watch, loose):
    page = watch(loose)
    page.keyboard.press("/")
    page.keyboard.type("PEOPLE/3/")
    page.wait_for_function("() => app.query === 'PEOPLE/3/'")
    kept, listed = page.evaluate("() => [views.clusters.list.items.length, views.clusters.listed]")
    assert 0 < kept < listed
    assert set(page.locator("#clusters .folder").all_inner_texts()) == {"3"}
    page.keyboard.press("Escape")
    page.fill("#search", "")
    page.wait_for_function("() => app.query === ''")
    page.click("#tab-pairs")
    page.select_option("#sort", "low")
    cosines = page.evaluate("() => views.pairs.list.items.map((item) => pairs.cosine[item >> 1])")
    assert cosines == sorted(cosines)
    page.locator("#pairs .row").first.click()
    page.keyboard.press("s")
    page.select_option("#filter", "same")
    assert page.evaluate("() => views.pairs.list.items.length") == 1
    page.select_option("#filter", "undecided")
    assert page.evaluate("() => views.pairs.list.items.length") == len(cosines) - 1


def test_a_second_look_is_shown_where_there_was_one(watch, real, all_pictures, tmp_path):
    store, report = str(tmp_path / "faces.h5"), tmp_path / "r.html"
    facededup.index([all_pictures], store=store, processes=1)
    found = facededup.find(store=store, threshold=-1.0, confirm_model="Dlib", confirm_band=20.0)
    facededup.write_report(report, store=store, result=found)
    scores = [pair.second_similarity for pair in found.pairs]
    page = watch(report)
    page.click("#tab-pairs")
    for label, kept in [
        ("Doubted by Dlib", [score for score in scores if score < 0.4]),
        ("Confirmed by Dlib", [score for score in scores if score >= 0.4]),
    ]:
        page.select_option("#filter", label=label)
        assert 0 < page.evaluate("() => views.pairs.list.items.length") == len(kept) < len(scores)
        badge = label.split()[0].lower()
        assert page.locator("#compare .second").inner_text().split() == [
            *(f"{kept[0]:.3f}", "second", "look,", "Dlib", badge)
        ]
        is_doubted = badge == "doubted"
        assert page.locator("#pairs .pair").first.get_by_text("doubted").count() == is_doubted
    page.click("#tab-clusters")
    assert page.locator("#compare .second").count() == 1
    without = watch(real)
    without.click("#tab-pairs")
    assert without.locator("#compare .second, #filter option[value=doubted]").count() == 0


def test_decisions_by_keyboard_and_their_download(watch, real):
    page = watch(real)
    page.fill("#who", 'Ada "A", L')
    page.click("#tab-pairs")
    page.keyboard.press("s")  # byte-identical files: there is nothing to decide
    assert page.evaluate("() => decisions.entries.length") == 0
    page.keyboard.press("j")
    for key in "sdlu":
        page.keyboard.press(key)
    assert page.evaluate("() => views.pairs.list.active") == 5
    page.keyboard.press("z")
    page.keyboard.press("k")
    page.keyboard.press("k")
    assert page.evaluate("() => views.pairs.list.active") == 3
    verdicts = page.evaluate("() => decisions.entries.map((entry) => entry.verdict)")
    assert verdicts == ["same", "different", "look-alike", "later", "undo"]
    with page.expect_download() as download:
        page.click("#download-json")
    document = json.loads(Path(download.value.path()).read_text())
    assert document["schema"] == "facededup/decisions/1"
    entry = document["decisions"][0]
    assert list(entry) == [
        *("a_digest", "a_box", "b_digest", "b_box", "verdict", "who", "at"),
        *("a_path", "b_path", "similarity", "cosine", "model"),
    ]
    found = facededup.find(store=str(real.parent / "faces.h5"))
    assert (entry["a_path"], entry["b_path"]) == (found.pairs[1].a.path, found.pairs[1].b.path)
    assert entry["cosine"] == found.pairs[1].cosine
    assert entry["similarity"] == pytest.approx(found.pairs[1].similarity)
    assert (entry["who"], entry["model"], entry["verdict"]) == ('Ada "A", L', "Dlib", "same")
    assert abs(entry["at"] - time.time()) < 100
    with page.expect_download() as download:
        page.click("#download-csv")
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["verdict"] for row in rows] == verdicts
    assert json.loads(rows[0]["a_box"]) == entry["a_box"]
    assert rows[0]["who"] == entry["who"]
    # The same browser shows them again.
    page.reload()
    page.wait_for_selector("html[data-pictures]")
    assert page.evaluate("() => decisions.entries.length") == 5


@pytest.mark.parametrize("kind", ["json", "csv"])
def test_the_next_find_respects_what_was_downloaded(watch, real, tmp_path, kind):
    store = shutil.copy(real.parent / "faces.h5", tmp_path / "faces.h5")
    page = watch(real)
    page.evaluate("() => localStorage.clear()")
    page.reload()
    page.wait_for_selector("html[data-pictures]")
    page.click("#tab-clusters")
    page.locator("#clusters .row").nth(1).click(position={"x": 400, "y": 14})
    assert page.locator("#clusters .row").nth(1).locator(".tile").count() == 6
    page.keyboard.press("1")
    page.keyboard.press("d")  # the first face of the second cluster is not that person
    with page.expect_download() as download:
        page.click(f"#download-{kind}")
    target = tmp_path / f"decisions.{kind}"
    download.value.save_as(target)
    result = CliRunner().invoke(app, ["decisions", "import", str(target), "--store", str(store)])
    assert result.exit_code == 0, result.output
    before = facededup.find(store=str(real.parent / "faces.h5"))
    after = facededup.find(store=str(store))
    lost = before.clusters[1].faces[0].path
    assert lost not in {face.path for cluster in after.clusters for face in cluster.faces}
    assert after.clusters[1].size == before.clusters[1].size - 1
    assert after.suppressed["different"] == before.pairs_total - after.pairs_total == 5


def test_decisions_on_clusters(watch, loose):
    page = watch(loose)
    page.locator("#clusters .row").first.click(position={"x": 400, "y": 14})
    size = page.evaluate("() => views.clusters.members(views.clusters.current).length")
    assert size > 3
    page.keyboard.press("s")
    assert page.evaluate("() => decisions.entries.length") == size - 1
    page.keyboard.press("z")
    assert page.evaluate("() => decidedCount()") == 0
    page.keyboard.press("k")
    page.keyboard.press("d")  # nothing is marked: nothing is decided
    assert page.evaluate("() => decidedCount()") == 0
    # The buttons are for the two faces in the panel, and do not pretend to be the keys.
    assert page.locator("#compare .verdicts kbd").count() == 0
    page.locator("#compare .verdict.later").click()
    assert page.evaluate("() => decidedCount()") == 1
    page.keyboard.press("z")
    page.keyboard.press("2")
    assert page.locator("#clusters .tile[aria-pressed=true]").count() == 1
    page.keyboard.press("d")
    assert page.evaluate("() => decidedCount()") == size - 1
    assert page.locator("#clusters .row").first.get_by_text("different").count() == 1


def test_hostile_names_are_only_text(watch, store, tmp_path):
    vectors = people(1, len(HOSTILE))
    images = {f"/odd {name}/{name}": (row + 1, vectors[row : row + 1]) for row, name in enumerate(HOSTILE)}
    images["/odd/" + HOSTILE[0]] = (99, vectors[:0])
    add_images(store, images)
    facededup.find(store=store)
    facededup.write_report(tmp_path / "r.html", store=store)
    page = watch(tmp_path / "r.html")
    names = page.locator("#clusters .name").all_inner_texts()
    assert "<img src=x onerror=alert(1)>.jpg" in names
    assert "back\\u202egpj.exe" in names
    assert "latin-\\xe9.jpg" in names
    assert "line\\x0abreak.jpg" in names
    for view in VIEWS:
        page.click(f"#tab-{view}")
    page.click("#tab-pairs")
    page.locator("#pairs .row").first.click()
    page.keyboard.press("s")
    assert page.locator("main script, main img[src=x]").count() == 0
    # Paths come out of the page as they went in.
    with page.expect_download() as download:
        page.click("#download-json")
    entry = json.loads(Path(download.value.path()).read_text())["decisions"][0]
    assert {entry["a_path"], entry["b_path"]} <= set(images)
    paths = page.evaluate("() => Array.from(images.name, (_, image) => pathOf(image))")
    assert len(set(map(repr, paths))) == len(images)


def test_pictures_beside_the_report_are_shown(watch, real, tmp_path):
    facededup.write_report(tmp_path / "a b.html", store=str(real.parent / "faces.h5"), inline_limit=0)
    page = watch(tmp_path / "a b.html")
    page.wait_for_function(DRAWN)
    assert page.locator("#clusters .tile img").count() == 12


@pytest.mark.parametrize(("theme", "width"), [("light", 1366), ("dark", 1366), ("light", 390)])
def test_the_page_is_accessible(watch, real, theme, width):
    import axe_core_python

    page = watch(real, color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 800})
    script = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    page.evaluate(script)  # evaluated by the debugger, which the policy of the page does not bind
    for view in VIEWS:
        page.click(f"#tab-{view}")
        page.keyboard.press("s")
        page.wait_for_timeout(50)
        result = page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        told = [(broken["id"], broken["nodes"][0]["html"][:200]) for broken in result["violations"]]
        assert told == []


def test_the_page_fits_a_phone(watch, loose):
    page = watch(loose)
    page.set_viewport_size({"width": 390, "height": 844})
    for view in VIEWS:
        page.click(f"#tab-{view}")
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        if view in ("clusters", "pairs"):
            box = page.locator(f"#{view} .row").first.bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= 390
            assert page.locator(f"#{view} .scroller").bounding_box()["height"] > 250
            assert page.locator("#compare .verdicts").bounding_box()["y"] < 800


def test_a_long_reason_stays_inside_its_card_on_a_phone(watch, tmp_path):
    store = str(tmp_path / "faces.h5")
    add_images(store, {"/people/0.jpg": (1, people(1, 1))})
    reason = f"image has {10**30} pixels, more than the limit that somebody set for this and other runs"
    bad = record(b"/people/a-rather-long-name.png", b"", Outcome.FILE_ERROR, reason)
    with open_store(store).writer(FINGERPRINT) as writer:
        writer.commit(Batch(images=(bad,), contents=()))
    facededup.find(store=store)
    facededup.write_report(tmp_path / "r.html", store=store)
    page = watch(tmp_path / "r.html")
    page.set_viewport_size({"width": 390, "height": 844})
    page.click("#tab-unencoded")
    card = page.locator("#unencoded .pair").bounding_box()
    for part in ("badge", "facts"):
        box = page.locator(f"#unencoded .reason .{part}").bounding_box()
        assert card["y"] <= box["y"]
        assert box["y"] + box["height"] <= card["y"] + card["height"]
        assert box["x"] + box["width"] <= card["x"] + card["width"]
    assert page.locator("#unencoded .reason .facts").get_attribute("title") == reason


def test_what_is_printed(watch, loose):
    """All rows up to a limit, in dark letters; the screen is as it was afterwards."""
    page = watch(loose, color_scheme="dark")
    page.click("#tab-pairs")
    listed = page.evaluate("() => views.pairs.list.items.length")
    drawn = page.locator("#pairs .row").count()
    printing = (
        "() => [document.documentElement.dataset.theme, document.querySelectorAll('#pairs .row').length]"
    )
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(printing) == ["light", listed]
    assert drawn < listed
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.evaluate(printing) == ["dark", drawn]


def test_a_hundred_thousand_pairs(watch, tmp_path):
    """Opens, scrolls and regroups at once; the limits leave room for a busy machine."""
    store = str(tmp_path / "faces.h5")
    write_many(store, clusters=10_000, each=5)
    facededup.write_report(tmp_path / "r.html", store=store)
    assert (tmp_path / "r.html").stat().st_size < 25_000_000
    started = time.perf_counter()
    page = watch(tmp_path / "r.html")
    opened = time.perf_counter() - started
    assert opened < 3 * 3, f"{opened:.1f} s to open"
    page.click("#tab-pairs")
    assert page.evaluate("() => views.pairs.list.items.length") == 100_000
    page.evaluate("() => { views.pairs.list.scroller.scrollTop = 1e9; }")
    page.wait_for_function("() => views.pairs.list.rows.has(99999)")
    assert page.locator("#pairs .row").count() < 40
    page.evaluate("() => views.pairs.list.activate(50000)")
    page.keyboard.press("j")
    row = page.locator("#pairs .row[aria-current]")
    assert row.get_attribute("aria-posinset") == "50002"
    assert row.bounding_box()["y"] + 80 < 768
    spent = page.evaluate(
        """() => { const started = performance.now();
                   app.similarity = 0.7; app.refresh(); app.show("clusters");
                   return performance.now() - started; }"""
    )
    assert spent < 1000 * 3, f"{spent:.0f} ms to regroup"
    assert page.evaluate("() => views.clusters.list.items.length") > 0


@pytest.fixture
def reviewed(real, tmp_path):
    """A store to decide on, and what starts `facededup review` on it: gives the process and the address."""
    store = shutil.copy(real.parent / "faces.h5", tmp_path / "faces.h5")
    started = []

    def start(port):
        command = [sys.executable, "-m", "facededup", "review", "--store", str(store), "--no-open"]
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        command += ["--port", str(port)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        started.append(process)
        return process, process.stdout.readline().split()[1]

    yield str(store), start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def verdicts_in(store):
    with open_store(store).snapshot() as snapshot:
        return [decision.verdict for decision in snapshot.decisions()]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.05)


def test_two_tabs_and_a_kill_lose_no_decision(browser, reviewed):
    store, start = reviewed
    process, url = start(0)
    port = int(url.split(":")[2].split("/")[0])
    watched = Watched(browser, url)
    first, second = watched.open(url), watched.open(url)
    for page in (first, second):
        page.click("#tab-pairs")
        page.keyboard.press("j")
    first.keyboard.press("s")
    until(lambda: verdicts_in(store) == ["same"])
    # The other tab learns of it, and decides the next one.
    second.wait_for_function("() => decidedCount() === 1")
    second.keyboard.press("j")
    second.keyboard.press("d")
    until(lambda: verdicts_in(store) == ["same", "different"])
    first.wait_for_function("() => decidedCount() === 2")
    assert watched.complaints == []

    # While another process writes, the page says so, and saves afterwards.
    with open_store(store).writer():
        first.keyboard.press("l")
        first.wait_for_function("() => $('notice').textContent.includes('is being written by process')")
        assert first.locator("#saved").inner_text() == "1 not saved yet"
    until(lambda: len(verdicts_in(store)) == 3)
    first.wait_for_function("() => $('notice').hidden")

    # After a kill the decisions of the meantime wait in the browser for the next review at this address.
    process.kill()
    process.wait()
    first.keyboard.press("u")
    first.wait_for_function("() => $('notice').textContent.includes('does not answer')")
    assert len(verdicts_in(store)) == 3
    _, url = start(port)
    third = Watched.open(watched, url)
    until(lambda: verdicts_in(store) == ["same", "different", "look-alike", "later"])
    third.wait_for_function("() => saving.unsaved.length === 0")
    assert third.evaluate("() => decidedCount()") == first.evaluate("() => decidedCount()") > 1
    watched.context.close()


def test_one_verdict_given_twice_within_a_second_is_saved_twice(browser, reviewed):
    store, start = reviewed
    _, url = start(0)
    watched = Watched(browser, url)
    page = watched.open(url)
    page.click("#tab-pairs")
    page.keyboard.press("j")
    for key in "szksz":  # a decided pair makes room for the next
        page.keyboard.press(key)
    page.wait_for_function("() => decisions.entries.length === 4 && saving.unsaved.length === 0")
    assert page.evaluate("() => new Set(decisions.entries.map((entry) => keyOf(entry.a, entry.b))).size") == 1
    assert verdicts_in(store) == ["same", "undo"] * 2
    watched.context.close()


def write_many(store, *, clusters, each):
    """A store with that many clusters of `each` images and all pairs within them, found by nobody."""
    vectors = people(clusters, each)
    rows = range(len(vectors))
    add_images(store, {f"/site {row % 40}/{row:06}.jpg": (row + 1, vectors[row : row + 1]) for row in rows})
    with open_store(store).writer() as writer:
        ids = writer.snapshot.faces.id
        first, second = np.triu_indices(each, 1)
        base = each * np.arange(clusters)[:, None]
        a, b = (base + first).ravel(), (base + second).ravel()
        cosine = np.einsum("ij,ij->i", vectors[a], vectors[b]).astype(np.float64)
        findings = writer.write_findings()
        findings.append(PairBlock(ids[a], ids[b], cosine, np.arange(len(a)) % 7 == 0))
        grouped = cosine.reshape(clusters, -1)
        meta = {
            "created": "2026-01-01T00:00:00+00:00",
            "threshold": 0.4,
            "cosine_cut": float(cosine_cut(0.4, 0.93)),
            "operating_cosine": 0.93,
            "operating_cosine_source": "catalogue",
            "complete": True,
            "search": {},
            "clustering": "average",
            "group_by": None,
            "known_images": 0,
            "next_image_id": len(vectors),
            "next_face_id": len(vectors),
        }
        findings.finish(
            meta,
            ClusterTable(
                key=[f"{number:012x}" for number in range(clusters)],
                offsets=each * np.arange(clusters + 1),
                members=ids,
                min_cosine=grouped.min(axis=1),
                new=np.arange(clusters) % 7 == 0,
                mean_cosine=grouped.mean(axis=1),
                medoid=ids[::each].copy(),
                bridge=np.zeros(len(vectors), np.bool_),
            ),
        )
