"""PostgreSQL's binary COPY format, both ways; that the server agrees is in the tests of the stores."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facededup.store.postgres.copyformat import Layout

HEAD, END = 19, b"\xff\xff"
LAYOUT = Layout({"id": "i8", "key": ("bytes", 4), "vector": ("vector", 3)}, ("path", "note"))


def columns(count):
    keys = np.arange(count, dtype="<u4").view("V4")
    return {"id": -np.arange(count), "key": keys, "vector": np.arange(3.0 * count).reshape(-1, 3)}


def messages(packed, rows):
    """As a server sends them: a row in each, the header with the first."""
    width = (len(packed) - HEAD - 2 - sum(4 + len(text) for row in rows for text in row)) // max(1, len(rows))
    sent, place = [], HEAD
    for row in rows:
        stop = place + width + sum(4 + len(text) for text in row)
        sent.append(packed[place:stop])
        place = stop
    sent.append(packed[place:])
    return [packed[:HEAD] + sent[0], *sent[1:]]


texts = st.binary(max_size=5) | st.just(b"")


@given(st.lists(st.tuples(texts, texts), max_size=9) | st.just([(b"x", b"")] * 5000))
def test_what_is_packed_is_unpacked(rows):
    given_columns = columns(len(rows))
    paths, notes = ([row[k] for row in rows] for k in range(2))
    packed = LAYOUT.pack(given_columns, {"path": paths, "note": notes}, len(rows))
    found, found_texts = LAYOUT.unpack(messages(packed, rows))
    assert found_texts == {"path": paths, "note": notes}
    for name, values in given_columns.items():
        assert found[name].dtype.isnative
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sent: sent[:-1],
        lambda sent: [b"", *sent],
        lambda sent: [sent[0][1:], *sent[1:]],
        lambda sent: [sent[0], sent[1][:-1], *sent[2:]],
        lambda sent: [sent[0], sent[1] + b"x", *sent[2:]],
        lambda sent: [sent[0], sent[1][:-4] + b"\xff\xff\xff\xff", *sent[2:]],
        lambda sent: [sent[0], sent[1][:5] + b"\x09" + sent[1][6:], *sent[2:]],
        lambda sent: sent[:0],
    ],
)
def test_what_is_no_copy_of_this_layout_is_refused(spoil):
    rows = [(b"path", b"")] * 3
    packed = LAYOUT.pack(columns(3), {"path": [b"path"] * 3, "note": [b""] * 3}, 3)
    with pytest.raises(ValueError, match=r"COPY|row|null|width"):
        LAYOUT.unpack(spoil(messages(packed, rows)))
