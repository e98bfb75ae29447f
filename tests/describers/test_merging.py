from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sentence_transformers.util import community_detection

from saywell.describers.descriptors.communities import find_communities, representative


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sets(communities):
    return {frozenset(int(member) for member in members) for members in communities}


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 2**31),
    st.integers(1, 60),
    st.integers(2, 6),
    st.integers(1, 6),
    st.sampled_from([0.3, 0.5, 0.6, 0.75, 0.9, 0.99]),
    st.integers(1, 5),
    st.booleans(),
)
def test_as_sentence_transformers(seed, count, dim, centres, threshold, min_size, clustered):
    random = np.random.default_rng(seed)
    rows = random.standard_normal((count, dim))
    if clustered:
        rows = 0.3 * rows + random.standard_normal((centres, dim))[random.integers(centres, size=count)]
    rows = unit(rows)
    # Rounding may decide about a pair that lies on the threshold.
    assume(np.abs(rows @ rows.T - threshold).min() > 1e-5)
    ours = find_communities(rows, threshold=threshold, min_size=min_size)
    theirs = community_detection(rows, threshold=threshold, min_community_size=min_size)
    assert sets(ours) == sets(theirs)
    assert [len(c) for c in ours] == [len(c) for c in theirs]
    assert [c[0] for c in ours] == [c[0] for c in theirs]  # the centres


def test_as_sentence_transformers_over_several_blocks():
    random = np.random.default_rng(0)
    rows = unit(random.standard_normal((2500, 8)))
    ours = find_communities(rows, threshold=0.8, min_size=3)
    assert sets(ours) == sets(community_detection(rows, threshold=0.8, min_community_size=3))
    assert len(ours) > 50


def test_equal_vectors_are_one_community():
    rows = unit(np.repeat(np.eye(3), [2, 4, 1], axis=0) + 1e-9)
    assert [c.tolist() for c in find_communities(rows, threshold=1.0, min_size=2)] == [[2, 3, 4, 5], [0, 1]]


def test_a_text_is_its_own_neighbour_whatever_rounding_makes_of_its_length():
    rows = np.eye(2, dtype=np.float32) * np.float32(0.9999999)
    assert [c.tolist() for c in find_communities(rows, threshold=1.0, min_size=1)] == [[0], [1]]


def test_a_community_whose_centre_is_taken_is_dropped():
    degrees = np.radians([0, 10, 20, 30, 40])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], 1).astype(np.float32)
    # Within 11 degrees: 1, 2 and 3 have three neighbours each; 1 comes first, 3 keeps 4 only.
    assert [c.tolist() for c in find_communities(rows, threshold=np.cos(np.radians(11)), min_size=2)] == [
        [1, 0, 2],
        [3, 4],
    ]


def test_no_texts_no_communities():
    assert find_communities(np.zeros((0, 4), np.float32)) == []
    assert [c.tolist() for c in find_communities(np.eye(1, 4), min_size=1)] == [[0]]


def test_memory_grows_linearly():
    def peak(count):
        rows = unit(np.random.default_rng(0).standard_normal((count, 32)))
        tracemalloc.start()
        find_communities(rows, threshold=0.95)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    # All pairs of 6,000 texts are 36 million numbers, 144 MB.
    small, large = peak(3000), peak(6000)
    assert large < 2.3 * small
    assert large < 60e6


def test_representative_is_the_most_central_by_mentions():
    degrees = np.radians([0, 10, 20])
    rows = np.stack([np.cos(degrees), np.sin(degrees)], 1)
    members = np.array([0, 1, 2])
    assert representative(members, rows, np.array([1.0, 1.0, 1.0])) == 1
    assert representative(members, rows, np.array([1.0, 1.0, 9.0])) == 2
    assert representative(np.array([0, 2]), rows, np.array([3.0, 50.0, 1.0])) == 0


@pytest.mark.parametrize(("counts", "expected"), [([1.0, 2.0], 1), ([2.0, 2.0], 0)])
def test_representative_of_equals_is_the_more_frequent_then_the_first(counts, expected):
    assert representative(np.array([1, 0]), np.ones((2, 1)), np.array(counts)) == expected
