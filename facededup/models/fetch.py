"""Brings weights to this machine: from where DeepFace has them, or from a file carried here by hand."""

from __future__ import annotations

import contextlib
import difflib
import http.client
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections.abc import Iterator, Sequence

from facededup.errors import JobError, PathNotFoundError, UsageError, first_line
from facededup.models.catalog import DETECTORS, MODELS, describe_model
from facededup.models.weights import (
    PACKAGED_FILES,
    deepface_weights_directory,
    find_weights,
    locate_weights,
    record_weights,
)
from facededup.progress import Progress, SilentProgress

# Where DeepFace has its weights; a test compares with its code, which cannot be asked without the frameworks.
_MIRRORS = (
    "https://github.com/serengil/deepface_models/releases/download/v1.0/",
    "https://huggingface.co/serengil/deepface/resolve/main/",
)
_OTHER_SOURCES = {
    "face_recognition_sface_2021dec.onnx": (
        "https://github.com/opencv/opencv_zoo/raw/main/models/face_recognition_sface/"
        "face_recognition_sface_2021dec.onnx"
    ),
    "ghostfacenet_v1.h5": (
        "https://github.com/HamadYA/GhostFaceNets/releases/download/v1.2/GhostFaceNet_W1.3_S1_ArcFace.h5"
    ),
    "VGGFace2_DeepFace_weights_val-0.9034.h5": (
        "https://github.com/swghosh/DeepFace/releases/download/weights-vggface2-2d-aligned/"
        "VGGFace2_DeepFace_weights_val-0.9034.h5.zip"
    ),
    "buffalo_l/webface_r50.onnx": (
        "https://drive.google.com/uc?export=download&confirm=pbef&id=1N0GL-8ehw_bz2eZQWz2b0A5XBdXdxZhg"
    ),
}
_GOOGLE_DRIVE = "https://drive.google.com/"

_PART_SUFFIX = ".part"
_LOCK_SUFFIX = ".lock"
_BLOCK = 1 << 20  # bytes
_TIMEOUT = 30.0  # seconds without a byte
# What a server does that is down, behind a login page, or cuts a transfer off.
_TRANSFER_ERRORS = (OSError, http.client.HTTPException, zipfile.BadZipFile, LookupError, ValueError)


def sources(file_name: str) -> tuple[str, ...]:
    """The addresses of a weights file, to be tried in this order; none where a package carries it."""
    if file_name in PACKAGED_FILES:
        return ()
    other = _OTHER_SOURCES.get(file_name)
    return (other,) if other else tuple(mirror + file_name for mirror in _MIRRORS)


