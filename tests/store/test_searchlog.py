"""The log of an unfinished search: what it gives back after a kill is what was covered, never more."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facededup.store import searchlog
from facededup.store.base import PairBlock
from facededup.store.searchlog import ENDING, FileSearchLog

KEY = b"k" * 16
STATE = {"visits": np.arange(20, dtype="<i2").reshape(10, 2), "lists": np.array([4], "<i8")}


def block(*rows):
    a = np.array(rows, np.int64)
    return PairBlock(a, a + 1, a / 7, np.zeros(len(a), np.bool_))


def kept(path, key=KEY):
    """How far the log says the search came, the pairs it gives and the state."""
    log = FileSearchLog(path, key)
    parts = list(log.pairs())
    log.close()
    for part in parts:
        assert (part.b == part.a + 1).all()
        assert (part.cosine == part.a / 7).all()
    return log.covered, [row for part in parts for row in part.a.tolist()], log.state


def written(path, pairs=3):
    log = FileSearchLog(path, KEY)
    log.begin(STATE)
    log.append(block(*range(pairs)))
    log.cover(1)
    log.keep()
    return log


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.sampled_from(["append", "cover", "keep", "reopen"]), max_size=30),
    st.booleans(),
    st.sampled_from([1, 3, 1000]),
)
def test_what_is_kept_is_what_was_covered(tmp_path_factory, steps, at_once, buffer):
    path = str(tmp_path_factory.mktemp("log") / "store.h5")
    appended, calls, durable = 0, [0], 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searchlog, "KEEP_SECONDS", 0.0 if at_once else 1e9)
        patch.setattr(searchlog, "_BUFFER_PAIRS", buffer)
        patch.setattr(searchlog, "_STATE_BYTES", 8)
        log = FileSearchLog(path, KEY)
        log.begin(STATE)
        for step in steps:
            if step == "append":
                log.append(block(appended, appended + 1))
                appended += 2
            elif step == "cover":
                calls.append(appended)
                log.cover(len(calls) - 1)
            elif step == "keep":
                log.keep()
            else:  # as after a kill
                log.close()
                log = FileSearchLog(path, KEY)
                del calls[log.covered + 1 :]
                appended = calls[-1]
                if log.state is None:
                    log.begin(STATE)
            if step == "keep" or (at_once and step == "cover"):
                durable = len(calls) - 1
            assert log.covered >= durable or step == "reopen"
        log.close()
    covered, found, state = kept(path)
    assert covered >= durable
    assert found == list(range(calls[covered]))
    if covered:
        assert {name: array.tolist() for name, array in state.items()} == {
            name: array.tolist() for name, array in STATE.items()
        }


def test_a_short_search_writes_no_file(tmp_path):
    path = str(tmp_path / "store.h5")
    log = FileSearchLog(path, KEY)
    log.begin({})
    log.append(block(1, 2))
    log.cover(5)
    log.remove()
    assert os.listdir(tmp_path) == []


def test_another_search_finds_nothing_and_begins_anew(tmp_path):
    path = str(tmp_path / "store.h5")
    written(path).close()
    assert kept(path)[:2] == (1, [0, 1, 2])
    assert kept(path, b"o" * 16) == (0, [], None)
    other = FileSearchLog(path, b"o" * 16)
    other.begin({})
    other.append(block(9))
    other.cover(7)
    other.keep()
    other.close()
    assert kept(path, b"o" * 16) == (7, [9], {})
    assert kept(path) == (0, [], None)


@pytest.mark.parametrize("place", [3, 60, -3])
def test_a_damaged_log_counts_for_nothing_it_cannot_prove(tmp_path, place):
    path = str(tmp_path / "store.h5")
    written(path).close()
    data = bytearray((tmp_path / f"store.h5{ENDING}").read_bytes())
    data[place] ^= 1
    (tmp_path / f"store.h5{ENDING}").write_bytes(data)
    assert kept(path) == (0, [], None)
    written(path, pairs=2).close()
    assert kept(path)[:2] == (1, [0, 1])


def test_a_torn_tail_is_cut_off_and_the_log_goes_on(tmp_path):
    path = str(tmp_path / "store.h5")
    log = written(path)
    log.append(block(3))
    log.cover(2)
    log.keep()
    log.close()
    file = tmp_path / f"store.h5{ENDING}"
    file.write_bytes(file.read_bytes()[:-5])
    log = FileSearchLog(path, KEY)
    assert (log.covered, [part.a.tolist() for part in log.pairs()]) == (1, [[0, 1, 2]])
    log.append(block(3, 4))
    log.cover(2)
    log.keep()
    log.close()
    assert kept(path)[:2] == (2, [0, 1, 2, 3, 4])
    assert os.stat(file).st_mode & 0o777 == 0o600
