"""Two rules for the cosine of similarity 0.4 with several views, by clusters of people not used for it.

The default embeds one view and takes 0.93. With mirrors and cuts the cosine of 0.4 is either where strangers
match as often as they do there (equal false match rate), or where a pair speaks as strongly for one person
(equal likelihood ratio; `impostors.py` takes this one). Half of the people give the cut, pairwise F of
average linkage is of the others, for both halves of each split. Takes three stores made with
`index --faces center`: of one view, with --flip, and with --flip --crops 5.
"""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np
from clustering import labelled, scores
from common import report, table
from impostors import likelihood_ratio
from selfjoin import Rows

from facededup.matching.clusters import average_linkage
from facededup.matching.selfjoin import self_join
from facededup.types import Array, Floats

DEFAULT = 0.93
STEP = 0.0002
_SEARCHED = np.arange(0.925, 0.95, STEP)


def cosines(vectors: Floats, people: Array) -> tuple[Floats, Floats]:
    """Of all pairs of one person, and of two, ascending."""
    upper = np.triu_indices(len(vectors), 1)
    values = (vectors @ vectors.T)[upper]
    same = people[upper[0]] == people[upper[1]]
    return np.sort(values[same]), np.sort(values[~same])


def share(ascending: Floats, cut: float) -> float:
    """The part at or above a cut."""
    return 1 - float(np.searchsorted(ascending, cut)) / len(ascending)


def pairwise_f(vectors: Floats, people: Array, cut: float) -> float:
    """Of average linkage at a cut."""
    count = len(vectors)
    blocks = list(self_join(Rows(vectors), cut, group=np.arange(count), screen=None))
    labels = average_linkage(count, partial(iter, blocks), vectors.__getitem__, cut)
    return scores(labels, people)["F"]


def main() -> None:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("one_view", help="a store of one view")
    made.add_argument("several", nargs="+", help="stores of several views")
    made.add_argument("--splits", type=int, default=3)
    made.add_argument("--json", help="write the figures here, too")
    given = made.parse_args()
    stores = {path: labelled(path) for path in (given.one_view, *given.several)}
    number = int(stores[given.one_view][1].max()) + 1
    rows: list[list[float]] = []
    for seed in range(given.splits):
        half = np.random.default_rng(seed).permutation(number) < number // 2
        for chosen in (half, ~half):
            row: list[float] = []
            for path, (vectors, people) in stores.items():
                used = chosen[people]
                genuine, impostors = cosines(vectors[used], people[used])
                true, false = partial(share, genuine), partial(share, impostors)
                if path == given.one_view:
                    ratio, rate = likelihood_ratio(DEFAULT, true, false), false(DEFAULT)
                    cuts = [DEFAULT]
                else:
                    ratios = [likelihood_ratio(cut, true, false) for cut in _SEARCHED.tolist()]
                    cuts = [
                        float(impostors[round((1 - rate) * len(impostors))]),
                        float(_SEARCHED[np.argmax(np.array(ratios) >= ratio)]),
                    ]
                for cut in cuts:
                    row += [cut, pairwise_f(vectors[~used], people[~used], cut)]
            rows.append(row)
    names = ["one view", "F"]
    for place in range(len(given.several)):
        names += [f"{place + 1}: equal rate", "F", f"{place + 1}: equal ratio", "F"]
    means = np.mean(rows, axis=0).tolist()
    table(tuple(names), [[f"{value:.4f}" for value in row] for row in (*rows, means)])
    report({"columns": names, "halves": rows, "means": means}, given.json)


if __name__ == "__main__":
    main()