def fetch_weights(name: str, engine: str = "onnx", *, progress: Progress | None = None) -> str:
    """Downloads the weights of a model, unless they are here.

    A transfer that was cut off goes on where it stopped. Size and SHA-256 are recorded beside the file.

    Args:
        name: Of the model.
        engine: `onnx`, `tensorflow` or `pytorch`: each has its own file format.
        progress: Told the bytes.

    Returns:
        The path of the weights file.

    Raises:
        UsageError: There is no such model, or it does not run on that engine.
        JobError: No source could be reached, or the file could not be written.
        WeightsMissingError: The weights come with a package, which is not installed.
    """
    model = describe_model(name)
    file_name = model.weights_files.get(engine)
    if file_name is None:
        raise UsageError(
            f"there are no weights of {model.name} for the engine {engine!r}: choose"
            f" {' or '.join(model.weights_files)}"
        )
    if file_name in PACKAGED_FILES or locate_weights(file_name):
        return find_weights(file_name)
    path = os.path.join(deepface_weights_directory(), file_name)
    with _write_failures(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
    download(sources(file_name), path, progress=progress)
    return path


def import_weights(path: str) -> tuple[str, ...]:
    """Copies a weights file, recognised by its name, to where DeepFace looks for it.

    Args:
        path: The file, named as DeepFace names it or as its source does.

    Returns:
        The models and detectors that use it.

    Raises:
        PathNotFoundError: There is no such file.
        UsageError: No model or detector has a weights file of that name.
        JobError: It could not be read or written.
    """
    if not os.path.isfile(path):
        raise PathNotFoundError(f"there is no file {path!r}")
    given = os.path.basename(path)
    users = _users()
    file_name = next((known for known in users if given in _names_of(known)), None)
    if file_name is None:
        close = difflib.get_close_matches(given, map(os.path.basename, users), n=1)
        meant = f" (is it {close[0]!r}?)" if close else ""
        raise UsageError(
            f"no model or detector has a weights file named {given!r}{meant}: `facededup models --json -`"
            " lists the names, and where each file is published"
        )
    target = os.path.join(deepface_weights_directory(), file_name)
    folder = os.path.dirname(target)
    with _write_failures(target):
        os.makedirs(folder, exist_ok=True)
        # Written under another name and renamed: nobody opens half a file.
        handle, temporary = tempfile.mkstemp(dir=folder, prefix="import-")
        try:
            with os.fdopen(handle, "wb") as file, open(path, "rb") as source:
                shutil.copyfileobj(source, file, _BLOCK)
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        record_weights(target)
    return users[file_name]


def _users() -> dict[str, tuple[str, ...]]:
    """The models and detectors that read each weights file."""
    users: dict[str, tuple[str, ...]] = {}
    for model in MODELS:
        for file_name in model.weights_files.values():
            users[file_name] = (*users.get(file_name, ()), model.name)
    for detector in DETECTORS:
        for file_name in detector.weights_files:
            users[file_name] = (*users.get(file_name, ()), detector.name)
    return {file_name: tuple(dict.fromkeys(names)) for file_name, names in users.items()}


def download(urls: Sequence[str], path: str, *, progress: Progress | None = None) -> None:
    """Downloads a file from the first source that gives it, and records its size and SHA-256.

    What was already transferred waits in PATH.part; a second download of the same file waits for the first. A
    zip archive is unpacked: its member of the file's name is what is wanted.

    Args:
        urls: The same file at each.
        path: Where to; its folder exists.
        progress: Told the bytes.

    Raises:
        JobError: No source could be reached, or the file could not be written.
    """
    was_here = os.path.exists(path)
    with _write_failures(path), _alone(path + _LOCK_SUFFIX):
        if was_here or not os.path.exists(path):
            _download(urls, path, progress or SilentProgress())


def _download(urls: Sequence[str], path: str, progress: Progress) -> None:
    part = path + _PART_SUFFIX
    refusals = []
    for url in urls:
        try:
            if url.startswith(_GOOGLE_DRIVE):
                _transfer_from_google(url, part)
            else:
                _transfer(url, part, progress)
            _unpack(url, part, path)
        except _TRANSFER_ERRORS as exc:
            refusals.append(f"{url}: {_reason(exc)}")
            continue
        with _write_failures(path):
            record_weights(path)
        return
    raise JobError(
        f"could not download {os.path.basename(path)} ({'; '.join(refusals)}): check the connection and run"
        " the command again, it goes on where it stopped, or bring the file from another machine with"
        " `facededup models import FILE`"
    )


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Waits until no other process is in here with the same path (where the system has such locks)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with open(path, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
        # Not after a failure: whoever waits would hold another file than who comes later.
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _transfer(url: str, part: str, progress: Progress) -> None:
    """Appends what is missing to the part. Raises one of _TRANSFER_ERRORS if the end was not reached."""
    start = os.path.getsize(part) if os.path.exists(part) else 0
    try:
        answer = _open(url, start)
    except urllib.error.HTTPError as exc:
        exc.close()
        if exc.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        start, answer = 0, _open(url, 0)  # the part is of another file
    with answer, open(part, "ab") as file:
        if answer.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
        if answer.headers.get_content_type() == "text/html":
            raise ValueError("it sent a web page")
        file.truncate(start)
        length = answer.headers.get("Content-Length")
        total = None if length is None else start + int(length)
        progress.start("download", total)
        progress.advance(start)
        while block := answer.read(_BLOCK):
            file.write(block)
            progress.advance(len(block))
        progress.finish()
        # The library does not tell a transfer that was cut off from one that is complete.
        if total is not None and file.tell() != total:
            raise ValueError(f"the transfer stopped at {file.tell():,} of {total:,} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse:
    request = urllib.request.Request(url)  # noqa: S310 the addresses are the catalogue's
    if start:
        request.add_header("Range", f"bytes={start}-")
    answer: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    return answer


def _transfer_from_google(url: str, part: str) -> None:
    """Google Drive puts a page before large files; gdown, which DeepFace brings, gets past it."""
    import gdown

    try:
        gdown.download(url, part, quiet=True, resume=True)
    except Exception as exc:  # its errors and those of requests share no base class
        raise ValueError(_reason(exc)) from exc


def _unpack(url: str, part: str, path: str) -> None:
    if url.endswith(".zip"):
        with zipfile.ZipFile(part) as archive, archive.open(os.path.basename(path)) as member:
            unpacked = f"{part}.unpacked"
            with open(unpacked, "wb") as file:
                shutil.copyfileobj(member, file, _BLOCK)
        os.replace(unpacked, path)
        os.unlink(part)
    else:
        os.replace(part, path)


def _names_of(file_name: str) -> set[str]:
    """What a file is called here and, where it is not packed, at its sources."""
    names = (os.path.basename(urllib.parse.urlsplit(url).path) for url in sources(file_name))
    extension = os.path.splitext(file_name)[1]
    return {os.path.basename(file_name), *(name for name in names if name.endswith(extension))}


def _reason(exc: Exception) -> str:
    if isinstance(exc, urllib.error.HTTPError):
        return f"HTTP {exc.code}"
    if isinstance(exc, urllib.error.URLError) and isinstance(exc.reason, OSError):
        exc = exc.reason
    if isinstance(exc, OSError) and exc.strerror:
        return exc.strerror
    return first_line(exc)


@contextlib.contextmanager
def _write_failures(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise JobError(f"the weights file {path!r} could not be written: {exc.strerror or exc}") from exc
