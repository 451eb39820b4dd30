"""`find`: pairs, clusters, copies, what is new, and its limits."""

import shutil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from synthetic import add_images, people, unit

import facededup
from facededup.errors import NoGpuError, StoreNotFoundError, TooManyPairsError, UsageError
from facededup.matching import strategy
from facededup.models.scores import similarity
from facededup.progress import SilentProgress
from facededup.report.json_report import findings_document
from facededup.store.base import Batch
from facededup.store.opener import open_store


def names(cluster):
    return [face.path.rpartition("/")[2] for face in cluster.faces]


def one_each(vectors, start=0):
    return {f"/made/up/{start + n:05}.jpg": (start + n, [vector]) for n, vector in enumerate(vectors)}


def test_the_two_people_are_two_clusters_and_the_copy_is_with_its_twin(pictures, store):
    facededup.index([pictures], store=store, processes=2)
    result = facededup.find(store=store)
    assert [cluster.size for cluster in result.clusters] == [7, 6]
    assert all(name.split("-")[-1] for name in names(result.clusters[0]))
    assert {name.split("-")[0] for name in names(result.clusters[1])} == {"collins"}
    assert names(result.clusters[0])[0] == "copy-of-hopper-original.jpg"
    assert result.pairs_total == len(result.pairs) == 7 * 6 // 2 + 6 * 5 // 2
    assert result.faces == 13
    assert result.complete
    twin = result.pairs[0]
    assert (twin.similarity, twin.cosine) == (1.0, 1.0)
    assert [side.path.rpartition("/")[2] for side in (twin.a, twin.b)] == [
        "copy-of-hopper-original.jpg",
        "hopper-original.jpg",
    ]
    similarities = [pair.similarity for pair in result.pairs]
    assert similarities == sorted(similarities, reverse=True)
    for cluster in result.clusters:
        inside = {face.path for face in cluster.faces}
        listed = [pair.similarity for pair in result.pairs if {pair.a.path, pair.b.path} <= inside]
        assert cluster.min_similarity == pytest.approx(min(listed), abs=1e-5)
    assert {item.outcome.name for item in result.unencoded} == {"NO_FACE_DETECTED", "FILE_ERROR"}


def test_pairs_equal_brute_force(store):
    vectors = people(60, 4, spread=0.27)
    add_images(store, one_each(vectors))
    result = facededup.find(store=store, threshold=0.4, limit=0)
    cosines = vectors.astype(np.float64) @ vectors.astype(np.float64).T
    a, b = np.nonzero(np.triu(cosines >= result.cosine_cut, 1))
    expected = {(f"{i:05}", f"{j:05}") for i, j in zip(a, b, strict=True)}
    assert {(pair.a.path[-9:-4], pair.b.path[-9:-4]) for pair in result.pairs} == expected
    assert result.pairs_total == len(expected) > 0
    for pair in result.pairs:
        assert pair.similarity == pytest.approx(similarity(pair.cosine, result.operating_cosine))


def test_new_marks_what_was_not_in_the_findings_before(store):
    vectors = people(3, 3)
    add_images(store, one_each(vectors[:8]))
    first = facededup.find(store=store)
    assert all(pair.new for pair in first.pairs)
    assert not any(pair.new for pair in facededup.find(store=store).pairs)
    add_images(store, one_each(vectors[8:], start=8))
    third = facededup.find(store=store)
    fresh = [pair for pair in third.pairs if pair.new]
    assert len(fresh) == 2
    assert all(pair.b.path.endswith("00008.jpg") for pair in fresh)
    assert [cluster.new for cluster in third.clusters].count(True) == 1
    assert all(pair.new for pair in facededup.find(store=store, reset=True).pairs)


def test_cluster_ids_do_not_change_when_others_come(store):
    vectors = people(6, 3)
    add_images(store, one_each(vectors[:9]))
    before = {cluster.id for cluster in facededup.find(store=store).clusters}
    add_images(store, one_each(vectors[9:], start=9))
    assert before < {cluster.id for cluster in facededup.find(store=store).clusters}


def test_faces_of_one_image_are_no_pair_but_may_share_a_cluster(store):
    anna = people(1, 3)
    images = {"/a.jpg": (1, anna[:2]), "/b.jpg": (2, anna[2:])}
    add_images(store, images)
    result = facededup.find(store=store)
    assert {(pair.a.path, pair.b.path) for pair in result.pairs} == {("/a.jpg", "/b.jpg")}
    assert result.pairs_total == 2
    assert [(face.path, face.face) for face in result.clusters[0].faces] == [
        ("/a.jpg", 0),
        ("/a.jpg", 1),
        ("/b.jpg", 0),
    ]


