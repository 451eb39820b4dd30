"""A store on a disk that fails: errors at every write, and a disk that takes its time.

The store writes through one object, `facededup.store.files.disk`; here its methods are replaced. What is
committed and what is read back are compared as *states*: which batches are there, and which findings.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from facededup.errors import FacededupError
from facededup.store import crypto
from facededup.store.base import Batch, ClusterTable, Content, Fingerprint, ImageRecord, PairBlock
from facededup.store.crypto import Key
from facededup.store.files import disk
from facededup.store.hdf5 import Hdf5Store
from facededup.types import Box, Decision, Face, FaceKey, FileStat, Outcome

DIMENSION = 16
FINGERPRINT = Fingerprint("Dlib", "made-up", DIMENSION, "dlib", "chip", flip=False, faces="all")
IMAGES = 3
"""Images of a batch."""
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files may lie that only a simulated power loss can take."""

State = tuple[frozenset[int], int | None, tuple[int, ...]] | None
"""Numbers of the batches in a store, of its findings and of its decisions; None where there is no store."""
KEY = Key(b"the key of torture, long enough")
ENCRYPTED = "encrypted-"
"""Begins the name of a folder whose stores are encrypted."""

crypto.SCRYPT_COST = 4  # slow by design, and here a thousand times over


def batch(number: int) -> Batch:
    """Images that are nobody else's; everything follows from the number."""
    random_ = np.random.default_rng(number)
    records, contents = [], []
    for k in range(IMAGES):
        digest = random_.bytes(32)
        vector = random_.standard_normal((1, DIMENSION)).astype(np.float32)
        stat = FileStat(1, 2, 3, 4)
        records.append(
            ImageRecord(
                path=b"/pictures/%d-%d" % (number, k),
                root=b"/pictures",
                mount=b"/",
                stat=stat,
                digest=digest,
                outcome=Outcome.OK,
            )
        )
        contents.append(Content(digest, (Face(Box(0, 0, 9, 9), 1.0),), vector / np.linalg.norm(vector)))
    return Batch(images=tuple(records), contents=tuple(contents))


def decision(number: int) -> Decision:
    """On two faces that only follow from the number."""
    a, b = (FaceKey(bytes([number, side] * 16), Box(0, 0, 9, 9)) for side in (0, 1))
    return Decision(
        a=a,
        b=b,
        verdict="different",
        who="the analyst",
        at=number,
        a_path=b"/pictures/a",
        b_path=b"/pictures/b",
        similarity=0.5,
        cosine=0.9,
        model="Dlib",
    )


def store_at(path: str) -> Hdf5Store:
    """The store at a path, encrypted or not as its folder is named."""
    is_encrypted = os.path.basename(os.path.dirname(path)).startswith(ENCRYPTED)
    return Hdf5Store(path, KEY if is_encrypted else None, encrypt=is_encrypted)


@contextmanager
def place_for_a_store(*, encrypted: bool = False) -> Iterator[str]:
    """The path of a store to be, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix=ENCRYPTED if encrypted else None, dir=MEMORY) as folder:
        yield os.path.join(folder, "s.h5")


def work(path: str, batches: int, acknowledge: Callable[[State], None]) -> None:
    """Two sessions of a writer: commits, findings, decisions, folds. Run again, it ends in the same state.

    Args:
        path: Of the store.
        batches: How many are committed.
        acknowledge: Told each state once it is promised to last.
    """
    store = store_at(path)
    there: State = observe(path)
    done = set(there[0]) if there else set()
    found = there[1] if there else None
    decided = there[2] if there else ()
    for session in (range(batches // 2), range(batches // 2, batches)):
        *before, last = session
        with store.writer(FINGERPRINT) as writer:
            acknowledge((frozenset(done), found, decided))
            for number in before:
                writer.commit(batch(number))
                done.add(number)
                acknowledge((frozenset(done), found, decided))
            if done:
                found = last
                findings = writer.write_findings()
                findings.append(PairBlock(np.array([0]), np.array([1]), np.array([0.5]), np.array([True])))
                cluster = ClusterTable(
                    [f"{found:012d}"], np.array([0, 2]), np.array([0, 1]), np.array([0.5]), np.array([True])
                )
                findings.finish({"number": found}, cluster)
                acknowledge((frozenset(done), found, decided))
            if last not in decided:
                writer.append_decisions([decision(last)])
                decided = (*decided, last)
                acknowledge((frozenset(done), found, decided))
            writer.commit(batch(last))
            done.add(last)
            acknowledge((frozenset(done), found, decided))


def observe(path: str, key: Key | None = None) -> State:
    """What a store holds; `key` where it is not the one that its folder's name tells.

    Raises:
        AssertionError: It holds half a batch, an image twice, or fails its own check.
        FacededupError: It does not open.
    """
    store = store_at(path) if key is None else Hdf5Store(path, key)
    if not store.exists():
        return None
    with store.snapshot() as snapshot:
        names = [name.decode().rpartition("/")[2] for name in snapshot.images.path]
        there = {int(name.partition("-")[0]) for name in names}
        expected = [f"{number}-{k}" for number in sorted(there) for k in range(IMAGES)]
        assert sorted(names) == sorted(expected), f"images are missing or there twice: {names}"
        vectors = snapshot.embeddings(0, len(snapshot.faces))
        images = snapshot.images.path
        for row, vector in zip(snapshot.faces.image.tolist(), vectors, strict=True):
            number, k = images[row].decode().rpartition("/")[2].split("-")
            made = batch(int(number)).contents[int(k)].embeddings[0]
            assert np.array_equal(vector, made), "another embedding than was committed"
        findings = snapshot.findings()
        found = None if findings is None else int(findings.meta["number"])
        decided = tuple(made.at for made in snapshot.decisions())
        assert snapshot.decisions() == tuple(map(decision, decided)), "another decision than was made"
    problems = store.check()
    assert not problems, problems
    return frozenset(there), found, decided


@contextmanager
def replaced(**methods: Callable[..., Any]) -> Iterator[None]:
    """The store's disk with some methods replaced."""
    for name, method in methods.items():
        setattr(disk, name, method)
    try:
        yield
    finally:
        for name in methods:
            delattr(disk, name)


