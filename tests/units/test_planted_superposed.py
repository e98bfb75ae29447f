"""Superposed features: what is true of them by a plain loop, and measures against cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from saywell.progress import silent
from saywell.units.dictionaries.harvest import harvest
from saywell.units.dictionaries.train import Method, train
from saywell.units.hook_points import find_hook, hook_tap
from saywell.units.hooks import TextFeed
from saywell.units.planted.superposed import (
    CONTEXTS,
    PLACE,
    WORDS,
    f1_of_firing,
    recovery,
    sentences,
    superposed,
    truth,
)
from saywell.units.tokens import tokenize


@pytest.fixture(scope="module")
def world():
    return superposed(width=32)


@pytest.fixture(scope="module")
def texts():
    return sentences(1500, 0)


@pytest.fixture(scope="module")
def tokens(world, texts):
    return tokenize(world.loaded.tokenizer, texts, max_tokens=world.loaded.max_tokens)


def test_there_are_more_features_than_dimensions_and_each_has_tokens(world, tokens):
    true = truth(world, tokens)
    assert len(world.names) == len(world.kinds) == len(world.directions) == true.shape[1] > 4 * 32
    np.testing.assert_allclose(np.linalg.norm(world.directions, axis=1), 1, atol=1e-5)
    assert (np.asarray(true.sum(0)).ravel() >= 5).all()
    assert true.shape[0] == len(tokens.ids) and tokens.content.all()


def test_features_are_what_they_are_called(world, texts, tokens):
    true, names, row = truth(world, tokens).toarray().astype(bool), list(world.names), 0
    for text in texts[:200]:
        words = text.split()
        for place, word in enumerate(words):
            own = {f'the word "{word}"', *(f"a word of kind {kind}" for kind in WORDS if word in WORDS[kind])}
            before = words[:place]
            facts = (
                bool(before) and before[-1] in WORDS["negation"],
                bool(before) and before[-1] in WORDS["number"],
                any(one in WORDS["question word"] for one in before),
                not before,
            )
            own |= {name for name, fact in zip(CONTEXTS, facts, strict=True) if fact}
            assert {names[feature] for feature in np.flatnonzero(true[row])} == own
            row += 1


def test_the_hidden_state_is_the_sum_of_features_whatever_is_beside_it(world, texts, tokens, tmp_path):
    model = world.loaded.model
    tap = hook_tap(world.loaded, find_hook(world.loaded, PLACE))
    feed, rows = TextFeed(tokens, world.loaded.pad_id), np.arange(0, len(texts), 5)
    found = harvest(model, tap, feed, rows, tmp_path / "v.npy", most=10**6, seed=0, progress=silent)
    alone = [
        model(ids, torch.ones_like(ids))[0].numpy()
        for row in feed.order(rows)
        for ids in [torch.from_numpy(tokens.ids[tokens.starts[row] : tokens.starts[row + 1]]).long()[None]]
    ]
    np.testing.assert_allclose(found, np.concatenate(alone), atol=1e-5)
    whole = truth(world, tokens)
    true = sp.vstack([whole[tokens.starts[row] : tokens.starts[row + 1]] for row in feed.order(rows)])
    left = found - true @ world.directions
    assert np.square(left).mean() < 0.25 * np.square(found).mean()


def test_a_dictionary_finds_more_than_its_start(world, tokens):
    ids = torch.from_numpy(tokens.ids[: tokens.starts[700]]).long()
    model = world.loaded.model
    assert len(set(sentences(50, 1))) == 50 and sentences(50, 1) == sentences(50, 1) != sentences(50, 2)
    starts = zip(tokens.starts[:700], tokens.starts[1:701], strict=True)
    vectors = np.concatenate([model(ids[None, a:b], None)[0].numpy() for a, b in starts])
    found = train(Method("batchtopk", 192, 3), vectors, seed=0)
    random = np.random.default_rng(0).standard_normal((192, 32))
    trained = recovery(found.decoder.numpy(), world.directions)
    by_chance = recovery(random, world.directions)
    assert trained.mcc > by_chance.mcc + 0.15 and trained.share > by_chance.share


def test_recovery_of_what_was_copied_turned_or_left_out():
    random = np.random.default_rng(0)
    true = np.linalg.qr(random.standard_normal((6, 6)))[0]
    found = recovery(3 * true[::-1][:5], true)
    np.testing.assert_allclose(found.nearest, [0, 1, 1, 1, 1, 1], atol=1e-9)
    assert found.latents[1:].tolist() == [4, 3, 2, 1, 0]
    assert found.share == pytest.approx(5 / 6) and found.mcc == pytest.approx(1)
    turned = recovery(np.vstack([true[:5], np.cos(0.5) * true[5] + np.sin(0.5) * true[0]]), true)
    assert turned.mcc == pytest.approx((5 + np.cos(0.5)) / 6) and turned.share == pytest.approx(5 / 6)
    opposite = recovery(-true, true)
    assert opposite.mcc == pytest.approx(1) and opposite.share == 0


def test_f1_of_firing_by_hand():
    fires = sp.csr_matrix(np.array([[2, 0, 0], [1, 3, 0], [0, 1, 0], [0, 0, 0]]))
    true = sp.csr_matrix(np.array([[1, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 0]]))
    np.testing.assert_allclose(f1_of_firing(fires, true, np.array([0, 1, 2])), [0.8, 2 / 3, np.nan])
    np.testing.assert_allclose(f1_of_firing(fires, true, np.array([2, 0, 0]))[:2], [0, 2 / 3])
