"""Latents that are held: what their direction does to the next token, run by hand beside."""

import numpy as np
import pytest
import torch

from saywell.scorers.beside_random import rank_p, studentised
from saywell.units.models import wrap_model
from saywell.units.outputs import Held, Place, Text, drawn_directions, effects
from saywell.units.unembedding import causal_of
from tiny_causal import letter_tokenizer, tiny

WIDTH, LEVEL = 16, 6.0


@pytest.fixture(scope="module")
def model():
    return tiny("llama", letter_tokenizer())


def texts(count=3, seed=0):
    random, found = np.random.default_rng(seed), []
    for length in random.integers(5, 12, size=count):
        ids, active = (
            random.integers(1, 250, size=length),
            random.random(length) * (random.random(length) < 0.5),
        )
        changed = np.ones(length, dtype=bool)
        changed[0] = False
        found.append(Text(ids, active, changed))
    return found


RANDOM = drawn_directions(WIDTH, 0)


def held(vector, level, *asked):
    """The same tokens are asked for of all directions."""
    tokens = np.tile(np.array(asked, dtype=np.int64), (1 + len(RANDOM), 1))
    return Held(lambda passed: vector.expand(len(passed), -1), level, RANDOM, tokens)


@pytest.mark.parametrize("module", ["model.layers.1", "model.layers.0.mlp", "model.layers.0.self_attn"])
def test_a_latent_that_is_held_changes_what_a_run_with_it_changes(model, module):
    """One text, with a hook of its own that knows nothing of ours."""
    vector, (text,) = torch.randn(WIDTH), texts(1)
    asked = np.array([5, 9])
    found = effects(Place(model, module, "output"), held(vector, LEVEL, *asked), [text])

    def hook(_, args, output):
        first = output[0] if isinstance(output, tuple) else output
        for position in np.flatnonzero(text.changed):
            first[:, position] += (LEVEL - text.activations[position]) * vector
        return output

    ids = torch.from_numpy(text.ids)[None]
    with torch.no_grad():
        before = model(input_ids=ids).logits.log_softmax(-1)[0, text.changed]
        handle = model.get_submodule(module).register_forward_hook(hook)
        after = model(input_ids=ids).logits.log_softmax(-1)[0, text.changed]
        handle.remove()
    apart = (before.exp() * (before - after)).sum(-1).mean()
    assert found.divergence.shape == found.promoted.shape == (21, 1)
    assert found.divergence[0, 0] == pytest.approx(float(apart), rel=1e-4)
    assert found.promoted[0, 0] == pytest.approx(float((after - before)[:, asked].mean()), rel=1e-4)
    assert found.tokens == text.changed.sum()


def test_what_enters_a_module_is_what_left_the_one_before(model):
    latent, some = held(torch.randn(WIDTH), LEVEL, 1), texts()
    left = effects(Place(model, "model.layers.0", "output"), latent, some)
    enters = effects(Place(model, "model.layers.1", "input"), latent, some)
    assert left.divergence == pytest.approx(enters.divergence)


def test_the_answer_does_not_depend_on_what_is_read_together(model):
    place, latent, some = Place(model, "model.layers.1", "output"), held(torch.ones(WIDTH), 2.0, 3), texts(4)
    whole = effects(place, latent, some)
    alone = effects(place, latent, some[2:3], cells=1)
    assert whole.divergence[:, 2:3] == pytest.approx(alone.divergence, rel=1e-4)
    assert whole.promoted[:, 2:3] == pytest.approx(alone.promoted, rel=1e-4)
    assert not model._forward_hooks


def test_held_where_it_is_nothing_changes(model):
    some = [text._replace(activations=np.full(len(text.ids), 2.0)) for text in texts()]
    found = effects(Place(model, "model.layers.0", "output"), held(torch.ones(WIDTH), 2.0), some)
    assert np.abs(found.divergence).max() < 1e-6
    assert np.isnan(found.promoted).all()  # no tokens were asked for


def test_a_planted_latent_raises_its_token_and_random_directions_theirs(model):
    """Its direction is the row of the unembedding of a token, at the last layer."""
    causal = causal_of(wrap_model(model, letter_tokenizer()))
    token = 77
    vector = (causal.unembedding.weight[token] * causal.weight).detach()
    every = torch.cat([vector[None], RANDOM])
    asked = causal.promoted(every, 3)[0].tokens
    assert token in asked[0]
    place = Place(causal.model, "model.layers.1", "output")
    found = effects(place, held(vector, LEVEL)._replace(asked=asked), texts(6))
    assert (found.promoted.mean(1) > 0).all()
    # the tokens of each direction: a random one, held as the latent is, with its own
    swapped = held(RANDOM[4] * vector.norm(), LEVEL)._replace(asked=asked[[5] * 21])
    assert effects(place, swapped, texts(6)).promoted[0] == pytest.approx(found.promoted[5], rel=1e-3)
    single = effects(place, held(vector, LEVEL, token), texts(6)).promoted.mean(1)
    assert studentised(single)[0] > 4
    down = effects(place, held(vector, -LEVEL, token), texts(6)).promoted.mean(1)
    assert studentised(-down)[0] > 4


def test_p_is_even_where_the_direction_is_one_of_the_random_ones():
    """Whatever the shape: these have a heavy tail, and another size for each unit."""
    random = np.random.default_rng(0)
    effects = np.exp(1.5 * random.standard_normal((2000, 21))) * np.exp(random.standard_normal((2000, 1)))
    above = np.array([studentised(each) for each in effects])
    for first in (0, 1):  # the latent, and a random direction in its place
        p = rank_p(above[:, first], above[:, first + 1 :])
        for level in (0.01, 0.05, 0.5):
            assert (p <= level).mean() == pytest.approx(level, abs=0.35 * level**0.7)
    assert rank_p(np.array([9.0, 0.0]), np.array([[1.0], [0.0]])) == pytest.approx([1 / 3, 1])
    assert studentised(np.zeros(21)).tolist() == [0] * 21
    drawn = effects[0, 1:]
    t = (effects[0, 0] - drawn.mean()) / (drawn.std(ddof=1) * (1 + 1 / 20) ** 0.5)
    assert above[0, 0] == pytest.approx(t)
    assert above[0, 5] == pytest.approx(studentised(np.append(effects[0, 5], np.delete(drawn, 4)))[0])