def write_errors(batches: int, count: int, *, finish_every: int = 1, encrypted: bool = False) -> int:
    """Fails requests to the disk all over a run, with EIO and with ENOSPC; how many failures there were.

    Args:
        batches: Committed by an undisturbed run.
        count: Failures wanted; at least so many are made if there are as many requests.
        finish_every: After one in so many failures a further run is seen to finish.
        encrypted: The store is.

    Raises:
        AssertionError: A promised state was not found afterwards, or the error was no sentence.
    """
    undisturbed: list[State] = [None]
    counter = _Failing(-1, errno.EIO)
    with place_for_a_store(encrypted=encrypted) as path, counter.running():
        work(path, batches, undisturbed.append)
    step = max(1, 2 * counter.asked // count)
    failures = 0
    for code in (errno.EIO, errno.ENOSPC):
        for place in range(0, 1 << 30, step):
            with place_for_a_store(encrypted=encrypted) as path:
                promised: list[State] = [None]
                requests = _Failing(place, code)
                with requests.running():
                    try:
                        work(path, batches, promised.append)
                    except FacededupError as exc:
                        sentence = str(exc)
                        assert os.strerror(code) in sentence or "takes no more" in sentence, sentence
                if not requests.failed:
                    break
                failures += 1
                allowed = undisturbed[len(promised) - 1 : len(promised) + 1]
                expect(path, allowed, f"{errno.errorcode[code]} at request {place}")
                if failures % finish_every == 0:
                    expect_end(path, batches)
    return failures


class _Failing:
    """Fails one request, or none if its place is -1; where the disk is full, every write after it too."""

    def __init__(self, place: int, code: int) -> None:
        self.failed = False
        self.asked = 0
        self._place = place
        self._code = code

    @contextmanager
    def running(self) -> Iterator[None]:
        real = type(disk)()

        def guard(name: str) -> Callable[..., Any]:
            def call(*arguments: Any) -> Any:
                full = self.failed and self._code == errno.ENOSPC and name == "write"
                if full or (not self.failed and self.asked == self._place):
                    self.failed = True
                    if name == "write":  # half of it is written, as on a real disk
                        real.write(arguments[0], arguments[1][: len(arguments[1]) // 2])
                    raise OSError(self._code, os.strerror(self._code))
                self.asked += 1
                return None if name.startswith("flush") else getattr(real, name)(*arguments)

            return call

        names = ("open", "write", "truncate", "flush", "replace", "unlink", "flush_folder")
        with replaced(**{name: guard(name) for name in names}):
            yield


def slow_disk(batches: int, delay: float) -> int:
    """Writes on a disk that takes its time while a reader looks; how many looks there were.

    Raises:
        AssertionError: A reader had to wait for the writer, or saw something half done.
    """
    real = type(disk)()

    def slowly(name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            time.sleep(delay)
            return getattr(real, name)(*arguments)

        return call

    looks: list[State] = []
    longest = 0.0
    with place_for_a_store() as path:
        with replaced(**{name: slowly(name) for name in ("write", "flush", "replace", "flush_folder")}):
            promised: list[State] = []
            writer = threading.Thread(target=work, args=(path, batches, promised.append))
            writer.start()
            while writer.is_alive():
                started = time.perf_counter()
                looks.append(observe(path))
                longest = max(longest, time.perf_counter() - started)
            writer.join()
        sizes = [len(state[0]) for state in looks if state]
        assert sizes == sorted(sizes), "a reader saw an earlier state after a later one"
        assert longest < 20, f"a reader waited {longest:.1f} s"
        assert observe(path) == promised[-1]
    return len(looks)


def expect(path: str, allowed: list[State], what: str) -> None:
    """Raises AssertionError unless the store at a path is in one of some states; its files are kept then."""
    try:
        found = observe(path)
    except (AssertionError, FacededupError) as exc:
        kept = tempfile.mkdtemp(prefix=f"{os.path.basename(os.path.dirname(path))}-torture-")
        shutil.copytree(os.path.dirname(path), kept, dirs_exist_ok=True)
        raise AssertionError(f"{what}: {exc} (the files are in {kept})") from exc
    empty: State = (frozenset(), None, ())
    if None in allowed:
        allowed = [*allowed, empty]
    assert found in allowed, f"{what}: found {found}, promised {allowed}"


def expect_end(path: str, batches: int) -> None:
    """A further run finishes with what an undisturbed one gives."""
    with replaced(flush=lambda _: None, flush_folder=lambda _: None):  # the power stays on
        work(path, batches, lambda _: None)
    expected = (frozenset(range(batches)), batches - 1, (batches // 2 - 1, batches - 1))
    assert observe(path) == expected
    left = sorted(os.listdir(os.path.dirname(path)))
    assert left == ["s.h5"], f"left behind: {left}"
