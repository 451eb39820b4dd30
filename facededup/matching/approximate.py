"""The approximate self-join: vectors in lists around centroids, compared list by list; recall is measured.

Each vector lives in the list of its nearest centroid and is compared with the members of its nearest few
lists. A pair is found when either end visits the list of the other. Going list by list makes it one matrix
product a list, of all its visitors with its members; and a pair that both ends could find is reported by the
lower row alone, so nothing has to be remembered.

All vectors are held in memory, with the numbers of the lists each visits and the visitors of each list.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from facededup.matching.flat import exact_cosine, load_faiss
from facededup.matching.parallel import in_parallel
from facededup.matching.screen import STRIP, Screen, scan
from facededup.matching.selfjoin import MARGIN, VERIFIED_AT_ONCE, self_join
from facededup.matching.source import InMemory, Stacked, VectorSource
from facededup.progress import Progress, SilentProgress
from facededup.store.base import PairBlock
from facededup.types import Floats

Rows = NDArray[np.int64]

VECTORS_A_CENTROID = 48
"""Of the training sample."""

TUNING_QUERIES = 5_000
TUNED_AT_ONCE = 65_536
"""Pairs of the tuning whose ends' lists are looked up together."""
STANDARD_ERRORS = 2
"""The tuning's own recall is taken for so many of its standard errors less than it is."""
RECALL_QUERIES = 5_000
MOST_VISITS = 256
BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Recall:
    """The part of all pairs that a search found, measured on random faces.

    Attributes:
        value: Pairs of the queries found, of all pairs an exact search gives for them; 1 if there are none.
        low: Lower end of the 95% Wilson interval, in which a query counts once however many pairs it has,
            for the pairs of one face are found or missed together, and one without any does not count.
        high: Its upper end.
        queries: Faces drawn.
        pairs: Pairs they have.
    """

    value: float
    low: float
    high: float
    queries: int
    pairs: int


class Lists:
    """Centroids, and which lists each vector visits, its own first.

    Attributes:
        count: Number of lists.
        visits: int16 or int32 (n, visits), by falling nearness.
    """

    def __init__(self, count: int, visits: NDArray[np.signedinteger]) -> None:
        self.visits = visits
        self.members, self._member_start = _by_list(visits[:, :1], count)
        self.visitors, self._visitor_start = _by_list(visits, count)
        self.count = count

    def members_of(self, number: int) -> NDArray[np.int32]:
        """Rows whose own list it is."""
        return self.members[self._member_start[number] : self._member_start[number + 1]]

    def visitors_of(self, number: int) -> NDArray[np.int32]:
        """Rows that visit it, members among them."""
        return self.visitors[self._visitor_start[number] : self._visitor_start[number + 1]]

    def visits_home_of(self, rows: Rows, others: Rows) -> NDArray[np.bool_]:
        """For each of `rows` whether it visits the list in which the one of `others` lives."""
        found: NDArray[np.bool_] = (self.visits[rows] == self.visits[others, 0][:, None]).any(axis=1)
        return found


def approximate_join(
    vectors: Floats,
    lists: Lists,
    cut: float,
    *,
    group: NDArray[np.int64],
    since: int = 0,
    progress: Progress | None = None,
    covered: Callable[[int], None] | None = None,
) -> Iterator[PairBlock]:
    """The pairs of rows at or above a cut of which one visits the list of the other.

    Args:
        vectors: float32 (n, d), L2-normalised to 1 within 1e-6.
        lists: Of these vectors.
        cut: Lowest cosine of a pair.
        group: int64 (n,); two rows of one group are never a pair.
        since: Lists before this have been joined already.
        progress: Receives the step `search`, in lists.
        covered: Told, when the pairs of a list were taken, how many lists that makes.

    Yields:
        The pairs of one list, as rows a < b, sorted; `new` is all False. Cosines are exact.
    """
    progress = progress or SilentProgress()
    numbers = range(since, lists.count)
    progress.start("search", len(numbers))
    tasks = (partial(_join_list, vectors, lists, number, cut, group) for number in numbers)
    with closing(in_parallel(tasks)) as blocks:
        for number, block in zip(numbers, blocks, strict=True):
            if len(block):
                yield block
            if covered is not None:
                covered(number + 1)
            progress.advance()
    progress.finish()


