"""How many axes of a screen an exact search should use, and what it will cost: timed on a sample.

Fewer axes multiply faster and leave more candidates to be verified; where the best number lies depends on the
data, the cut and the processor. So the very task of the search is run on a sample with each number, and
everything it does is timed, verification of the real candidates included: on all cores at once, as they share
caches and memory; all numbers in turn, again and again, so that nothing that slows the machine for a while
falls on one of them; and in seconds of the thread, which do not count the time that other programs take.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from functools import partial

import numpy as np

from facededup.matching.parallel import in_parallel, one_blas_thread, usable_cores
from facededup.matching.screen import STRIP, Doubles, Screen, scan
from facededup.matching.selfjoin import search_strip
from facededup.matching.source import VectorSource
from facededup.types import Floats

SAMPLE_RUNS = 16
RUN = 256
"""The sample is so many runs of so many rows each, spread evenly: runs are cheap to read."""

GAIN = 0.9
"""Fewer axes than all are used where they are expected to take less than this part of the time."""

DENSE = 1 / 16
"""Where more than this part of all couples are left, tiles of a fixed size would hold too many of them."""

HOPELESS = 1.5
"""Numbers of axes that take so many times as long as the best in the first round are not timed again."""

ROUNDS = 5
FEW = 256
"""Queries that tell how much a screen leaves."""

task_seconds = time.perf_counter if sys.platform == "win32" else time.thread_time
"""Windows counts the seconds of a thread in steps longer than a task."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchPlan:
    """How to search exactly, and what it will cost.

    Attributes:
        screen: The bound to use, None where so much is near that none would rule out anything.
        comparison_seconds: Of one core for one comparison.
    """

    screen: Screen | None
    comparison_seconds: float

    def seconds(self, comparisons: int) -> float:
        """Expected wall time on all cores where nothing else runs on them."""
        return comparisons * self.comparison_seconds / usable_cores()


def plan_search(source: VectorSource, cut: float) -> SearchPlan:
    """Chooses the number of axes by timing some on a sample of the vectors.

    Args:
        source: n vectors, at least 2.
        cut: Lowest cosine of a pair.
    """
    with one_blas_thread():
        return _fastest(source, cut)


def _fastest(source: VectorSource, cut: float) -> SearchPlan:
    queries, base = _samples(source)
    axes = _strongest_axes(np.concatenate((queries, base)))
    queries = _evenly(queries, STRIP)
    whole, *fewer = (
        _Trial(Screen(axes[:, :m]), queries, base, cut)
        for m in (source.dimension, *_candidates(source.dimension))
    )
    if whole.left > DENSE:
        return SearchPlan(None, _timed([whole], 1)[0])
    trials = [whole, *(trial for trial in fewer if trial.left <= DENSE)]
    once = _timed(trials, 1)
    trials = [trial for trial, spent in zip(trials, once, strict=True) if spent <= HOPELESS * min(once)]
    spent = _timed(trials, ROUNDS)
    best = int(np.argmin(spent))
    if trials[0] is whole and spent[best] > GAIN * spent[0]:
        best = 0
    return SearchPlan(trials[best].screen, spent[best])


class _Trial:
    """A task of the search on a sample.

    Attributes:
        screen: What it tries.
        left: The part of the couples that the screen does not rule out, of some queries.
    """

    def __init__(self, screen: Screen, queries: Floats, base: Floats, cut: float) -> None:
        self.screen = screen
        short = screen.project(queries), screen.project(base)
        least = cut - screen.slack
        few = _evenly(short[0], FEW)
        self.left = len(scan(few, short[1], least)[0]) / (len(few) * len(base))
        self._comparisons = len(queries) * len(base)
        self._task = partial(
            search_strip,
            (queries, base),
            short,
            least,
            top=0,
            left=(len(queries), 0),
            cut=cut,
            group=np.arange(len(queries) + len(base)),
        )

    def __call__(self) -> float:
        """Seconds a comparison takes."""
        started = task_seconds()
        self._task()
        return (task_seconds() - started) / self._comparisons


def _timed(trials: list[_Trial], rounds: int) -> list[float]:
    """Of each the median over some rounds, in each of which every core runs every trial."""
    cores = usable_cores()
    tasks = [trial for _ in range(rounds) for trial in trials for _ in range(cores)]
    spent = np.array(list(in_parallel(tasks))).reshape(rounds, len(trials), cores)
    medians: list[float] = np.median(spent, axis=(0, 2)).tolist()
    return medians


def _candidates(dimension: int) -> list[int]:
    """Numbers of axes worth trying; one more than each is a multiple of 8, which multiplies fastest."""
    steps = (24, 32, 40, 48, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024)
    return [step - 1 for step in steps if step < 0.8 * dimension]


def _samples(source: VectorSource) -> tuple[Floats, Floats]:
    """Two halves of a sample; neighbours, which are often one person, are in the same half."""
    count = len(source)
    if count <= SAMPLE_RUNS * RUN:
        rows = source.rows(0, count)
        return rows[: (count + 1) // 2], rows[count // 2 :]
    starts = np.linspace(0, count - RUN, SAMPLE_RUNS).astype(int).tolist()
    runs = [source.rows(start, start + RUN) for start in starts]
    return np.concatenate(runs[::2]), np.concatenate(runs[1::2])


def _evenly(rows: Floats, most: int) -> Floats:
    """Some of the rows, evenly spread."""
    return rows[:: -(-len(rows) // most)]


def _strongest_axes(sample: Floats) -> Doubles:
    """All axes of the sample's second moments, not centred, by falling energy: float64 (d, d)."""
    wide = sample.astype(np.float64)
    axes: Doubles = np.linalg.eigh(wide.T @ wide)[1][:, ::-1]
    return axes
