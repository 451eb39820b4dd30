"""`kill -9` of an indexing and searching process, of its workers, or of both, at random moments.

A victim is a fork of this process, so that no time goes into imports; it tells what it is doing through a
pipe. A kill waits for a phase and a random moment in it, and counts only if the process was alive when it
came. Phases are start, index, commit, fold, find, keep (writing down what an unfinished search has found) and
decide. About every third store is encrypted.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import faults
import numpy as np

import facededup
from facededup import indexing
from facededup.cli.demo import write_pictures
from facededup.store import searchlog
from facededup.store.crypto import ENVIRONMENT_KEY
from facededup.store.hdf5_writer import Hdf5Writer
from facededup.store.opener import open_store

PHASES = ("start", "index", "commit", "fold", "find", "keep", "decide")
PROCESSES = 2
DECISIONS = 10
"""Made at the end of a run, one by one."""
_PATIENCE = 120.0
_PLANS = (("main",), ("both",), ("worker", "main"), ("worker", "worker", "both"), ("worker",))
_MOMENTS = {
    "start": 0.8,
    "index": 0.5,
    "commit": 0.01,
    "fold": 0.05,
    "find": 0.1,
    "keep": 0.005,
    "decide": 0.03,
}
"""Longest wait, in seconds, between the begin of a phase and the kill."""


def write_images(folder: str, count: int) -> None:
    """Small distinct pictures of the demo's two people, some without a face, some damaged, some copies."""
    from PIL import Image, ImageEnhance

    with tempfile.TemporaryDirectory() as originals:
        write_pictures(originals)
        sources = sorted(Path(originals).glob("*-*.jpg"))
        for k in range(count):
            source = sources[k % len(sources)]
            target = os.path.join(folder, f"{k:04d}-{source.name}")
            if source.name.startswith("damaged"):
                shutil.copy(source, target)
                continue
            with Image.open(source) as image:
                small = image.convert("RGB").resize((256, 256 * image.height // image.width))
                ImageEnhance.Brightness(small).enhance(0.7 + 0.01 * (k // len(sources))).save(target)


@dataclass
class Victim:
    """A process that indexes and searches, and what it has said."""

    pid: int
    pipe: int
    phases: list[str] = field(default_factory=list)
    """Those it is in now, the outermost first."""
    committed: set[str] = field(default_factory=set)
    decided: int = 0
    found: bool = False
    ended: int | None = None
    _text: bytes = b""

    def listen(self, seconds: float) -> None:
        """Takes what it says for a while, or until it says something."""
        if select.select([self.pipe], [], [], max(0.0, seconds))[0]:
            data = os.read(self.pipe, 1 << 16)
            if not data:
                self._reap()
            self._text += data
        *lines, self._text = self._text.split(b"\n")
        for line in lines:
            word, content = json.loads(line)
            if word == "begin":
                self.phases.append(content)
            elif word == "end":
                self.phases.remove(content)
                self.found = self.found or content == "find"
            elif word == "committed":
                self.committed |= set(content)
            elif word == "decided":
                self.decided = content

    def kill(self) -> bool:
        """Whether it was alive to be killed."""
        if self.ended is None:
            os.kill(self.pid, signal.SIGKILL)
            while self.ended is None:  # what it said before counts
                self.listen(1.0)
        return os.WIFSIGNALED(self.ended) and os.WTERMSIG(self.ended) == signal.SIGKILL

    def _reap(self) -> None:
        _, self.ended = os.waitpid(self.pid, 0)
        os.close(self.pipe)

    def workers(self) -> list[int]:
        """The processes below it that find faces: those started by its fork server."""
        below = _children()
        return [pid for child in below.get(self.pid, []) for pid in below.get(child, [])]


def _children() -> dict[int, list[int]]:
    below: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with suppress(OSError, IndexError, ValueError):
                fields = Path(f"/proc/{entry}/stat").read_bytes().rpartition(b")")[2].split()
                below.setdefault(int(fields[1]), []).append(int(entry))
    return below


def start(store: str, images: str) -> Victim:
    """Starts a victim."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return Victim(pid, reader)
    code = 1
    try:
        os.close(reader)
        _suffer(store, images, writer)
        code = 0
    except BaseException:  # the parent must hear of it, and the copy of it must end here
        traceback.print_exc()
        sys.stderr.flush()
    os._exit(code)


def _suffer(store: str, images: str, pipe: int) -> None:
    def say(word: str, content: Any) -> None:
        os.write(pipe, json.dumps([word, content]).encode() + b"\n")

    def told(phase: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            say("begin", phase)
            result = call(*arguments, **options)
            if phase == "commit":
                say("committed", [os.fsdecode(image.path) for image in arguments[1].images])
            say("end", phase)
            return result

        return wrapped

    indexing.COMMIT_SECONDS = 0.05  # type: ignore[misc] # more commits to hit
    searchlog.KEEP_SECONDS = 0.0  # type: ignore[misc] # a search of a moment leaves a log, too
    keep = searchlog.FileSearchLog.keep
    searchlog.FileSearchLog.keep = told("keep", keep)  # type: ignore[method-assign]
    Hdf5Writer.commit = told("commit", Hdf5Writer.commit)  # type: ignore[method-assign]
    Hdf5Writer._replace_base = told("fold", Hdf5Writer._replace_base)  # type: ignore[method-assign]  # noqa: SLF001
    say("begin", "start")
    indexing._Run.execute = told("index", indexing._Run.execute)  # type: ignore[method-assign]  # noqa: SLF001
    result = facededup.index(
        [images], store=store, processes=PROCESSES, encrypt=ENVIRONMENT_KEY in os.environ or None
    )
    assert result.found == len(os.listdir(images))
    told("find", facededup.find)(store=store)
    with open_store(store, None).writer() as writer:
        for number in range(len(writer.snapshot.decisions()), DECISIONS):
            told("decide", writer.append_decisions)([faults.decision(number)])
            say("decided", number + 1)


def result_of(store: str) -> dict[str, Any]:
    """What a finished run left, in a form to be compared."""
    handle = open_store(store, None)
    with handle.snapshot() as snapshot:
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        images = snapshot.images
        rows = {os.fsdecode(path): row for row, path in enumerate(images.path)}
        assert len(rows) == len(images), "an image is there twice"
        contents = {
            path: (int(images.outcome[row]), vectors[snapshot.faces.image == images.first[row]])
            for path, row in rows.items()
        }
    found = facededup.find(store=store, limit=0)
    clusters = sorted(sorted((face.path, face.face) for face in cluster.faces) for cluster in found.clusters)
    # A pair within a rounding of the cut may be there or not: batches differ in the last bits.
    pairs = {
        (pair.a.path, pair.a.face, pair.b.path, pair.b.face)
        for pair in found.pairs
        if pair.cosine > found.cosine_cut + 1e-4
    }
    return {"contents": contents, "clusters": clusters, "pairs": pairs}


def assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raises AssertionError where two results differ."""
    assert found["contents"].keys() == expected["contents"].keys(), "other images"
    for path, (outcome, vectors) in expected["contents"].items():
        assert found["contents"][path][0] == outcome, f"{path} has another outcome"
        assert np.allclose(found["contents"][path][1], vectors, atol=1e-5), f"{path}: another embedding"
    assert found["clusters"] == expected["clusters"], "other clusters"
    assert found["pairs"] == expected["pairs"], "other pairs"


def run_kills(kills: int, seed: int, images: int) -> Counter[str]:
    """Kills until it was done often enough; how often in which phase, and whom.

    Args:
        kills: Of live processes.
        seed: Of all that is random.
        images: To be indexed; when a run has finished, the next begins with nothing.

    Raises:
        AssertionError: Something was lost, was there twice, or came out otherwise than undisturbed.
    """
    chance = random.Random(seed)
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        pictures, place = os.path.join(folder, "images"), os.path.join(folder, "store")
        os.mkdir(pictures)
        write_images(pictures, images)
        os.mkdir(place)
        store = os.path.join(place, "s.h5")
        expected = _finish(store, pictures)
        _empty(place)
        committed: set[str] = set()
        decided = 0
        while counts["kills"] < kills:
            victim = start(store, pictures)
            _torment(victim, chance, counts)
            committed |= victim.committed
            decided = _check(store, committed, max(decided, victim.decided))
            if victim.ended == 0:
                # Images whose worker was killed twice are tried again by the next run.
                assert_same(_finish(store, pictures), expected)
                counts["finished runs compared"] += 1
                _empty(place)
                committed.clear()
                decided = 0
                _choose_key(chance)
        assert_same(_finish(store, pictures), expected)
        counts["finished runs compared"] += 1
        os.environ.pop(ENVIRONMENT_KEY, None)
        assert os.listdir(place) == ["s.h5"], f"left behind: {os.listdir(place)}"
    return counts


def _choose_key(chance: random.Random) -> None:
    """Whether the next store is encrypted."""
    if chance.randrange(3):
        os.environ.pop(ENVIRONMENT_KEY, None)
    else:
        os.environ[ENVIRONMENT_KEY] = faults.KEY.secret.decode()


def _torment(victim: Victim, chance: random.Random, counts: Counter[str]) -> None:
    """Kills workers, and then the victim itself unless it gets through."""
    for whom in chance.choice(
        (["main"], ["worker", "main"], ["both"], ["worker", "worker", "both"], ["worker"])
    ):
        phase = chance.choice(PHASES)
        deadline = time.monotonic() + _PATIENCE
        while phase not in victim.phases and victim.ended is None:
            assert time.monotonic() < deadline, f"the run hangs in {victim.phases}"
            victim.listen(1.0)
        moment = time.monotonic() + chance.uniform(0, _MOMENTS[phase])
        while victim.ended is None and time.monotonic() < moment:
            victim.listen(moment - time.monotonic())
        if victim.ended is not None:
            break
        during = victim.phases[-1] if victim.phases else "start"
        if whom in ("worker", "both"):
            workers = victim.workers()
            if workers:
                with suppress(ProcessLookupError):
                    os.kill(chance.choice(workers), signal.SIGKILL)
                    counts["kills"] += 1
                    counts["of a worker"] += 1
        if whom in ("main", "both"):
            below = [*victim.workers(), *_children().get(victim.pid, [])]
            if victim.kill():
                counts["kills"] += 1
                counts["of the main process"] += 1
                counts[f"during {during}"] += 1
                counts["on an encrypted store"] += ENVIRONMENT_KEY in os.environ
            _expect_gone(below)
            return
    deadline = time.monotonic() + _PATIENCE
    while victim.ended is None:
        assert time.monotonic() < deadline, f"the run hangs in {victim.phases}"
        victim.listen(1.0)
    assert victim.ended == 0, "the run failed by itself"


def _expect_gone(pids: list[int]) -> None:
    """Workers end with their parent."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if not any(os.path.exists(f"/proc/{pid}") for pid in pids):
            return
        time.sleep(0.01)
    raise AssertionError("workers outlived the main process")


def _check(store: str, committed: set[str], decided: int) -> int:
    """Opens what a killed run left: all that was committed is there, nothing twice, nothing damaged.

    Returns:
        How many decisions are there.
    """
    handle = open_store(store, None)
    if not handle.exists():
        assert not committed, "the store is gone"
        return 0
    assert handle.check() == []
    with handle.snapshot() as snapshot:
        paths = [os.fsdecode(path) for path in snapshot.images.path]
        decisions = snapshot.decisions()
    # One may be durable though its maker had no time to say so.
    assert len(decisions) in (decided, decided + 1), f"made {decided} decisions, found {len(decisions)}"
    assert decisions == tuple(map(faults.decision, range(len(decisions)))), "other decisions"
    assert len(set(paths)) == len(paths), "an image is there twice"
    assert committed <= set(paths), f"lost: {sorted(committed - set(paths))}"
    return len(decisions)


def _finish(store: str, pictures: str) -> dict[str, Any]:
    """An undisturbed run, in a process of its own as the others."""
    victim = start(store, pictures)
    while victim.ended is None:
        victim.listen(1.0)
    assert victim.ended == 0, "an undisturbed run failed"
    return _apart(result_of, store)


def _apart(call: Callable[[str], dict[str, Any]], argument: str) -> dict[str, Any]:
    """Calls a function in a fork: threads of the search in this process would not survive the next fork."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            with open(writer, "wb") as pipe:
                pickle.dump(call(argument), pipe)
            code = 0
        except BaseException:  # as in `start`
            traceback.print_exc()
            sys.stderr.flush()
        os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, "the result could not be read"
    made: dict[str, Any] = pickle.loads(data)
    return made


def _empty(folder: str) -> None:
    shutil.rmtree(folder)
    os.mkdir(folder)