def test_copies_pair_face_by_face_and_have_all_pairs_of_their_twin(store):
    anna, bert = people(2, 2)[:2], people(2, 2)[2:]
    images = {
        "/a.jpg": (1, [anna[0], bert[0]]),
        "/copy.jpg": (1, [anna[0], bert[0]]),
        "/other.jpg": (2, [anna[1]]),
    }
    add_images(store, images)
    result = facededup.find(store=store)
    found = {(pair.a.path, pair.a.face, pair.b.path, pair.b.face) for pair in result.pairs}
    assert found == {
        ("/a.jpg", 0, "/copy.jpg", 0),
        ("/a.jpg", 1, "/copy.jpg", 1),
        ("/a.jpg", 0, "/other.jpg", 0),
        ("/copy.jpg", 0, "/other.jpg", 0),
    }
    assert result.pairs_total == 4
    assert result.faces == 5
    assert [cluster.size for cluster in result.clusters] == [3, 2]
    assert result.clusters[1].min_similarity == 1.0


def test_beyond_fifty_copies_only_pairs_with_the_first_are_listed(store):
    vector = people(1, 1)
    add_images(store, {f"/{n:03}.jpg": (1, vector) for n in range(60)})
    result = facededup.find(store=store)
    assert result.pairs_total == 59
    assert {pair.a.path for pair in result.pairs} == {"/000.jpg"}
    assert result.clusters[0].size == 60


def test_copies_without_a_face_are_listed_and_never_paired(store):
    add_images(store, {"/a.jpg": (1, []), "/b.jpg": (1, [])})
    result = facededup.find(store=store)
    assert (result.pairs_total, result.clusters_total) == (0, 0)
    assert [item.path for item in result.unencoded] == ["/a.jpg", "/b.jpg"]


def test_the_limit_bounds_the_lists_and_not_the_counts(store):
    add_images(store, one_each(people(10, 4)))
    full = facededup.find(store=store, limit=0)
    cut = facededup.find(store=store, limit=3)
    assert (cut.pairs_total, cut.clusters_total) == (full.pairs_total, full.clusters_total) == (60, 10)
    assert list(cut.pairs) == [
        type(pair)(pair.a, pair.b, pair.similarity, pair.cosine, new=False) for pair in full.pairs[:3]
    ]
    assert [cluster.id for cluster in cut.clusters] == [cluster.id for cluster in full.clusters[:3]]


def test_ties_are_ordered_by_path(store):
    vector = people(1, 1)
    add_images(store, {f"/{name}.jpg": (n, vector) for n, name in enumerate("dbca")})
    result = facededup.find(store=store)
    order = [(pair.a.path[1], pair.b.path[1]) for pair in result.pairs]
    assert order == sorted(order) == [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "d")]


def test_too_many_pairs_names_a_threshold_that_fits(store):
    add_images(store, one_each(people(1, 400, spread=0.5)))
    with pytest.raises(
        TooManyPairsError, match=r"--max-pairs 1,000: use --threshold (\S+) or higher"
    ) as caught:
        facededup.find(store=store, threshold=-1.0, max_pairs=1000)
    fitting = float(str(caught.value).split("--threshold ")[1].split()[0])
    assert facededup.find(store=store, threshold=fitting, max_pairs=2000).pairs_total <= 2000


def test_findings_before_survive_a_search_that_was_refused(store):
    add_images(store, one_each(people(5, 4)))
    before = facededup.find(store=store)
    with pytest.raises(TooManyPairsError):
        facededup.find(store=store, threshold=-10, max_pairs=10)
    assert facededup.store_status(store=store).findings["pairs"] == before.pairs_total


@pytest.mark.parametrize("screened", [False, True])
def test_an_interrupted_search_keeps_the_findings_before(store, monkeypatch, screened):
    class Stopped(SilentProgress):
        def advance(self, *_):
            raise KeyboardInterrupt

    if screened:
        monkeypatch.setattr(strategy, "PLANNED_FROM", 0)
    add_images(store, one_each(people(5, 4)))
    before = facededup.find(store=store, threshold=0.5)
    with pytest.raises(KeyboardInterrupt):
        facededup.find(store=store, threshold=0.3, progress=Stopped())
    findings = facededup.store_status(store=store).findings
    assert (findings["threshold"], findings["pairs"]) == (0.5, before.pairs_total)
    assert facededup.find(store=store, threshold=0.5).pairs_total == before.pairs_total


