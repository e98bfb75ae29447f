"""The readers of the neuron study, and what they are held against."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from saywell.studies.neuron_scores import by_row, tag_reader
from saywell.studies.neuron_subject import Tags


def test_the_reader_of_tags_counts_them_and_has_no_answer_where_the_tagger_had_none():
    matrix = sp.csr_matrix(np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0], [0, 0, 0]], dtype=float))
    tags = Tags(matrix, np.array([True, True, False, True]), np.ones(4))
    names = np.array([[True, True, False], [False, False, True]])
    read = tag_reader(tags, names)(np.array([1, 0]), np.array([3, 0, 1, 2]))
    np.testing.assert_array_equal(read, [[0, 0, 1, np.nan], [0, 2, 0, np.nan]])


def test_rows_of_their_own_are_those_of_all_units_picked_out():
    table = np.random.default_rng(0).random((3, 20)) > 0.5

    def fires(numbers, rows):
        return table[numbers][:, rows]

    rows = np.array([[4, 1, 19], [0, 4, 2]])
    numbers = np.array([2, 0])
    expected = [[table[2, 4], table[2, 1], table[2, 19]], [table[0, 0], table[0, 4], table[0, 2]]]
    assert by_row(fires, numbers, rows).tolist() == expected
    assert by_row(fires, numbers, rows[0]).tolist() == fires(numbers, rows[0]).tolist()
