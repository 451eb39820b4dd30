"""Power loss, replayed from a record of all that was asked of the disk.

The record is cut off behind any entry. What was flushed by then is on the disk; of all else each write may be
lost, there, or there by half, and names have changed in their order, as far as the disk came.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import faults
import h5py
import numpy as np

from facededup.errors import WrongKeyError
from facededup.store.base import PairBlock
from facededup.store.crypto import Key, StoreKey
from facededup.store.files import disk
from facededup.store.hdf5 import Hdf5Store
from facededup.store.searchlog import FileSearchLog

OTHER_KEY = Key(b"another key of torture, long enough")


@dataclass
class Record:
    """Everything that was asked of the disk, in order, and when which state was promised."""

    log: list[tuple[Any, ...]] = field(default_factory=list)
    promised: list[tuple[int, Any]] = field(default_factory=lambda: [(0, None)])
    _files: dict[int, int] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    def promise(self, state: Any) -> None:
        """From here on, this state must be found."""
        self.promised.append((len(self.log), state))

    @contextmanager
    def running(self) -> Iterator[None]:
        """The store's disk with this record in between."""
        real = type(disk)()

        def open_(path: str, flags: int) -> int:
            descriptor = real.open(path, flags)
            if path not in self._names:
                self._count += 1
                self._names[path] = self._count
                self.log.append(("create", path, self._count))
            self._files[descriptor] = self._names[path]
            if flags & os.O_TRUNC:
                self.log.append(("truncate", self._names[path], 0))
            return descriptor

        def write(descriptor: int, data: memoryview) -> int:
            appends = os.get_blocking(descriptor) and _appends(descriptor)
            place = os.fstat(descriptor).st_size if appends else os.lseek(descriptor, 0, os.SEEK_CUR)
            count = real.write(descriptor, data)
            self.log.append(("write", self._files[descriptor], place, bytes(data[:count])))
            return count

        def truncate(descriptor: int, size: int) -> None:
            real.truncate(descriptor, size)
            self.log.append(("truncate", self._files[descriptor], size))

        def flush(descriptor: int) -> None:
            self.log.append(("flush", self._files[descriptor]))

        def replace(old: str, new: str) -> None:
            real.replace(old, new)
            self._names[new] = self._names.pop(old)
            self.log.append(("rename", old, new))

        def link(old: str, new: str) -> None:
            real.link(old, new)
            self._names[new] = self._names[old]
            self.log.append(("link", old, new))

        def unlink(path: str) -> None:
            real.unlink(path)
            self._names.pop(path)
            self.log.append(("unlink", path))

        def flush_folder(_: str) -> None:
            self.log.append(("flush folder",))

        with faults.replaced(
            open=open_,
            write=write,
            truncate=truncate,
            flush=flush,
            replace=replace,
            link=link,
            unlink=unlink,
            flush_folder=flush_folder,
        ):
            yield

    def allowed(self, place: int) -> list[Any]:
        """The states that may be found after a power loss behind `place` entries of the log."""
        last = max(k for k, (at, _) in enumerate(self.promised) if at <= place)
        return [state for _, state in self.promised[last : last + 2]]


def _appends(descriptor: int) -> bool:
    import fcntl

    return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND)


