from __future__ import annotations

import csv
import os
from dataclasses import replace

from facededup.report.csv_report import COLUMNS, write_pairs


def read(path):
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        return list(csv.DictReader(file))


def test_every_pair_is_a_line_and_every_name_survives(found, tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(found, str(path))
    rows = read(path)
    assert tuple(rows[0]) == COLUMNS
    assert [row["b_path"] for row in rows] == [pair.b.path for pair in found.pairs]
    assert os.fsencode(rows[5]["b_path"]) == b"/photos/latin-\xe9.jpg"
    assert float(rows[0]["similarity"]) == found.pairs[0].similarity
    assert [row["new"] for row in rows[:2]] == ["true", "false"]


def test_the_cluster_is_named_where_it_holds_both_faces(found, tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(found, str(path))
    assert read(path)[0]["cluster"] == "0123456789ab"


def test_a_pair_across_clusters_names_none(found, tmp_path):
    path = tmp_path / "pairs.csv"
    write_pairs(replace(found, clusters=found.clusters[1:]), str(path))
    assert {row["cluster"] for row in read(path)} == {""}
