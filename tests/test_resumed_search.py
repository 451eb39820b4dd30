"""`find` killed in the midst of its search, and the `find` after it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys

import pytest
from synthetic import add_images, people

import facededup
from facededup.progress import SilentProgress
from facededup.store import searchlog

# Kills itself after so many advances of the search; keeps its log at once.
KILLED = """
import os, signal, sys
import facededup
from facededup.store import searchlog

searchlog.KEEP_SECONDS = 0.0
store, index, left = sys.argv[1], sys.argv[2], int(sys.argv[3])

class Killer:
    def start(self, step, total):
        self.step = step
    def advance(self, amount=1):
        global left
        left -= self.step == "search"
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    def finish(self):
        pass

facededup.find(store=store, index=index, progress=Killer())
"""


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """More faces than one column of blocks holds; not to be changed."""
    location = str(tmp_path_factory.mktemp("large") / "faces.h5")
    vectors = people(3_300, 3)
    add_images(location, {f"/made/up/{n:05}.jpg": (n, vectors[[n]]) for n in range(len(vectors))})
    return location


@pytest.fixture
def store(large, tmp_path):
    return shutil.copy(large, str(tmp_path / "faces.h5"))


def killed(store, index, advances):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, store, index, str(advances)], check=False, stderr=subprocess.PIPE
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert os.path.exists(store + searchlog.ENDING)


def listed(result):
    return [(pair.a, pair.b, pair.cosine, pair.new) for pair in result.pairs]


# Blocks of 4,096 rows are searched in the order (0,0), (0,1), (1,1), (0,2), (1,2), (2,2), each (k,k) in two.
@pytest.mark.parametrize(("index", "advances"), [("flat", 3), ("flat", 7), ("ivf", 150)])
def test_a_killed_search_is_continued_and_finds_the_same(store, large, tmp_path, index, advances):
    killed(store, index, advances)
    killed(store, index, 3)
    result = facededup.find(store=store, index=index)
    assert result.search["continued"]
    assert not os.path.exists(store + searchlog.ENDING)
    fresh = facededup.find(store=shutil.copy(large, str(tmp_path / "fresh.h5")), index="flat")
    assert "continued" not in fresh.search
    if index == "flat":
        assert listed(result) == listed(fresh)
    else:
        assert result.search["recall"] >= 0.99
        assert set(listed(result)) <= set(listed(fresh))
        assert len(set(listed(result))) == result.pairs_total >= 0.99 * fresh.pairs_total


def test_what_was_found_for_other_faces_or_another_threshold_counts_for_nothing(store):
    killed(store, "flat", 3)
    assert "continued" not in facededup.find(store=store, threshold=0.5).search
    killed(store, "flat", 3)
    vectors = people(1, 2, seed=5)
    add_images(store, {f"/new/{n}.jpg": (20_000 + n, vectors[[n]]) for n in range(2)})
    result = facededup.find(store=store)
    assert "continued" not in result.search
    assert result.pairs_total == 3 * 3_300 + 1


def test_a_stopped_search_is_continued_however_short_it_was(store):
    class Stopped(SilentProgress):
        left = 4

        def advance(self, *_):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        facededup.find(store=store, progress=Stopped())
    result = facededup.find(store=store)
    assert result.search["continued"]
    assert result.pairs_total == 3 * 3_300


def test_forgetting_anybody_forgets_the_unfinished_search(store):
    killed(store, "flat", 3)
    facededup.forget(["/made/up/00007.jpg"], store=store)
    assert not os.path.exists(store + searchlog.ENDING)


def test_ctrl_c_is_exit_code_130_and_says_that_the_search_goes_on(store):
    program = KILLED.replace("signal.SIGKILL", "signal.SIGINT").replace(
        "facededup.find(store=store, index=index, progress=Killer())",
        "import facededup.cli.options as options; options.request.SilentProgress = Killer\n"
        "from facededup.cli.app import app; app(['find', '--store', store, '--index', index])",
    )
    done = subprocess.run(
        [sys.executable, "-c", program, store, "flat", "4"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 130
    assert "the same command continues the search" in done.stderr
    assert os.path.exists(store + searchlog.ENDING)
