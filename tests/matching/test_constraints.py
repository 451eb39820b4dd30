"""Clusters under constraints, against plain ones written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit_vectors import brute_force, faces

from facededup.matching import clusters
from facededup.matching.clusters import average_linkage
from facededup.matching.constraints import join, link, separate, spread
from facededup.matching.flat import exact_cosine
from facededup.matching.graph_clusters import connected_components


@pytest.fixture(params=["rounds first", "chains only", "rounds only"])
def way(request, monkeypatch):
    """Everything must hold whichever of the two ways of merging does the work."""
    allowed = {"rounds first": clusters.PAIRS_PER_MERGE, "chains only": 0, "rounds only": 10**9}
    monkeypatch.setattr(clusters, "PAIRS_PER_MERGE", allowed[request.param])


def couples(draw, count):
    row = st.integers(0, count - 1)
    found = draw(st.lists(st.tuples(row, row).filter(lambda pair: pair[0] != pair[1]), max_size=8))
    return np.array(found, np.int64).reshape(-1, 2)


@st.composite
def cases(draw, largest=40):
    vectors = faces(
        people=draw(st.integers(1, 8)),
        each=draw(st.integers(2, largest // 8)),
        noise=draw(st.sampled_from([0.3, 0.7])),
        dimension=draw(st.sampled_from([8, 32])),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
    return vectors, couples(draw, len(vectors)), couples(draw, len(vectors))


def plain_link(count, together, apart):
    """The same with sets, looking at everything each time."""
    groups = [{row} for row in range(count)]
    refused = 0
    for a, b in together.tolist():
        left, right = (next(group for group in groups if row in group) for row in (a, b))
        if left is right:
            continue
        if any({a, b} <= left | right and len({a, b} & left) == 1 for a, b in apart.tolist()):
            refused += 1
            continue
        groups.remove(right)
        left |= right
    labels = np.empty(count, np.int64)
    for group in groups:
        labels[list(group)] = min(group)
    return labels, refused


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_links_are_taken_in_turn(data):
    count = data.draw(st.integers(2, 9))
    together, apart = couples(data.draw, count), couples(data.draw, count)
    labels, refused = link(count, together, apart)
    expected, expected_refused = plain_link(count, together, apart)
    assert labels.tolist() == expected.tolist()
    assert refused == expected_refused


def greedy(vectors, cut, apart):
    """Average linkage by its definition: merge the closest two allowed clusters, look again."""
    groups = [[row] for row in range(len(vectors))]
    cosine = exact_cosine(np.repeat(vectors, len(vectors), 0), np.tile(vectors, (len(vectors), 1)))
    cosine = cosine.reshape(len(vectors), -1)
    forbidden = np.zeros_like(cosine, np.bool_)
    forbidden[tuple(apart.T)] = True
    forbidden |= forbidden.T
    while True:
        best = None
        for k, left in enumerate(groups):
            for m in range(k):
                pairs = np.ix_(left, groups[m])
                mean = cosine[pairs].mean()
                if mean >= cut and not forbidden[pairs].any() and (best is None or mean > best[0]):
                    best = mean, k, m
        if best is None:
            break
        _, k, m = best
        groups[m] += groups.pop(k)
    labels = np.empty(len(vectors), np.int64)
    for group in groups:
        labels[group] = min(group)
    return labels


@pytest.mark.usefixtures("way")
@settings(deadline=None, max_examples=30)
@given(cases(), st.sampled_from([0.4, 0.6, 0.8]))
def test_equal_to_greedy_linkage_under_constraints(case, cut):
    vectors, _, apart = case
    pairs = brute_force(vectors, cut)
    labels = average_linkage(
        len(vectors), lambda: iter([pairs]), lambda rows: vectors[rows], cut, apart=apart
    )
    assert labels.tolist() == greedy(vectors, cut, apart).tolist()


@pytest.mark.parametrize("method", ["average", "components"])
@settings(deadline=None, max_examples=40)
@given(cases())
def test_decisions_hold_in_every_cluster(method, case):
    vectors, together, apart = case
    person, _ = link(len(vectors), together, apart)
    # Couples that a link contradicts cannot be kept apart; `link` refused those links.
    forbidden = spread(apart, person)
    pairs = brute_force(vectors, 0.5)
    if method == "average":
        before = average_linkage(
            len(vectors), lambda: iter([pairs]), lambda rows: vectors[rows], 0.5, apart=forbidden
        )
    else:
        whole = connected_components(len(vectors), lambda: iter([pairs]), 0.5)
        before = separate(whole, forbidden, lambda: iter([pairs]))
        untouched = ~np.isin(whole, whole[forbidden])
        assert before[untouched].tolist() == whole[untouched].tolist()
    labels = join(before, person, forbidden)
    assert (labels[apart[:, 0]] != labels[apart[:, 1]]).all()
    assert (labels == labels[person]).all()
    assert (labels[labels] == labels).all()
    assert (labels <= np.arange(len(labels))).all()
    # Nobody whose cluster holds no decided face is touched.
    alone = ~np.isin(before, before[together])
    assert labels[alone].tolist() == before[alone].tolist()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_apart_spreads_through_persons(data):
    count = data.draw(st.integers(2, 9))
    apart = couples(data.draw, count)
    person, _ = link(count, couples(data.draw, count), apart)
    expected = {
        frozenset((a, b))
        for x, y in apart.tolist()
        for a in range(count)
        for b in range(count)
        if person[a] == person[x] and person[b] == person[y]
    }
    assert {frozenset(couple) for couple in spread(apart, person).tolist()} == expected


def test_a_person_joins_whole_clusters_unless_others_stand_against_it():
    labels, person = np.array([0, 0, 2, 2, 4]), np.array([0, 1, 0, 3, 4])
    none = np.empty((0, 2), np.int64)
    assert join(labels, person, none).tolist() == [0, 0, 0, 0, 4]
    # 1 and 3 may not meet: only the person's own faces, 0 and 2, come together.
    assert join(labels, person, np.array([[1, 3]])).tolist() == [0, 1, 0, 3, 4]