class Platter:
    """What is on the disk after some entries of a log: surely, and perhaps."""

    def __init__(self, log: list[tuple[Any, ...]]) -> None:
        self.contents: dict[int, bytearray] = {}
        self.names: dict[str, int] = {}
        self._data: dict[int, list[tuple[Any, ...]]] = {}
        self._name_changes: list[tuple[Any, ...]] = []
        for entry in log:
            if entry[0] in ("write", "truncate"):
                self._data.setdefault(entry[1], []).append(entry)
            elif entry[0] == "flush":
                for change in self._data.pop(entry[1], []):
                    self._change(change)
            elif entry[0] == "flush folder":
                for change in self._name_changes:
                    self._rename(change)
                self._name_changes.clear()
            else:
                self._name_changes.append(entry)

    def settle(self, chance: random.Random | None, *, keep: bool = False) -> None:
        """Decides what becomes of all that was not flushed: lost, kept, or for each write either, or half.

        Changes of names reach the disk in their order.
        """
        count = len(self._name_changes)
        kept = chance.randint(0, count) if chance else count * keep
        for change in self._name_changes[:kept]:
            self._rename(change)
        for changes in self._data.values():
            for change in changes:
                if chance is None:
                    if keep:
                        self._change(change)
                elif chance.random() < 0.5:
                    cut = chance.random() < 0.3 and change[0] == "write"
                    self._change((*change[:3], change[3][: len(change[3]) // 2]) if cut else change)

    def store_in(self, folder: str) -> None:
        """Writes the files into a folder."""
        for path, number in self.names.items():
            with open(os.path.join(folder, os.path.basename(path)), "wb") as file:
                file.write(self.contents.get(number, b""))

    def _change(self, entry: tuple[Any, ...]) -> None:
        content = self.contents.setdefault(entry[1], bytearray())
        if entry[0] == "truncate":
            del content[entry[2] :]
            content.extend(bytes(entry[2] - len(content)))
        else:
            _, _, place, data = entry
            content.extend(bytes(max(0, place - len(content))))
            content[place : place + len(data)] = data

    def _rename(self, entry: tuple[Any, ...]) -> None:
        if entry[0] == "create":
            self.names[entry[1]] = entry[2]
        elif entry[0] == "unlink":
            self.names.pop(entry[1], None)
        elif entry[0] == "link":
            self.names[entry[2]] = self.names[entry[1]]
        elif entry[1] in self.names:
            self.names[entry[2]] = self.names.pop(entry[1])


def power_losses(batches: int, count: int, seed: int, *, encrypted: bool = False) -> int:
    """While a store is made, written to, searched and folded; how many losses there were.

    Args:
        batches: Committed by the run.
        count: Losses wanted; at least so many are made.
        seed: Of what reaches the disk by chance.
        encrypted: The store is.

    Raises:
        AssertionError: A promised state was not found afterwards.
    """
    record = Record()
    with faults.place_for_a_store(encrypted=encrypted) as path, record.running():
        faults.work(path, batches, record.promise)

    def look(path: str, cut: Cut) -> None:
        faults.expect(path, record.allowed(cut.place), cut.name)
        if cut.number % 10 == 0:
            faults.expect_end(path, batches)

    return _cut_everywhere(record, count, seed, look, encrypted=encrypted)


def losses_between_keys(count: int, seed: int) -> int:
    """While a plain store is encrypted, given another key and decrypted, each time with a journal to fold.

    Raises:
        AssertionError: The store was not found as it was, under the old key or the new one.
    """
    record = Record()
    keys = (None, faults.KEY, OTHER_KEY, None)
    with faults.place_for_a_store() as path, record.running():
        faults.work(path, 2, record.promise)
        state = faults.observe(path)
        assert state is not None
        for number, (key, next_key) in enumerate(pairwise(keys), 2):
            with Hdf5Store(path, key).writer() as writer:
                writer.commit(faults.batch(number))
                state = (state[0] | {number}, *state[1:])
                record.promise(state)
                writer.encrypt(next_key)

    def look(path: str, cut: Cut) -> None:
        assert _observe_with_any(path, keys) in record.allowed(cut.place), cut.name

    return _cut_everywhere(record, count, seed, look)


def losses_in_a_repair(count: int, seed: int) -> int:
    """While a store whose embeddings are damaged is repaired.

    Raises:
        AssertionError: Neither the repaired store was found, nor one that a repair brings to the same.
    """
    record = Record()
    with faults.place_for_a_store() as path, record.running():
        faults.work(path, 2, record.promise)
        with h5py.File(path) as file:
            place = file["embeddings"].id.get_chunk_info(0).byte_offset
        _flip(path, place)
        start = len(record.log)
        assert faults.store_at(path).repair().lost
        repaired = faults.observe(path)

    def look(path: str, cut: Cut) -> None:
        store = faults.store_at(path)
        if store.check():
            store.repair()
        assert faults.observe(path) == repaired, cut.name

    return _cut_everywhere(record, count, seed, look, start=start)


def losses_in_a_search(count: int, seed: int, *, encrypted: bool = False) -> int:
    """While a search notes how far it is, is continued, and gives way to another.

    Raises:
        AssertionError: Less was found than was kept, or other pairs.
    """
    record = Record()
    store_key = StoreKey.create(faults.KEY) if encrypted else None
    with faults.place_for_a_store(encrypted=encrypted) as path, record.running():
        for search in (b"1" * 16, b"2" * 16):
            record.promise((search, 0))
            for session in (range(1, 4), range(4, 7)):
                log = FileSearchLog(path, search, store_key)
                if log.state is None:
                    log.begin({"number": np.frombuffer(search, "<u1")})
                for covered in session:
                    log.append(_pairs(covered))
                    log.cover(covered)
                    log.keep()
                    record.promise((search, covered))
                log.close()

    def look(path: str, cut: Cut) -> None:
        # Before the first promise nothing is expected of a log.
        allowed = [state for state in record.allowed(cut.place) if state is not None]
        search = allowed[0][0]
        log = FileSearchLog(path, search, store_key)
        assert log.covered in [covered for of, covered in allowed if of == search], cut.name
        found = [pair for block in log.pairs() for pair in block.a.tolist()]
        assert found == [pair for k in range(1, log.covered + 1) for pair in _pairs(k).a.tolist()], cut.name
        log.close()

    return _cut_everywhere(record, count, seed, look, encrypted=encrypted)


@dataclass(frozen=True)
class Cut:
    """One power loss: how many came before it, behind which entry of the record, and what it is called."""

    number: int
    place: int
    name: str


def _cut_everywhere(
    record: Record,
    count: int,
    seed: int,
    look: Callable[[str, Cut], None],
    *,
    start: int = 0,
    encrypted: bool = False,
) -> int:
    """Cuts the power at places all over a record, in several ways, and looks at what is left.

    Args:
        record: Of an undisturbed run.
        count: Cuts wanted; at least so many are made.
        seed: Of what reaches the disk by chance.
        look: Told the path of the store that is left, and of the cut; raises where something is wrong.
        start: The first place.
        encrypted: The store is.

    Returns:
        How many cuts were made.
    """
    chance = random.Random(seed)
    entries = len(record.log) + 1 - start
    places = range(start, len(record.log) + 1, max(1, 4 * entries // count))
    by_chance = max(2, -(-count // len(places)) - 2)
    cuts = 0
    for place in places:
        for way in ("lost", "kept", *["chance"] * by_chance):
            platter = Platter(record.log[:place])
            platter.settle(chance if way == "chance" else None, keep=way == "kept")
            with faults.place_for_a_store(encrypted=encrypted) as path:
                platter.store_in(os.path.dirname(path))
                look(path, Cut(cuts, place, f"power cut after {place} entries, writes {way}"))
                cuts += 1
    return cuts


def _observe_with_any(path: str, keys: Sequence[Key | None]) -> faults.State:
    """What a store holds that one of some keys opens."""
    for key in keys:
        with suppress(WrongKeyError):
            return faults.observe(path, key)
    raise AssertionError("no key opens the store")


def _flip(path: str, place: int) -> None:
    """Changes a bit of a file, as damage that is on the disk."""
    descriptor = disk.open(path, os.O_RDWR)
    os.lseek(descriptor, place, os.SEEK_SET)
    (byte,) = os.read(descriptor, 1)
    os.lseek(descriptor, place, os.SEEK_SET)
    disk.write(descriptor, memoryview(bytes([byte ^ 1])))
    disk.flush(descriptor)
    os.close(descriptor)


def _pairs(number: int) -> PairBlock:
    a = np.arange(100 * number, 101 * number)
    return PairBlock(a, a + 1, a / 7, np.zeros(len(a), np.bool_))