def _join_list(vectors: Floats, lists: Lists, number: int, cut: float, group: NDArray[np.int64]) -> PairBlock:
    members = lists.members_of(number).astype(np.int64)
    visitors = lists.visitors_of(number)
    base = vectors[members]
    found_a, found_b, cosines = [], [], []
    for start in range(0, len(visitors), STRIP):
        rows = visitors[start : start + STRIP].astype(np.int64)
        i, j = scan(vectors[rows], base, cut - MARGIN)
        here, there = rows[i], members[j]
        wanted = np.flatnonzero(group[here] != group[there])
        here, there = here[wanted], there[wanted]
        # The higher end reports only what the lower one does not come by.
        late = np.flatnonzero(here > there)
        reported = np.ones(len(here), np.bool_)
        reported[late] = ~lists.visits_home_of(there[late], here[late])
        here, there = here[reported], there[reported]
        for first in range(0, len(here), VERIFIED_AT_ONCE):
            some = slice(first, first + VERIFIED_AT_ONCE)
            cosine = exact_cosine(vectors[here[some]], vectors[there[some]])
            kept = cosine >= cut
            found_a.append(np.minimum(here[some], there[some])[kept])
            found_b.append(np.maximum(here[some], there[some])[kept])
            cosines.append(cosine[kept])
    if not found_a:
        empty = np.empty(0, np.int64)
        return PairBlock(empty, empty, np.empty(0), np.empty(0, np.bool_))
    a, b, cosine = np.concatenate(found_a), np.concatenate(found_b), np.concatenate(cosines)
    order = np.lexsort((b, a))
    return PairBlock(a[order], b[order], cosine[order], np.zeros(len(a), np.bool_))


def tune_lists(
    vectors: Floats,
    cut: float,
    target: float,
    *,
    group: NDArray[np.int64],
    screen: Screen | None = None,
    lists: int | None = None,
    seed: int = 0,
) -> Lists:
    """Trains centroids and finds how many lists each vector must visit to reach a recall on a sample.

    Args:
        vectors: float32 (n, d), n at least 1.
        cut: Lowest cosine of a pair.
        target: Part of the pairs to find; the sample must reach it by `STANDARD_ERRORS`.
        group: int64 (n,), as for the join.
        screen: For the exact search of the sample.
        lists: How many; None takes about four times the root of n.
        seed: Of the training and the sample.

    Raises:
        PackageMissingError: FAISS is not installed.
    """
    count = lists or max(1, min(len(vectors), 2 ** round(math.log2(4 * math.sqrt(len(vectors))))))
    centroids = _train(vectors, count, seed)
    sample = _draw(len(vectors), TUNING_QUERIES, seed + 1)
    rows, others = _neighbours_of(InMemory(vectors), sample, cut, group, screen)
    needed = _needed_visits(vectors, centroids, rows, others)
    visits = enough_visits(
        needed, np.searchsorted(sample, rows), allowed=1.0 - target, most=min(count, MOST_VISITS)
    )
    return Lists(count, _visits(vectors, centroids, visits))


def _needed_visits(vectors: Floats, centroids: Floats, rows: Rows, others: Rows) -> Rows:
    """How many visits find each pair; one more than the most where these do not."""
    most = min(len(centroids), MOST_VISITS)
    needed = [np.empty(0, np.int64)]
    for start in range(0, len(rows), TUNED_AT_ONCE):
        some = slice(start, start + TUNED_AT_ONCE)
        ends, place = np.unique(np.concatenate((rows[some], others[some])), return_inverse=True)
        nearest = _visits(vectors[ends], centroids, most)
        here, there = np.split(place, 2)
        there_from_here = _rank(nearest[here], nearest[there, 0], most)
        here_from_there = _rank(nearest[there], nearest[here, 0], most)
        needed.append(1 + np.minimum(there_from_here, here_from_there))
    return np.concatenate(needed)


def enough_visits(needed: Rows, query: Rows, *, allowed: float, most: int) -> int:
    """The fewest visits at which the part of missed pairs is surely no more than is allowed.

    That part is a ratio of two sums over queries; its standard error is that of the sum of what each query
    misses beyond its share (Cochran, "Sampling Techniques", 1977, chapter 6), so that pairs found or
    missed together count as what they are.

    Args:
        needed: int64 (p,), by pair.
        query: int64 (p,), the query of each pair.
        allowed: Part of the pairs that may be missed.
        most: Visits at most.
    """
    pairs = np.bincount(query)
    for visits in range(1, most):
        missed = np.bincount(query, needed > visits)
        part = missed.sum() / max(1, len(needed))
        error = np.sqrt(((missed - part * pairs) ** 2).sum()) / max(1, len(needed))
        if part + STANDARD_ERRORS * error <= allowed:
            return visits
    return most


