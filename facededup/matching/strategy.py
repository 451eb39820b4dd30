"""Which search finds the pairs: exact with or without a screen, or approximate with its recall measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facededup.matching.approximate import BLOCK, Lists, RecallMeter, approximate_join, tune_lists
from facededup.matching.device_join import join_on_devices
from facededup.matching.hnsw import LINKS, SEARCH_EFFORT, hnsw_join
from facededup.matching.parallel import usable_cores
from facededup.matching.planning import SearchPlan, plan_search
from facededup.matching.screen import Screen
from facededup.matching.selfjoin import comparisons, self_join
from facededup.matching.source import VectorSource
from facededup.matching.tiles import TileSearch
from facededup.progress import Progress
from facededup.store.base import PairBlock, SearchLog
from facededup.types import Array, Floats

PLANNED_FROM = 300_000_000
"""Comparisons from which planning, a fifth of a second, is earned back."""

LONG_SEARCH = 600.0
"""Seconds of exact search above which `auto` takes the approximate one."""

USUAL_SECONDS = 6e-9
"""Of a comparison on one core, for searches too short to measure."""


class Join(Protocol):
    """An exact search such as `selfjoin.self_join`, which says what the arguments mean."""

    def __call__(
        self,
        source: VectorSource,
        cut: float,
        *,
        group: NDArray[np.int64],
        since: int,
        screen: Screen | None,
        progress: Progress,
        covered: Callable[[int], None],
    ) -> Iterator[PairBlock]:
        """The pairs, in an order that lets a search be continued from what is covered."""


class PairSearch:
    """One search of all vectors, or of the last of them against all.

    Args:
        source: n vectors.
        cut: Lowest cosine of a pair.
        group: int64 (n,); two rows of one group are never a pair.
        since: Rows before this have been compared with each other already.
        index: `flat` searches exactly, `ivf` and `hnsw` approximately, `auto` exactly unless that takes
            `LONG_SEARCH`.
        recall: Part of the pairs an approximate search is tuned to find.
        progress: Receives the advance.
        searches: One for each GPU; they search exactly. Empty for the CPU.
        log: Where the search notes how far it is, and finds how far it was before it was interrupted.
        join: Searches exactly in the place of `self_join`, on other machines say.

    Attributes:
        complete: Whether the search gives every pair.
        since: As given; 0 where the search compares everything anyway.
        facts: Plain values for the findings: engine, index, device, expected seconds of an exact search of
            all vectors and, once an approximate search is through, its measured recall.
    """

    def __init__(
        self,
        source: VectorSource,
        cut: float,
        *,
        group: NDArray[np.int64],
        since: int,
        index: str,
        recall: float,
        progress: Progress,
        searches: Sequence[TileSearch] = (),
        log: SearchLog | None = None,
        join: Join | None = None,
    ) -> None:
        self._source = source
        self._cut = cut
        self._group = group
        self._target = recall
        self._progress = progress
        self._log = log or _NoLog()
        self._searches = searches
        self._join: Join = join or self_join
        if searches:
            self.complete, self.since = True, since
            self.facts: dict[str, Any] = {"device": "GPU"}
            self._method = "gpu"
            return
        work = comparisons(len(source), since)
        planned = work >= PLANNED_FROM or (index in ("ivf", "hnsw") and len(source) > 1)
        self._plan = plan_search(source, cut) if planned else SearchPlan(None, USUAL_SECONDS)
        expected = self._plan.seconds(work)
        # What is new is few: an approximate search of everything would cost more than comparing it exactly.
        method = index if index in ("ivf", "hnsw") and since == 0 else "flat"
        if join is not None:
            method = "flat"
        elif index == "auto" and self._log.state is not None:
            method = "ivf" if "visits" in self._log.state else "flat"  # the plan, timed anew, might waver
        elif index == "auto" and expected > LONG_SEARCH:
            method = "ivf"
        self._method = method if len(source) > 1 else "flat"
        self.complete = self._method == "flat"
        self.since = since if self.complete else 0
        self.facts = {
            "device": "CPU",
            "exact_seconds_expected": round(self._plan.seconds(comparisons(len(source))), 1),
        }

    def blocks(self) -> Iterator[PairBlock]:
        """The pairs, as `self_join` gives them; first those found before an interruption."""
        return {
            "gpu": self._on_gpus,
            "flat": self._exact,
            "ivf": self._by_lists,
            "hnsw": self._by_graph,
        }[self._method]()

    def _on_gpus(self) -> Iterator[PairBlock]:
        yield from self._found_before()
        search = join_on_devices(
            self._source,
            self._cut,
            group=self._group,
            searches=self._searches,
            since=max(self.since, self._log.covered),
            progress=self._progress,
            covered=self._log.cover,
        )
        yield from self._noted(search)
        self.facts |= {**_sum_facts(self._searches), "devices": [search.device for search in self._searches]}

    def _exact(self) -> Iterator[PairBlock]:
        screen = self._plan.screen
        if screen is None:
            self.facts |= {"engine": "faiss", "index": "IndexFlatIP"}
        elif screen.whole:
            self.facts |= {"engine": "numpy", "index": "products"}
        else:
            self.facts |= {"engine": "numpy", "index": "screen", "axes": screen.axes.shape[1]}
        if self._join is self_join:
            self.facts["threads"] = usable_cores()
        yield from self._found_before()
        search = self._join(
            self._source,
            self._cut,
            group=self._group,
            since=max(self.since, self._log.covered),
            screen=screen,
            progress=self._progress,
            covered=self._log.cover,
        )
        yield from self._noted(search)

    def _by_lists(self) -> Iterator[PairBlock]:
        vectors = self._read()
        lists = self._lists(vectors)
        self.facts |= {
            "engine": "faiss",
            "index": "lists",
            "lists": lists.count,
            "visits": lists.visits.shape[1],
            "target_recall": self._target,
        }
        meter = RecallMeter(len(vectors))
        yield from meter.counted(self._found_before())
        search = approximate_join(
            vectors,
            lists,
            self._cut,
            group=self._group,
            since=self._log.covered,
            progress=self._progress,
            covered=self._log.cover,
        )
        yield from self._noted(meter.counted(search))
        self._measure(meter)

    def _by_graph(self) -> Iterator[PairBlock]:
        vectors = self._read()
        self.facts |= {"engine": "faiss", "index": "hnsw", "links": LINKS, "search_effort": SEARCH_EFFORT}
        meter = RecallMeter(len(vectors))
        search = hnsw_join(vectors, self._cut, group=self._group, progress=self._progress)
        yield from meter.counted(search)
        self._measure(meter)

    def _lists(self, vectors: Floats) -> Lists:
        """Those of the search that was interrupted, else new ones."""
        state = self._log.state
        if state is not None and "visits" in state:
            return Lists(int(state["lists"][0]), state["visits"])
        self._progress.start("tune", None)
        lists = tune_lists(vectors, self._cut, self._target, group=self._group, screen=self._plan.screen)
        self._progress.finish()
        self._log.begin({"lists": np.array([lists.count], "<i8"), "visits": lists.visits})
        return lists

    def _found_before(self) -> Iterator[PairBlock]:
        if self._log.state is None or (self.complete and "visits" in self._log.state):
            self._log.begin({})
        if self._log.covered:
            self.facts["continued"] = True
            yield from self._log.pairs()

    def _noted(self, blocks: Iterator[PairBlock]) -> Iterator[PairBlock]:
        for block in blocks:
            self._log.append(block)
            yield block

    def _measure(self, meter: RecallMeter) -> None:
        self._progress.start("recall", None)
        recall = meter.measure(self._source, self._cut, group=self._group, screen=self._plan.screen)
        self._progress.finish()
        self.facts |= {
            "recall": recall.value,
            "recall_interval": [recall.low, recall.high],
            "recall_queries": recall.queries,
            "recall_pairs": recall.pairs,
        }

    def _read(self) -> Floats:
        vectors = np.empty((len(self._source), self._source.dimension), np.float32)
        for start in range(0, len(vectors), BLOCK):
            stop = min(start + BLOCK, len(vectors))
            vectors[start:stop] = self._source.rows(start, stop)
        return vectors


def _sum_facts(searches: Sequence[TileSearch]) -> dict[str, Any]:
    """The facts of all devices: what they count is added up, and the rest is the same for all."""
    facts = dict(searches[0].facts)
    for name, value in facts.items():
        if isinstance(value, int):
            facts[name] = sum(search.facts[name] for search in searches)
    return facts


class _NoLog:
    """Nothing is noted, nothing is continued."""

    state: Mapping[str, Array] | None = None
    covered = 0

    def pairs(self) -> Iterator[PairBlock]:
        return iter(())

    def begin(self, state: Mapping[str, Array]) -> None:
        pass

    def append(self, block: PairBlock) -> None:
        pass

    def cover(self, covered: int) -> None:
        pass

    def keep(self) -> None:
        pass

    def remove(self) -> None:
        pass
