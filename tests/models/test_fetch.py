"""Downloads from a server on this machine, and imports of generated files."""

import hashlib
import importlib.util
import io
import os
import re
import socket
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from deepface.modules import modeling

from facededup.errors import JobError, PathNotFoundError, UsageError, WeightsMissingError
from facededup.models import fetch
from facededup.models.catalog import MODELS
from facededup.models.weights import (
    check_weights,
    deepface_weights_directory,
    find_weights,
    model_status,
)

CONTENT = bytes(range(256)) * 20_000  # 5 MB


class Server(ThreadingHTTPServer):
    """Serves `files`; notes the ranges asked for; misbehaves as told."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        self.ranges = []
        self.cut_after = None  # bytes of a body
        self.takes_ranges = True
        self.content_type = "application/octet-stream"

    def handle_error(self, *_):
        """A client that hangs up, as one does on a web page, is no news."""

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        content = self.server.files.get(self.path[1:])
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if asked and self.server.takes_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        self.send_header("Content-Type", self.server.content_type)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        cut = self.server.cut_after
        self.wfile.write(content[start:] if cut is None else content[start : start + cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as running:
        running.files["weights.onnx"] = CONTENT
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path))
    return tmp_path / ".deepface" / "weights"


class Steps:
    def __init__(self):
        self.total = self.done = None

    def start(self, _, total):
        self.total, self.done = total, 0

    def advance(self, amount=1):
        self.done += amount

    def finish(self):
        pass


def test_a_download_is_recorded(server, tmp_path):
    path = str(tmp_path / "weights.onnx")
    steps = Steps()
    fetch.download([server.url("weights.onnx")], path, progress=steps)
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT
    assert hashlib.sha256(CONTENT).hexdigest() in (tmp_path / "weights.onnx.sha256").read_text()
    assert check_weights(path) is True
    assert (steps.total, steps.done) == (len(CONTENT), len(CONTENT))
    assert sorted(os.listdir(tmp_path)) == ["weights.onnx", "weights.onnx.sha256"]


def test_a_cut_off_transfer_goes_on_where_it_stopped(server, tmp_path):
    path = str(tmp_path / "weights.onnx")
    server.cut_after = 2_000_000
    with pytest.raises(JobError, match=r"127.*: the transfer stopped at 2,000,000 of 5,120,000 bytes"):
        fetch.download([server.url("weights.onnx")], path)
    assert not os.path.exists(path)
    server.cut_after = None
    steps = Steps()
    fetch.download([server.url("weights.onnx")], path, progress=steps)
    assert server.ranges == [None, "bytes=2000000-"]
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT
    assert (steps.total, steps.done) == (len(CONTENT), len(CONTENT))


def test_two_downloads_of_one_file_transfer_it_once(server, tmp_path):
    path = str(tmp_path / "weights.onnx")
    with ThreadPoolExecutor(4) as threads:
        for done in [threads.submit(fetch.download, [server.url("weights.onnx")], path) for _ in range(4)]:
            done.result(timeout=60)
    assert server.ranges == [None]
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT


def test_a_server_without_ranges_starts_over(server, tmp_path):
    server.takes_ranges = False
    (tmp_path / "weights.onnx.part").write_bytes(b"something else" * 500_000)
    fetch.download([server.url("weights.onnx")], str(tmp_path / "weights.onnx"))
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_starts_over(server, tmp_path):
    (tmp_path / "weights.onnx.part").write_bytes(b"x" * (len(CONTENT) + 1))
    fetch.download([server.url("weights.onnx")], str(tmp_path / "weights.onnx"))
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT


def test_the_second_source_is_taken_where_the_first_fails(server, tmp_path):
    urls = [server.url("gone.onnx"), server.url("weights.onnx")]
    fetch.download(urls, str(tmp_path / "weights.onnx"))
    assert (tmp_path / "weights.onnx").read_bytes() == CONTENT


def test_a_web_page_is_no_weights_file(server, tmp_path):
    server.content_type = "text/html; charset=utf-8"
    with pytest.raises(JobError, match="it sent a web page"):
        fetch.download([server.url("weights.onnx")], str(tmp_path / "weights.onnx"))
    assert not (tmp_path / "weights.onnx").exists()


def test_a_zip_is_unpacked(server, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("weights.h5", CONTENT)
    server.files["weights.h5.zip"] = packed.getvalue()
    fetch.download([server.url("weights.h5.zip")], str(tmp_path / "weights.h5"))
    assert (tmp_path / "weights.h5").read_bytes() == CONTENT
    assert sorted(os.listdir(tmp_path)) == ["weights.h5", "weights.h5.sha256"]


@pytest.mark.parametrize("content", [b"no archive", b""])
def test_a_damaged_zip_is_refused(server, tmp_path, content):
    server.files["weights.h5.zip"] = content
    with pytest.raises(JobError, match=r"could not download weights\.h5"):
        fetch.download([server.url("weights.h5.zip")], str(tmp_path / "weights.h5"))
    assert not (tmp_path / "weights.h5").exists()


def test_offline_is_one_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(JobError) as caught:
        fetch.download([f"http://127.0.0.1:{port}/weights.onnx"] * 2, str(tmp_path / "weights.onnx"))
    message = str(caught.value)
    assert message.count(f"http://127.0.0.1:{port}/weights.onnx: Connection refused") == 2
    assert "facededup models import FILE" in message
    assert "\n" not in message


@pytest.mark.parametrize(("name", "engine"), [("ArcFace", "onnx"), ("deepid", "tensorflow")])
def test_fetch_puts_the_file_where_deepface_looks(server, folder, monkeypatch, name, engine):
    monkeypatch.setattr(fetch, "_MIRRORS", (server.url("gone/"), server.url("")))
    (status,) = (status for status in model_status(name) if engine in status.engines)
    server.files[status.file_name] = CONTENT
    path = fetch.fetch_weights(name, engine)
    assert path == str(folder / status.file_name) == find_weights(status.file_name)
    requests = len(server.ranges)
    assert fetch.fetch_weights(name, engine) == path
    assert len(server.ranges) == requests, "what is here is not fetched again"


def test_fetch_of_a_packaged_model_needs_no_download(server):
    assert os.path.isfile(fetch.fetch_weights("Dlib"))


def test_fetch_refuses_formats_there_are_none_of():
    with pytest.raises(UsageError, match="no weights of SFace for the engine 'pytorch': choose onnx"):
        fetch.fetch_weights("SFace", "pytorch")
    with pytest.raises(UsageError, match="no model 'Nobody'"):
        fetch.fetch_weights("Nobody")


def test_fetch_into_a_folder_that_cannot_be(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DEEPFACE_HOME", str(tmp_path / "file"))
    with pytest.raises(JobError, match=r"arcface_weights\.onnx' could not be written: Not a directory"):
        fetch.fetch_weights("ArcFace")


@pytest.mark.parametrize("model", [model for model in MODELS if model.name != "Dlib"], ids=lambda m: m.name)
def test_sources_are_deepfaces(model):
    """Read from the source of DeepFace's modules: importing them takes the frameworks."""
    clients = modeling.AVAILABLE_MODELS["facial_recognition"][model.name]
    for engine, file_name in model.weights_files.items():
        module = (clients.get(engine) or clients["any"]).rpartition(".")[0]
        source = importlib.util.find_spec(module).loader.get_source(module)
        assert f'"{os.path.basename(file_name)}"' in source
        for url in fetch.sources(file_name):
            assert f'"{url}"' in source


