"""The review server: who may ask it what, and that what it says is saved is saved."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from page_reader import column, read_text
from PIL import Image

import facededup
from facededup.errors import JobError
from facededup.report.page_data import PageOptions
from facededup.report.review import Review
from facededup.report.server import ReviewServer
from facededup.settings import Settings
from facededup.store.opener import open_store

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def searched(all_pictures, tmp_path_factory):
    store = str(tmp_path_factory.mktemp("review") / "faces.h5")
    facededup.index([all_pictures], store=store, processes=1)
    facededup.find(store=store)
    return store


@pytest.fixture
def server(searched):
    with ReviewServer(Review(Settings(store=searched), PageOptions()), 0) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(server, path, method="GET", body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=30)
    given = {"Host": server.host, **{name.replace("_", "-"): value for name, value in headers.items()}}
    connection.request(
        method, path, body, {name: value for name, value in given.items() if value is not None}
    )
    answer = connection.getresponse()
    return answer.status, answer.read(), answer


def post(server, entries, revision=0, **headers):
    body = entries if isinstance(entries, bytes) else json.dumps({"entries": entries, "revision": revision})
    origin = {"Origin": f"http://{server.host}", **headers}
    status, answer, _ = ask(server, server.base + "decisions", "POST", body, **origin)
    return status, answer


def an_entry(server, verdict="same", **changed):
    data, _ = read_text(ask(server, server.base)[1].decode())
    digest = column(data["contents"]["digest"], "u1").reshape(-1, 32)
    box = column(data["faces"]["box"], "<i4").reshape(-1, 4)
    content = column(data["faces"]["content"], "<u4")
    return {
        "a_digest": digest[content[0]].tobytes().hex(),
        "a_box": box[0].tolist(),
        "b_digest": digest[content[2]].tobytes().hex(),
        "b_box": box[2].tolist(),
        "verdict": verdict,
        "who": "Ada",
        "at": 1_700_000_000,
        "a_path": "/a\udce9.jpg",
        "b_path": "/b.jpg",
        "similarity": None,
        "cosine": 0.95,
        "model": "Dlib",
        **changed,
    }


def log_of(store):
    with open_store(store).snapshot() as snapshot:
        return snapshot.decisions()


def test_the_page_and_its_pictures(server):
    status, body, answer = ask(server, server.base)
    assert status == 200
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in answer.headers
    data, pictures = read_text(body.decode())
    assert pictures is None
    assert data["live"]["base"] == server.base
    sizes = set()
    for place in (0, 1):
        status, body, answer = ask(server, f"{server.base}picture/0/{place}")
        assert (status, answer.headers["Content-Type"]) == (200, "image/jpeg")
        sizes.add(Image.open(io.BytesIO(body)).size)
    assert (160, 160) in sizes
    assert len(sizes) == 2


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/", {}, 404),
        ("/wrong/", {}, 404),
        ("{base}nothing", {}, 404),
        ("{base}picture/0/99", {}, 204),
        ("{base}picture/99999999/0", {}, 204),
        ("{base}../../etc/passwd", {}, 404),
        ("{base}picture/..%2f..%2fetc/passwd", {}, 404),
        ("{base}", {"Host": "evil.example"}, 421),
        ("{base}", {"Host": "localhost"}, 421),
        ("{base}", {"Sec_Fetch_Site": "cross-site"}, 403),
        ("{base}decisions", {}, 404),
    ],
)
def test_nobody_else_is_answered(server, path, headers, status):
    assert ask(server, path.format(base=server.base), **headers)[0] == status


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", {}, 400),
        (b"not json", {}, 400),
        (b'{"entries": [3], "revision": 0}', {}, 400),
        (b'{"entries": [{"verdict": "same"}], "revision": 0}', {}, 400),
        (b'{"entries": [], "revision": -1}', {}, 400),
        (b"[" * 100_000, {}, 400),
        (b'{"entries": [], "revision": 0}', {"Origin": "http://evil.example"}, 403),
        (b'{"entries": [], "revision": 0}', {"Origin": None}, 403),
        (b'{"entries": [], "revision": 0}', {"Content_Length": "99999999999"}, 413),
    ],
)
def test_only_the_page_decides(server, searched, body, headers, status):
    before = len(log_of(searched))
    assert post(server, body, **headers)[0] == status
    assert len(log_of(searched)) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"verdict": "kin"},
        {"a_digest": "ab"},
        {"a_box": [1, 2, 3]},
        {"a_box": [1, 2, 3, 2**40]},
        {"at": "soon"},
        {"cosine": "x"},
    ],
)
def test_what_is_no_decision_is_refused_whole(server, searched, changed):
    before = len(log_of(searched))
    status, answer = post(server, [an_entry(server), an_entry(server, **changed)])
    assert status == 400
    assert json.loads(answer)["error"].startswith("Not saved: ")
    assert len(log_of(searched)) == before


def test_a_decision_is_in_the_store_when_it_is_answered(server, searched):
    before = len(log_of(searched))
    entry = an_entry(server)
    status, answer = post(server, [entry], before)
    assert (status, json.loads(answer)) == (200, {"entries": [], "revision": before + 1})
    decision = log_of(searched)[-1]
    assert (decision.verdict, decision.who, decision.at, decision.a_path) == (
        "same",
        "Ada",
        1_700_000_000,
        b"/a\xe9.jpg",
    )
    assert decision.a.digest.hex() == entry["a_digest"]
    # Sent again, as after a lost answer: it is there once. Another tab is told of it.
    assert json.loads(post(server, [entry], before)[1])["revision"] == before + 1
    [other] = json.loads(post(server, [], before)[1])["entries"]
    assert (other["a_digest"], other["b_box"], other["verdict"]) == (
        entry["a_digest"],
        entry["b_box"],
        "same",
    )
    assert read_text(ask(server, server.base)[1].decode())[0]["decisions"] == [[0, 2, "same"]]


def test_while_another_process_writes_nothing_is_saved_and_the_page_is_told(server, searched):
    before = len(log_of(searched))
    entry = an_entry(server, at=1_700_000_001)
    with open_store(searched).writer():
        status, answer = post(server, [entry])
        assert status == 423
        assert "is being written by process" in json.loads(answer)["error"]
    assert len(log_of(searched)) == before
    assert post(server, [entry])[0] == 200
    assert len(log_of(searched)) == before + 1


def test_a_taken_port_is_one_sentence(server, searched):
    with pytest.raises(JobError, match="give another --port"):
        ReviewServer(server.review, server.server_address[1])


def start_review(store, *options):
    command = [sys.executable, "-m", "facededup", "review", "--store", store, "--no-open", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    url = process.stdout.readline().split()[1]
    return process, url


def test_ctrl_c_ends_it_in_a_sentence(searched):
    process, _ = start_review(searched, "--port", "0")
    process.send_signal(signal.SIGINT)
    _, notes = process.communicate(timeout=30)
    assert process.returncode == 130
    assert notes == "error: interrupted; the work so far is kept\n"