def test_every_threshold_down_to_everything_works(store):
    vectors = unit(np.random.default_rng(0).standard_normal((300, 128)))
    add_images(store, one_each(vectors))
    result = facededup.find(store=store, threshold=-30)
    assert result.pairs_total == 300 * 299 // 2
    assert [cluster.size for cluster in result.clusters] == [300]
    assert facededup.find(store=store, threshold=1.0).pairs_total == 0


def test_a_gpu_that_is_not_there_is_no_silent_fall_back(store):
    add_images(store, one_each(people(1, 2)))
    with pytest.raises(NoGpuError, match="GPU"):
        facededup.find(store=store, gpu=True)


def test_no_store_is_a_sentence(store):
    with pytest.raises(StoreNotFoundError, match="facededup index"):
        facededup.find(store=store)


def test_the_document_has_the_keys_of_the_contract(pictures, store):
    facededup.index([pictures], store=store, processes=2)
    document = findings_document(facededup.find(store=store))
    assert document["schema"] == "facededup/findings/1"
    assert document["images"] == {"total": 17, "ok": 13, "no_face": 3, "multiple_faces": 0, "failed": 1}
    assert document["suppressed"] == {"different": 0, "group": 0, "quality": 0}
    assert set(document["metrics"]["versions"]) >= {"numpy", "faiss"}
    assert set(document["metrics"]["stages"]) == {
        "scan",
        "decode",
        "detect",
        "align",
        "embed",
        "store",
        "search",
        "cluster",
    }
    assert set(document["pairs"][0]) == {
        *("a", "b", "similarity", "cosine", "new", "decision", "same_photo", "normalized"),
        "second_similarity",
    }
    assert set(document["clusters"][0]["faces"][0]) == {"path", "face", "box"}


def test_search_finds_the_person_and_copies_come_along(pictures, store):
    facededup.index([pictures], store=store, processes=2)
    result = facededup.search(pictures / "hopper-dark.jpg", store=store, k=8)
    found = [match.face.path.rpartition("/")[2] for match in result.matches]
    assert found[0] == "hopper-dark.jpg"
    assert result.matches[0].cosine == pytest.approx(1)
    assert all("hopper" in name for name in found[:7])
    assert len(found) == 8
    near = facededup.search(pictures / "hopper-dark.jpg", store=store, threshold=0.4)
    assert all("hopper" in match.face.path for match in near.matches)
    assert len(near.matches) == 7


def without_new(result):
    pairs = [(pair.a, pair.b, pair.cosine) for pair in result.pairs]
    return pairs, [(cluster.id, cluster.faces, cluster.min_similarity) for cluster in result.clusters]


FACES = people(12, 5, spread=0.26, seed=3)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sets(st.integers(0, 59), min_size=1, max_size=20)),
        st.tuples(st.just("forget"), st.sets(st.integers(0, 59), max_size=8)),
        st.tuples(st.just("threshold"), st.sampled_from([0.2, 0.4, 0.45, 0.5, 0.6])),
    ),
    min_size=2,
    max_size=5,
)


