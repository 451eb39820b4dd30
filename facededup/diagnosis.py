"""What works on this machine: packages, libraries, GPU, weights, folders, and a self-test on known faces."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata, util
from typing import Any

import facededup
from facededup.devices import list_gpus
from facededup.errors import FacededupError
from facededup.models.catalog import DEFAULT_MODEL, MODELS, describe_model
from facededup.models.engine import ENGINES
from facededup.models.weights import (
    cache_directory,
    check_weights,
    deepface_weights_directory,
    model_status,
)
from facededup.results import Check, Diagnosis
from facededup.settings import Settings
from facededup.store.opener import is_url, open_store

_SECONDS = 180
"""A framework may take a minute to import on a cold disk."""
_PACKAGES = ("numpy", "h5py", "pillow", "deepface", "dlib-bin", "face_recognition_models", "onnx")
_MODULES = {"onnx": "onnxruntime", "pytorch": "torch", "tensorflow": "tensorflow", "faiss": "faiss"}
_NEEDED = ("onnx", "faiss")


def examine(settings: Settings, *, every_engine: bool = False) -> Diagnosis:
    """Looks at everything a run needs.

    Args:
        settings: What the user asks for: `gpu`, `engine`, `model` and `store` are looked at.
        every_engine: Test every engine that is installed, not only the one a run would take.

    Raises:
        UsageError: There is no such model.
    """
    model = describe_model(settings.model or DEFAULT_MODEL).name
    asked = {*_NEEDED, settings.engine}
    installed = [name for name, module in _MODULES.items() if util.find_spec(module) is not None]
    with ThreadPoolExecutor(2) as threads:
        answers = dict(
            zip(installed, threads.map(lambda name: _ask("library", name), installed), strict=True)
        )
    engines = [settings.engine]
    if every_engine:
        engines += [name for name in ENGINES if name in installed and name != settings.engine]
    return Diagnosis(
        (
            *_packages(),
            *_libraries(answers, asked),
            *_gpu(answers, needed=settings.gpu is True),
            *_weights(model, settings.engine),
            *_folders(settings.store, settings.key_file),
            *(_selftest(model, engine, settings) for engine in engines),
        )
    )


def _packages() -> Iterator[Check]:
    yield Check("packages", "facededup", "ok", facededup.__version__, needed=True)
    yield Check(
        "packages", "python", "ok", f"{platform.python_version()} on {platform.platform()}", needed=True
    )
    for name in _PACKAGES:
        try:
            yield Check("packages", name, "ok", metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check("packages", name, "absent", "not installed under this name")


def _libraries(answers: dict[str, dict[str, Any]], asked: set[str]) -> Iterator[Check]:
    for name, module in _MODULES.items():
        answer = answers.get(name)
        needed = name in asked
        if answer is None:
            yield Check("libraries", name, "absent", f"{module} is not installed", needed)
        elif "error" in answer:
            yield Check("libraries", name, "failed", answer["error"], needed)
        else:
            providers = f", {', '.join(answer['providers'])}" if "providers" in answer else ""
            yield Check("libraries", name, "ok", f"{module} {answer['version']}{providers}", needed)


def _gpu(answers: dict[str, dict[str, Any]], *, needed: bool) -> Iterator[Check]:
    shown = list_gpus()
    names = ", ".join(f"{gpu.number} {gpu.name} ({gpu.memory_bytes / 1e9:.0f} GB)" for gpu in shown)
    yield Check("gpu", "driver", "ok" if shown else "absent", names or _gpus(0), needed)
    for name, answer in answers.items():
        if "gpus" in answer:
            yield Check("gpu", name, "ok" if answer["gpus"] else "absent", _gpus(answer["gpus"]))


def _gpus(count: int) -> str:
    return f"{count} GPU{'' if count == 1 else 's'}" if count else "sees no GPU"


def _weights(model: str, engine: str) -> Iterator[Check]:
    others = []
    for known in MODELS:
        statuses = model_status(known.name)
        if known.name != model and not any(status.path for status in statuses):
            others.append(known.name)
            continue
        for status in statuses:
            # Where the engine is free to choose, the self-test says which file is wanting.
            needed = known.name == model and engine in status.engines
            name = f"{known.name} ({', '.join(status.engines)})"
            if status.path is None:
                yield Check("weights", name, "absent", f"{status.file_name} is not on this machine", needed)
            elif check_weights(status.path) is False:
                yield Check("weights", name, "failed", f"{status.path} is not what was fetched", needed)
            else:
                yield Check("weights", name, "ok", status.path, needed)
    if others:
        yield Check("weights", "others", "absent", f"not on this machine: {', '.join(others)}")


def _folders(location: str, key_file: str | None) -> Iterator[Check]:
    yield _folder("cache", cache_directory(), needed=False)
    yield _folder("weights", deepface_weights_directory(), needed=False)
    if not is_url(location):
        yield _folder("store", os.path.dirname(os.path.abspath(location)), needed=True)
    try:
        store = open_store(location, key_file)
        if not store.exists():
            yield Check("folders", "store file", "absent", f"there is no store at {store.location!r} yet")
            return
        with store.snapshot() as snapshot:
            count = len(snapshot.images)
        yield Check("folders", "store file", "ok", f"{store.location!r}: {count:,} images", needed=True)
    except FacededupError as exc:
        yield Check("folders", "store file", "failed", str(exc), needed=True)


def _folder(name: str, path: str, *, needed: bool) -> Check:
    """Whether files can be made in a folder, or in the one in which it would be made."""
    place = path
    while not os.path.isdir(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    try:
        with tempfile.TemporaryFile(dir=place):
            return Check("folders", name, "ok", path, needed)
    except OSError as exc:
        return Check("folders", name, "failed", f"{path} cannot be written: {exc.strerror}", needed)


def _selftest(model: str, engine: str, settings: Settings) -> Check:
    question = {"model": model, "engine": engine, "gpu": settings.gpu}
    answer = _ask("selftest", json.dumps(question))
    needed = engine == settings.engine
    name = f"{model} on {engine}"
    if "error" in answer:
        return Check("self-test", name, "failed", answer["error"], needed)
    parts = [f"{answer['engine']} on {answer['device']}"]
    if "cosine_with_dlib" in answer:
        parts.append(f"as dlib (cosine {answer['cosine_with_dlib']:.6f})")
    if "same_person" in answer:
        parts.append(
            f"similarity {answer['same_person']:.3f} of one person, {answer['two_people']:.3f} of two people"
        )
    else:
        parts.append(f"pictures of two people are {answer['pictures']}")
    return Check("self-test", name, "ok", "; ".join(parts), needed)


def _ask(question: str, argument: str) -> dict[str, Any]:
    """The answer of a process of its own; its death and its silence are answers too."""
    command = [sys.executable, "-m", "facededup.probe", question, argument]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"no answer within {_SECONDS} seconds"}
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        last = next(iter(reversed(done.stderr.splitlines())), "")
        return {"error": f"the test process ended with code {done.returncode}: {last}"}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer
