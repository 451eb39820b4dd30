"""Findings whose faces have left: an image replaced after `find`, before the next one."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import facededup
from facededup.cli.demo import write_pictures
from facededup.current import CurrentFindings
from facededup.exchange import export_table
from facededup.settings import Settings
from facededup.store.base import ClusterTable, PairBlock


class Stored:
    def __init__(self, clusters):
        members = [face for cluster in clusters for face in cluster]
        self.clusters = ClusterTable(
            key=[str(number) for number in range(len(clusters))],
            offsets=np.cumsum([0, *map(len, clusters)]),
            members=np.array(members, np.int64),
            min_cosine=np.arange(len(clusters)) / 10,
            new=np.zeros(len(clusters), np.bool_),
            mean_cosine=np.arange(len(clusters)) / 5,
            medoid=np.array([cluster[-1] for cluster in clusters], np.int64),
            bridge=np.array([face % 3 == 0 for face in members], np.bool_),
        )
        pairs = [(a, b) for cluster in clusters for a in cluster for b in cluster if a < b]
        self._pairs = np.array(pairs, np.int64).reshape(-1, 2)
        self.pair_count = len(pairs)

    def pairs(self, start, stop):
        a, b = self._pairs[start:stop].T
        return PairBlock(a, b, np.ones(len(a)), np.zeros(len(a), np.bool_))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.sets(st.integers(0, 40)))
def test_what_names_a_face_that_has_gone_goes(sizes, gone):
    numbers = iter(range(1000))
    clusters = [[next(numbers) for _ in range(size + 1)] for size in sizes]
    there = np.array([face for cluster in clusters for face in cluster if face not in gone], np.int64)
    current = CurrentFindings(Stored(clusters), there)
    left = [[face for face in cluster if face not in gone] for cluster in clusters]
    expected = [
        (number, members)
        for number, members in enumerate(left)
        if len(members) > 1 or len(members) == len(clusters[number])
    ]
    table = current.clusters
    shown = [table.members[a:b].tolist() for a, b in zip(table.offsets[:-1], table.offsets[1:], strict=True)]
    assert shown == [members for _, members in expected]
    assert table.key == [str(number) for number, _ in expected]
    assert table.medoid.tolist() == [
        members[0] if clusters[number][-1] in gone else members[-1] for number, members in expected
    ]
    assert table.bridge.tolist() == [face % 3 == 0 for members in shown for face in members]
    block = current.pairs(0, current.pair_count)
    assert list(zip(block.a.tolist(), block.b.tolist(), strict=True)) == [
        (a, b) for members in left for a in members for b in members if a < b
    ]


def test_a_report_after_an_image_was_replaced_names_no_other_face(tmp_path):
    photos, store = tmp_path / "photos", str(tmp_path / "faces.h5")
    write_pictures(str(photos))
    facededup.index([str(photos)], store=store)
    found = facededup.find(store=store)
    replaced, other = found.clusters[0].faces[0].path, found.clusters[-1].faces[0].path
    with open(replaced, "wb") as file, open(next(photos.glob("no-face-cat*")), "rb") as cat:
        file.write(cat.read())
    facededup.index([str(photos)], store=store)
    export_table(Settings(store=store), str(tmp_path / "pairs.csv"), what="pairs", form="csv")
    written = (tmp_path / "pairs.csv").read_text()
    assert replaced not in written
    assert other in written