class RecallMeter:
    """Counts, while a search goes on, its pairs of some random faces, and compares with an exact search.

    Args:
        count: Faces in all.
        seed: Of the draw; another one than the tuning's.
    """

    def __init__(self, count: int, seed: int = 2) -> None:
        self.sample = _draw(count, RECALL_QUERIES, seed)
        self._drawn = np.zeros(count, np.bool_)
        self._drawn[self.sample] = True
        self._found = 0

    def counted(self, blocks: Iterable[PairBlock]) -> Iterator[PairBlock]:
        """Hands on the pairs found and takes note of them."""
        for block in blocks:
            self._found += int(self._drawn[block.a].sum()) + int(self._drawn[block.b].sum())
            yield block

    def measure(
        self, source: VectorSource, cut: float, *, group: NDArray[np.int64], screen: Screen | None
    ) -> Recall:
        """Searches the random faces exactly; every pair found is one of its pairs."""
        rows, _ = _neighbours_of(source, self.sample, cut, group, screen)
        value = self._found / len(rows) if len(rows) else 1.0
        low, high = wilson_interval(value, len(np.unique(rows)))
        return Recall(value, low, high, len(self.sample), len(rows))


def wilson_interval(share: float, trials: int) -> tuple[float, float]:
    """The 95% score interval of a share (Wilson, Journal of the American Statistical Association 22, 1927).

    Args:
        share: Of independent trials that came out so, 0 to 1.
        trials: All of them; without any the interval is 0 to 1.
    """
    if not trials:
        return 0.0, 1.0
    z = 1.959964
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # Rounding must not put a share of 0 or 1 outside.
    return max(0.0, min(share, (centre - half) / scale)), min(1.0, max(share, (centre + half) / scale))


def _neighbours_of(
    source: VectorSource, sample: Rows, cut: float, group: NDArray[np.int64], screen: Screen | None
) -> tuple[Rows, Rows]:
    """All pairs of some rows with any row, by exact search: the row of the sample and the other."""
    count = len(sample)
    queries = np.concatenate(
        [np.empty((0, source.dimension), np.float32), *(source.rows(row, row + 1) for row in sample.tolist())]
    )
    stacked = Stacked(InMemory(queries), source)
    groups = np.concatenate((group[sample], group))
    blocks = list(self_join(stacked, cut, group=groups, since=count, until=count, screen=screen))
    if not blocks:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    a, b = (np.concatenate([getattr(block, name) for block in blocks]) for name in ("a", "b"))
    return sample[a], b - count


def _draw(count: int, wanted: int, seed: int) -> Rows:
    """Ascending rows, each once."""
    return np.sort(np.random.default_rng(seed).choice(count, min(wanted, count), replace=False))


def _rank(nearest: NDArray[np.signedinteger], wanted: NDArray[np.signedinteger], most: int) -> Rows:
    """The place of a number in each row of `nearest`, `most` where it is not there."""
    hits = nearest == wanted[:, None]
    return np.where(hits.any(axis=1), hits.argmax(axis=1), most)


def _by_list(visits: NDArray[np.signedinteger], count: int) -> tuple[NDArray[np.int32], Rows]:
    """The rows that visit each list, list after list, and where each list's begin: int64 (count + 1,)."""
    starts = np.zeros(count + 1, np.int64)
    for first in range(0, len(visits), BLOCK):
        starts[1:] += np.bincount(visits[first : first + BLOCK].ravel(), minlength=count)
    np.cumsum(starts, out=starts)
    rows = np.empty(visits.size, np.int32)
    free = starts[:-1].copy()
    for first in range(0, len(visits), BLOCK):
        numbers = visits[first : first + BLOCK].ravel()
        order = np.argsort(numbers, kind="stable")
        sizes = np.bincount(numbers, minlength=count)
        # The k-th of a list's visitors in this block goes to the k-th free place of that list.
        places = np.repeat(free - np.cumsum(sizes) + sizes, sizes) + np.arange(len(order))
        rows[places] = first + order // visits.shape[1]
        free += sizes
    return rows, starts


def _train(vectors: Floats, count: int, seed: int) -> Floats:
    """Centroids of a random sample, normalised: float32 (count, d)."""
    sample = vectors[_draw(len(vectors), count * VECTORS_A_CENTROID, seed)]
    kmeans = load_faiss().Kmeans(
        vectors.shape[1],
        count,
        niter=6,
        spherical=True,
        seed=seed + 1,
        min_points_per_centroid=1,
        max_points_per_centroid=VECTORS_A_CENTROID,
    )
    kmeans.train(sample)
    centroids: Floats = kmeans.centroids
    return centroids


def _visits(vectors: Floats, centroids: Floats, visits: int) -> NDArray[np.signedinteger]:
    """The nearest lists of each vector, nearest first."""
    index = load_faiss().IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    kind = np.int16 if len(centroids) <= np.iinfo(np.int16).max else np.int32
    found = np.empty((len(vectors), visits), kind)
    for start in range(0, len(vectors), BLOCK):
        found[start : start + BLOCK] = index.search(vectors[start : start + BLOCK], visits)[1]
    return found