@pytest.mark.parametrize(
    ("given", "stored", "models"),
    [
        ("arcface_weights.onnx", "arcface_weights.onnx", ("ArcFace",)),
        ("webface_r50.onnx", "buffalo_l/webface_r50.onnx", ("Buffalo_L",)),
        ("GhostFaceNet_W1.3_S1_ArcFace.h5", "ghostfacenet_v1.h5", ("GhostFaceNet",)),
        ("deepid_weights.pth", "deepid_weights.pth", ("DeepID",)),
        ("deploy.prototxt", "deploy.prototxt", ("ssd",)),
    ],
)
def test_import_recognises_files_by_name(tmp_path, folder, given, stored, models):
    source = tmp_path / given
    source.write_bytes(CONTENT)
    assert fetch.import_weights(str(source)) == models
    assert (folder / stored).read_bytes() == CONTENT
    assert check_weights(str(folder / stored)) is True
    assert source.exists()
    assert sorted(os.listdir((folder / stored).parent)) == sorted(
        [os.path.basename(stored), f"{os.path.basename(stored)}.sha256"]
    )


def test_import_of_what_is_already_there(folder):
    folder.mkdir(parents=True)
    path = folder / "openface_weights.pth"
    path.write_bytes(CONTENT)
    assert fetch.import_weights(str(path)) == ("OpenFace",)
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("given", ["weights.onnx", "VGGFace2_DeepFace_weights_val-0.9034.h5.zip", "uc"])
def test_import_refuses_other_names(tmp_path, folder, given):
    (tmp_path / given).write_bytes(CONTENT)
    with pytest.raises(UsageError, match=rf"named '{given}'.*models --json -` lists the names"):
        fetch.import_weights(str(tmp_path / given))
    assert not folder.exists()


def test_import_of_nothing(tmp_path):
    with pytest.raises(PathNotFoundError, match=r"arcface_weights\.onnx"):
        fetch.import_weights(str(tmp_path / "arcface_weights.onnx"))


def test_a_file_that_shrank_is_not_opened(tmp_path, folder):
    source = tmp_path / "arcface_weights.onnx"
    source.write_bytes(CONTENT)
    fetch.import_weights(str(source))
    stored = folder / source.name
    stored.write_bytes(b"\1" + CONTENT[1:])
    assert check_weights(str(stored)) is False
    stored.write_bytes(CONTENT[:-1])
    assert check_weights(str(stored)) is False
    with pytest.raises(
        WeightsMissingError, match=r"5,119,999 bytes instead of 5,120,000.*models fetch ArcFace"
    ):
        find_weights(stored.name)


def test_files_put_there_by_deepface_have_no_record(folder):
    folder.mkdir(parents=True)
    (folder / "arcface_weights.onnx").write_bytes(CONTENT)
    assert check_weights(find_weights("arcface_weights.onnx")) is None
    (folder / "arcface_weights.onnx.sha256").write_text("of somebody else")
    assert check_weights(find_weights("arcface_weights.onnx")) is None


def test_status(folder):
    assert [(s.engines, s.path, s.bytes) for s in model_status("SFace")] == [(("onnx",), None, None)]
    folder.mkdir(parents=True)
    (folder / "arcface_weights.pth").write_bytes(CONTENT)
    assert [(s.engines, s.file_name, s.path, s.bytes) for s in model_status("arcface")] == [
        (("onnx",), "arcface_weights.onnx", None, None),
        (("pytorch",), "arcface_weights.pth", str(folder / "arcface_weights.pth"), len(CONTENT)),
        (("tensorflow",), "arcface_weights.h5", None, None),
    ]
    (dlib,) = model_status("Dlib")
    assert dlib.engines == ("onnx", "pytorch", "tensorflow")
    assert dlib.bytes == 22_466_066
    assert deepface_weights_directory() == str(folder)
