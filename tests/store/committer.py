"""Run by `programs`: commits numbered batches to a store and prints each number once it is committed.

start("committer.py", LOCATION, FIRST, COUNT, "" | "fold" | "findings")
"""

import numpy as np
from samples import FINGERPRINT, numbered, store_at

from facededup.store.base import ClusterTable, PairBlock


def pairs(number):
    """Pairs of the first three faces; the cosine says of which number."""
    a = np.arange(1000) % 2
    return PairBlock(a, np.full(1000, 2), np.full(1000, 0.5 + number / 1e6), np.zeros(1000, bool))


def clusters(number):
    return ClusterTable(
        key=[f"{number:012d}"],
        offsets=np.array([0, 2]),
        members=np.array([0, 1]),
        min_cosine=np.array([0.5]),
        new=np.array([True]),
    )


def run(path, first, count, then=""):
    with store_at(path).writer(FINGERPRINT) as writer:
        print("open", flush=True)
        for number in range(int(first), int(first) + int(count)):
            writer.commit(numbered(number))
            print(number, flush=True)
            if then == "fold" and number % 2:
                writer.pack()
            if then == "findings":
                findings = writer.write_findings()
                findings.append(pairs(number))
                findings.finish({"number": number}, clusters(number))
                print("found", number, flush=True)
