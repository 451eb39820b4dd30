"""What the log of decisions means, and what `find` makes of it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import add_images, digest_of, people, unit

import facededup
from facededup.decisions import OVERLAP, Faces, overlap, standing
from facededup.report.csv_report import write_pairs
from facededup.report.json_report import findings_document
from facededup.store.opener import open_store
from facededup.store.tables import empty_tables
from facededup.types import Box, Decision, FaceKey

BOX = Box(0, 0, 8, 8)


def key(number, place=0):
    """A face of an image of `add_images`."""
    return FaceKey(digest_of(number), Box(10 * place, 0, 8, 8))


def decide(store, *said):
    """Appends (a, b, verdict) for images by number."""
    with open_store(store).writer() as writer:
        writer.append_decisions(
            [Decision(a=key(a), b=key(b), verdict=verdict, who="Kim") for a, b, verdict in said]
        )


def one_each(vectors, start=0):
    return {f"/made/up/{start + n:05}.jpg": (start + n, [vector]) for n, vector in enumerate(vectors)}


def numbers(cluster):
    return [int(face.path[-9:-4]) for face in cluster.faces]


# The log


@given(st.tuples(*[st.integers(-5, 5)] * 2, *[st.integers(0, 9)] * 2).map(lambda box: Box(*box)), st.data())
def test_overlap_is_the_share_of_pixels(a, data):
    b = data.draw(st.tuples(*[st.integers(-5, 5)] * 2, *[st.integers(0, 9)] * 2).map(lambda box: Box(*box)))
    pixels = [
        {(x, y) for x in range(box.x, box.x + box.w) for y in range(box.y, box.y + box.h)} for box in (a, b)
    ]
    whole = pixels[0] | pixels[1]
    expected = len(pixels[0] & pixels[1]) / len(whole) if whole else float(a == b)
    assert overlap(a, b) == overlap(b, a) == pytest.approx(expected)


ENTRIES = st.lists(
    st.tuples(
        st.integers(0, 3),
        st.integers(0, 3),
        st.sampled_from(["same", "different", "look-alike", "later", "undo"]),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(ENTRIES)
def test_per_pair_the_latest_holds_unless_undone(entries):
    log = [Decision(a=key(a), b=key(b), verdict=verdict, at=n) for n, (a, b, verdict) in enumerate(entries)]
    held = standing(log, Faces(*empty_tables(), log))
    expected = {}
    for pair in {frozenset((a, b)) for a, b, _ in entries if a != b}:
        stack = []
        for n, (a, b, verdict) in enumerate(entries):
            if {a, b} == pair:
                stack = stack[:-1] if verdict == "undo" else [*stack, n]
        if stack:
            expected[frozenset(map(key, pair))] = stack[-1]
    assert {pair: decision.at for pair, decision in held.items()} == expected
    assert [decision.at for decision in held.values()] == sorted(expected.values())


def test_a_face_is_known_by_half_of_its_box(store):
    add_images(store, {"/made/up/a.jpg": (1, people(1, 2)), "/made/up/b.jpg": (2, people(1, 1))})
    moved, other = Box(12, 0, 8, 8), Box(15, 0, 8, 8)
    assert overlap(moved, Box(10, 0, 8, 8)) > OVERLAP > overlap(other, Box(10, 0, 8, 8))
    with open_store(store).snapshot() as snapshot:
        log = [Decision(a=FaceKey(digest_of(1), box), b=key(2), verdict="same") for box in (moved, other)]
        faces = Faces(snapshot.images, snapshot.faces, log)
        assert faces.which(log[0].a) == 1
        assert faces.which(log[1].a) == log[1].a
        assert faces.which(FaceKey(digest_of(1), Box(16, 0, 8, 8))) == log[1].a
        assert faces.which(log[0].b) == 2


# What find makes of it


def test_different_is_never_reported_again_and_cuts(store):
    add_images(store, one_each(people(1, 4)))
    before = facededup.find(store=store)
    assert (before.pairs_total, before.clusters_total) == (6, 1)
    decide(store, (0, 1, "different"), (2, 3, "look-alike"))
    after = facededup.find(store=store)
    assert (after.pairs_total, len(after.pairs)) == (4, 4)
    assert (after.suppressed["different"], after.suppressed["group"]) == (2, 0)
    assert after.search["reused_faces"] == 4
    listed = {frozenset((pair.a.path[-9:-4], pair.b.path[-9:-4])) for pair in after.pairs}
    assert not listed & {frozenset(("00000", "00001")), frozenset(("00002", "00003"))}
    for cluster in after.clusters:
        assert not {0, 1} <= set(numbers(cluster))
        assert not {2, 3} <= set(numbers(cluster))
    assert after.decisions["different"] == after.decisions["look-alike"] == 1
    # It holds when everything is searched anew, and when it is undone all is as before.
    again = facededup.find(store=store, reset=True)
    assert (again.pairs_total, again.clusters_total) == (4, after.clusters_total)
    decide(store, (1, 0, "undo"), (2, 3, "undo"))
    undone = facededup.find(store=store)
    assert (undone.pairs_total, undone.clusters_total) == (6, 1)
    assert not any(pair.new for pair in undone.pairs)
    assert not undone.clusters[0].decided


def test_same_joins_below_the_threshold_and_is_not_new(store):
    vectors = np.concatenate([people(1, 2, seed=1), people(1, 2, seed=2), people(1, 2, seed=3)])
    add_images(store, one_each(vectors))
    assert facededup.find(store=store).clusters_total == 3
    decide(store, (0, 2, "same"))
    found = facededup.find(store=store)
    assert [numbers(cluster) for cluster in found.clusters] == [[0, 1, 2, 3], [4, 5]]
    assert not any(cluster.new or cluster.decided for cluster in found.clusters)
    assert found.clusters[0].min_similarity < 0.4
    assert found.pairs_total == 3
    decide(store, (0, 1, "same"), (3, 2, "same"))
    found = facededup.find(store=store, reset=True)
    assert found.clusters[0].decided
    assert not found.clusters[0].new
    assert found.clusters[1].new
    decisions = {(pair.a.path[-9:-4], pair.b.path[-9:-4]): pair.decision for pair in found.pairs}
    assert decisions == {("00000", "00001"): "same", ("00002", "00003"): "same", ("00004", "00005"): None}
    assert [pair.new for pair in found.pairs] == [pair.decision is None for pair in found.pairs]


def test_later_leaves_the_pair_in_marked(store):
    add_images(store, one_each(people(1, 2)))
    decide(store, (0, 1, "later"))
    found = facededup.find(store=store)
    assert [pair.decision for pair in found.pairs] == ["later"]
    assert found.pairs[0].new
    assert not found.clusters[0].decided


def test_different_wins_over_a_chain_of_same(store, capsys):
    add_images(store, one_each(people(1, 3)))
    decide(store, (0, 1, "same"), (1, 2, "same"), (0, 2, "different"))
    found = facededup.find(store=store)
    assert [numbers(cluster) for cluster in found.clusters] == [[1, 2]]
    assert found.decisions["contradictions"] == 1
    decide(store, (0, 2, "same"))
    found = facededup.find(store=store)
    assert [numbers(cluster) for cluster in found.clusters] == [[0, 1, 2]]
    assert found.clusters[0].decided
    assert found.decisions["contradictions"] == 0


def test_copies_share_what_was_decided(store):
    vectors = people(1, 3)
    images = one_each(vectors)
    images["/made/up/copy-of-00000.jpg"] = images["/made/up/00000.jpg"]
    add_images(store, images)
    decide(store, (0, 1, "different"), (1, 2, "same"))
    found = facededup.find(store=store)
    paths = [(pair.a.path, pair.b.path) for pair in found.pairs]
    assert not any("00000" in a + b and "00001" in a + b for a, b in paths)
    assert (found.pairs_total, found.suppressed["different"]) == (len(paths), 2)
    twin = found.pairs[0]
    assert (twin.cosine, twin.same_photo, twin.decision) == (1.0, True, None)
    grouped = facededup.find(store=store, group_by="0000([02])")
    assert grouped.pairs_total + sum(grouped.suppressed.values()) == 6


@pytest.mark.parametrize("clustering", ["average", "components", "chinese-whispers"])
def test_every_clustering_obeys(store, clustering):
    add_images(store, one_each(people(3, 4)))
    decide(store, (0, 1, "different"), (3, 4, "same"), (8, 9, "look-alike"), (9, 10, "same"))
    found = facededup.find(store=store, clustering=clustering)
    of = {number: cluster.id for cluster in found.clusters for number in numbers(cluster)}
    assert of.get(0, 0) != of.get(1, 1)
    assert of[3] == of[4]
    assert of.get(8, 8) != of[9]
    assert of[9] == of[10]


def test_groups_do_not_join_what_is_different(store):
    add_images(store, one_each(people(2, 2)))
    decide(store, (0, 2, "different"))
    found = facededup.find(store=store, group_by="0000([02])", threshold=0.4)
    for cluster in found.clusters:
        assert not {0, 2} <= set(numbers(cluster))


def test_a_decision_on_an_image_that_is_gone_waits_for_it(store):
    vectors = people(1, 2)
    add_images(store, one_each(vectors[:1]))
    decide(store, (0, 1, "different"))
    assert facededup.find(store=store).decisions["elsewhere"] == 1
    add_images(store, one_each(vectors[1:], start=1))
    found = facededup.find(store=store)
    assert (found.pairs_total, found.clusters_total, found.decisions["elsewhere"]) == (0, 0, 0)
    add_images(store, {"/made/up/00001.jpg": (7, unit(vectors[1:]))})
    assert facededup.find(store=store).pairs_total == 1


def test_files_carry_the_decisions(store, tmp_path):
    add_images(store, one_each(people(1, 3)))
    decide(store, (0, 1, "same"), (1, 2, "later"))
    found = facededup.find(store=store)
    document = findings_document(found)
    assert document["decisions"]["same"] == 1
    assert not document["clusters"][0]["decided"]
    assert {pair["decision"] for pair in document["pairs"]} == {"same", "later", None}
    assert {pair["same_photo"] for pair in document["pairs"]} == {False}
    write_pairs(found, str(tmp_path / "pairs.csv"))
    lines = (tmp_path / "pairs.csv").read_text().splitlines()
    assert lines[0].endswith(",decision,same_photo,normalized,second_similarity")
    assert {line.split(",")[-4] for line in lines[1:]} == {"same", "later", ""}


def test_a_photo_saved_again_is_told_from_another(pictures, store, tmp_path):
    facededup.index([pictures], store=store, processes=2)
    same, other = [], []
    for pair in facededup.find(store=store).pairs:
        (same if pair.same_photo else other).append((pair.a.path, pair.b.path))
    names = [{path.rpartition("/")[2].split(".")[0] for path in paths} for paths in same]
    assert {"copy-of-hopper-original", "hopper-original"} in names
    assert all(not ("mirror" in a) ^ ("mirror" in b) for a, b in same)
    assert other