@examples(deadline=None, max_examples=6)
@given(STEPS)
def test_a_search_after_a_search_is_a_search_of_everything(tmp_path_factory, steps):
    folder = tmp_path_factory.mktemp("steps")
    location = str(folder / "grown.h5")
    add_images(location, {"/0.jpg": (0, FACES[:1])})
    threshold, before = 0.4, set()
    for kind, value in steps:
        if kind == "threshold":
            threshold = value
        elif kind == "add":
            # Every fourth image is a copy of the one before it.
            add_images(location, {f"/{n}.jpg": (n - n % 4 // 3, FACES[[n - n % 4 // 3]]) for n in value})
        else:
            with open_store(location).writer() as writer:
                writer.commit(Batch(removed=tuple(b"/%d.jpg" % n for n in value)))
        fresh = str(folder / "fresh.h5")
        shutil.copy(location, fresh)
        expected = facededup.find(store=fresh, threshold=threshold, reset=True)
        found = facededup.find(store=location, threshold=threshold)
        assert without_new(found) == without_new(expected)
        assert found.complete
        now = {(pair.a, pair.b) for pair in found.pairs}
        assert {(pair.a, pair.b) for pair in found.pairs if not pair.new} == now & before
        before = now


def test_a_pair_is_new_when_the_content_of_one_of_its_images_changed(store):
    vectors = people(1, 3)
    add_images(store, {"/a.jpg": (1, vectors[:1]), "/b.jpg": (2, vectors[1:2])})
    facededup.find(store=store)
    add_images(store, {"/a.jpg": (3, vectors[2:])})
    (pair,) = facededup.find(store=store).pairs
    assert (pair.a.path, pair.b.path, pair.new) == ("/a.jpg", "/b.jpg", True)


def test_only_new_faces_are_searched_and_a_higher_threshold_searches_none(store):
    vectors = people(10, 3)
    add_images(store, one_each(vectors[:27]))
    assert facededup.find(store=store).search["reused_faces"] == 0
    add_images(store, one_each(vectors[27:], start=27))
    second = facededup.find(store=store)
    assert second.search["reused_faces"] == 27
    assert second.metrics.stages["search"].items == 3
    higher = facededup.find(store=store, threshold=0.5)
    assert higher.search["reused_faces"] == 30
    assert higher.metrics.stages["search"].items == 0
    assert facededup.find(store=store, threshold=0.45).search["reused_faces"] == 0


def test_an_approximate_search_says_so_and_measures_its_recall(store):
    vectors = people(100, 3)
    add_images(store, one_each(vectors[:280]))
    result = facededup.find(store=store, index="ivf")
    assert not result.complete
    assert result.search["index"] == "lists"
    assert 0.99 <= result.search["recall"] <= 1
    low, high = result.search["recall_interval"]
    assert low < result.search["recall"] <= high
    add_images(store, one_each(vectors[280:], start=280))
    grown = facededup.find(store=store)
    assert (grown.complete, grown.search["reused_faces"]) == (False, 280)
    assert grown.search["recall"] == result.search["recall"]
    exact = facededup.find(store=store, exact=True)
    assert (exact.complete, exact.search["reused_faces"]) == (True, 0)
    assert "recall" not in exact.search
    assert exact.pairs_total == 300


def test_auto_searches_approximately_what_would_take_too_long(store, monkeypatch):
    add_images(store, one_each(people(100, 3)))
    monkeypatch.setattr(strategy, "LONG_SEARCH", 1e-9)
    assert not facededup.find(store=store).complete
    assert facededup.find(store=store, exact=True).complete


def test_a_screened_search_gives_the_same(store, monkeypatch):
    # Real faces have few strong dimensions.
    vectors = people(400, 4, spread=0.3)
    vectors[:, 20:] *= 0.05
    add_images(store, one_each(unit(vectors)))
    plain = facededup.find(store=store, threshold=0.5)
    monkeypatch.setattr(strategy, "PLANNED_FROM", 0)
    screened = facededup.find(store=store, threshold=0.5, reset=True)
    assert (plain.search["index"], screened.search["index"]) == ("IndexFlatIP", "screen")
    assert without_new(plain) == without_new(screened)


def test_clusters_carry_their_mean_medoid_and_bridges(store):
    anna, bert = people(2, 3, spread=0.05)[:3], people(2, 3, spread=0.05)[3:]
    between = unit(anna.mean(axis=0) + bert.mean(axis=0))
    add_images(store, one_each([*anna, between, *bert]))
    # Cosine 0.7 to both, whose own is near 0: half of the pairs across are missing.
    result = facededup.find(store=store, threshold=-2.0, clustering="components")
    (cluster,) = result.clusters
    assert cluster.size == 7
    assert [bridge.path[-9:] for bridge in cluster.bridges] == ["00003.jpg"]
    assert cluster.medoid == cluster.bridges[0]
    assert cluster.min_similarity < cluster.mean_similarity < 1
    document = findings_document(result)["clusters"][0]
    assert document["bridges"] == [document["medoid"]] == [{"path": "/made/up/00003.jpg", "face": 0}]
    whispered = facededup.find(store=store, threshold=-2.0, clustering="chinese-whispers")
    assert sorted(item.size for item in whispered.clusters) == [3, 4]


def test_findings_do_not_depend_on_the_order_of_indexing(tmp_path):
    """Couples, whose faces are equally typical, copies, and two equal faces among three."""
    vectors = people(6, 3)
    vectors[4] = vectors[3]
    images = one_each(vectors)
    del images["/made/up/00002.jpg"]
    images["/made/up/a copy.jpg"] = images["/made/up/00007.jpg"]
    told = []
    for turn, step in enumerate((1, -1)):
        store = str(tmp_path / f"{turn}.h5")
        for path, content in list(images.items())[::step]:
            add_images(store, {path: content})
        document = findings_document(facededup.find(store=store))
        told.append((document["clusters"], document["pairs"]))
    assert told[0] == told[1]
    assert len(told[0][0]) == 6


def test_pairs_within_a_group_are_counted_and_not_listed(store):
    anna, bert = people(2, 4)[:4], people(2, 4)[4:]
    images = {
        "/a/1.jpg": (1, anna[:1]),
        "/a/2.jpg": (2, anna[1:2]),
        "/b/1.jpg": (3, anna[2:3]),
        "/c/1.jpg": (4, bert[:1]),
        "/c/2.jpg": (5, bert[1:2]),
    }
    add_images(store, images)
    plain = facededup.find(store=store)
    assert (plain.pairs_total, plain.clusters_total) == (4, 2)
    grouped = facededup.find(store=store, group_by="parent")
    assert {(pair.a.path, pair.b.path) for pair in grouped.pairs} == {
        ("/a/1.jpg", "/b/1.jpg"),
        ("/a/2.jpg", "/b/1.jpg"),
    }
    assert (grouped.pairs_total, dict(grouped.suppressed)) == (2, {"different": 0, "group": 2, "quality": 0})
    assert [[face.path for face in cluster.faces] for cluster in grouped.clusters] == [
        ["/a/1.jpg", "/a/2.jpg", "/b/1.jpg"]
    ]
    by_number = facededup.find(store=store, group_by=r"/(\d)\.jpg$")
    assert {(pair.a.path, pair.b.path) for pair in by_number.pairs} == {
        ("/a/1.jpg", "/a/2.jpg"),
        ("/a/2.jpg", "/b/1.jpg"),
        ("/c/1.jpg", "/c/2.jpg"),
    }
    assert facededup.find(store=store).pairs_total == 4


def test_a_group_comes_into_a_cluster_as_a_whole(store):
    anna, bert = people(2, 2)[:2], people(2, 2)[2:]
    add_images(store, {"/a/1.jpg": (1, anna[:1]), "/a/2.jpg": (2, bert[:1]), "/b/1.jpg": (3, anna[1:])})
    (cluster,) = facededup.find(store=store, group_by="parent").clusters
    assert [face.path for face in cluster.faces] == ["/a/1.jpg", "/a/2.jpg", "/b/1.jpg"]


def test_copies_in_two_groups_are_reported_and_in_one_are_not(store):
    anna = people(1, 2)
    add_images(store, {"/a/1.jpg": (1, anna[:1]), "/a/2.jpg": (1, anna[:1]), "/a/3.jpg": (2, anna[1:])})
    result = facededup.find(store=store, group_by="parent", limit=1)
    assert (result.pairs_total, result.suppressed["group"], result.clusters_total) == (0, 3, 0)
    add_images(store, {"/b/1.jpg": (1, anna[:1])})
    result = facededup.find(store=store, group_by="parent", limit=0)
    assert {(pair.a.path, pair.b.path) for pair in result.pairs} == {
        ("/a/1.jpg", "/b/1.jpg"),
        ("/a/2.jpg", "/b/1.jpg"),
        ("/a/3.jpg", "/b/1.jpg"),
    }
    assert (result.pairs_total, result.suppressed["group"]) == (3, 3)
    assert [cluster.size for cluster in result.clusters] == [4]


def test_copies_in_one_group_take_no_place_in_a_list_that_is_cut(store):
    anna, bert = people(1, 2, spread=0.01), people(1, 2, seed=1)
    add_images(store, {"/a/1.jpg": (1, anna[:1]), "/a/2.jpg": (1, anna[:1]), "/a/3.jpg": (2, anna[1:])})
    add_images(store, {"/b/1.jpg": (3, bert[:1]), "/c/1.jpg": (4, bert[1:])})
    found = facededup.find(store=store, group_by="parent", limit=1)
    assert found.pairs_total == 1
    assert [(pair.a.path, pair.b.path) for pair in found.pairs] == [("/b/1.jpg", "/c/1.jpg")]


def test_what_does_not_match_is_alone_and_no_expression_is_a_sentence(store):
    add_images(store, one_each(people(1, 3)))
    assert facededup.find(store=store, group_by="person-(.*)/").pairs_total == 3
    assert facededup.find(store=store, group_by="(person)?").pairs_total == 3
    assert facededup.find(store=store, group_by="x*").pairs_total == 3
    with pytest.raises(UsageError, match="--group-by takes `parent`, `column:NAME`, `none` or a regular"):
        facededup.find(store=store, group_by="(")
