"""Vectors for training against a plain pass."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from saywell.errors import InputError
from saywell.progress import silent
from saywell.units.dictionaries.harvest import harvest, hashes
from saywell.units.hooks import BrokenActivations, Tap, TextFeed
from saywell.units.tokens import tokenize


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(40, 5)
        self.first, self.second = nn.Linear(5, 3), nn.Linear(3, 4)

    def forward(self, input_ids, attention_mask):
        return self.second(self.first(self.embed(input_ids)))


def tap(name, units):
    return Tap(name, "output", units, lambda found, shown: found)


TEXTS = [" ".join(["good", "bad", "room", "the", "was"][: 1 + n % 5]) for n in range(60)]


@pytest.fixture
def shown(tokenizer):
    tokens = tokenize(tokenizer, TEXTS, max_tokens=64)
    return Tiny(), tokens, np.arange(5, 60, 2)


def gather(shown, path, most=10**6, seed=0, at=("second", 4), budget=1024):
    model, tokens, rows = shown
    feed = TextFeed(tokens, token_budget=budget)
    return harvest(model, tap(*at), feed, rows, path, most=most, seed=seed, progress=silent)


def plain(shown):
    """By example and position, without those of special tokens."""
    model, tokens, rows = shown
    found = {}
    for row in rows:
        places = slice(tokens.starts[row], tokens.starts[row + 1])
        hidden = model.second(model.first(model.embed(torch.from_numpy(tokens.ids[places]).long())))
        for position in np.flatnonzero(tokens.content[places]):
            found[int(row), int(position)] = hidden[position].detach().numpy()
    return found


def ordered(vectors):
    return np.array(sorted(map(tuple, np.round(vectors, 4))))


def test_all_that_passes_is_there_but_special_tokens(shown, tmp_path):
    vectors = gather(shown, tmp_path / "v.npy")
    assert isinstance(vectors, np.memmap) and vectors.dtype == np.float32
    np.testing.assert_allclose(ordered(vectors), ordered(list(plain(shown).values())), atol=2e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["v.npy"]


@pytest.mark.parametrize("budget", [1, 40, 1024])
def test_a_sample_is_that_of_the_smallest_hashes_at_every_place(shown, tmp_path, budget):
    known = plain(shown)
    keys = np.array(list(known))
    chosen = np.argsort(hashes(keys[:, 0], keys[:, 1], 7))[:20]
    vectors = gather(shown, tmp_path / "v.npy", most=20, seed=7, budget=budget)
    expected = np.array(list(known.values()))[chosen]
    np.testing.assert_allclose(ordered(vectors), ordered(expected), atol=2e-4)
    inner = gather(shown, tmp_path / "u.npy", most=20, seed=7, at=("first", 3), budget=budget)
    with torch.no_grad():
        np.testing.assert_allclose(shown[0].second(torch.from_numpy(np.array(inner))), vectors, atol=1e-5)


def test_hashes_are_even_and_of_the_seed():
    examples, positions = np.divmod(np.arange(20_000), 100)
    first, other = (hashes(examples, positions, seed) / 2.0**64 for seed in (0, 1))
    assert len(set(first)) == 20_000
    assert abs(first.mean() - 0.5) < 0.02 and abs(np.corrcoef(first, other)[0, 1]) < 0.03
    assert np.abs(first.reshape(200, 100).mean(0) - 0.5).max() < 0.1


def test_what_cannot_be_harvested(shown, tmp_path):
    model, tokens, rows = shown
    with pytest.raises(InputError, match="at most 0"):
        gather(shown, tmp_path / "v.npy", most=0)
    with pytest.raises(InputError, match="nothing passes"):
        gather((model, tokens, rows[:0]), tmp_path / "v.npy")
    with torch.no_grad():
        model.embed.weight[tokens.ids[tokens.starts[5] + 1]] = torch.nan
    with pytest.raises(BrokenActivations, match="second"):
        gather(shown, tmp_path / "v.npy")
    assert not list(tmp_path.iterdir())
