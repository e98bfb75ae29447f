"""Topics against planted groups."""

from __future__ import annotations

import numpy as np
import pytest

from saywell.errors import InputError
from saywell.units.topics import topics


def test_topics_are_directions():
    random = np.random.default_rng(0)
    directions = np.eye(6)[:4]
    group = random.integers(0, 4, 200)
    lengths = random.uniform(0.1, 9, (200, 1))
    vectors = lengths * (directions[group] + 0.1 * random.standard_normal((200, 6)))
    labels, centres = topics(vectors, 4, seed=0)
    assert len({(a, b) for a, b in zip(labels.tolist(), group.tolist(), strict=True)}) == 4
    np.testing.assert_allclose(np.linalg.norm(centres, axis=1), 1, atol=1e-6)
    assert np.array_equal((vectors @ centres.T).argmax(1), labels)


def test_topics_of_few_different_vectors():
    labels, centres = topics(np.repeat(np.eye(3, 4), 5, axis=0), 7, seed=0)
    assert len(centres) == len(set(labels.tolist())) == 3
    with pytest.raises(InputError, match="0 vectors"):
        topics(np.zeros((0, 4)), 2, seed=0)
