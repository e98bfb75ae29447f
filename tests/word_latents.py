"""Latents that fire on a word each, with texts, words and a place that are hostile."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from torch import nn

from saywell.units.dictionaries.rules import Codes
from saywell.units.firing import Above
from saywell.units.hooks import Tap, TextFeed
from saywell.units.neurons import token_spans
from saywell.units.responses import open_responses
from saywell.units.statistics import source_units
from saywell.units.token_activations import collect_tokens
from saywell.units.tokens import Tokens

WORDS = ["soup", "bed", "battery", "../../x", "</script>", "\u2603", "rude", "cheap", "nobody"]
FILLER = "the a is was it good bad price staff dear kind very never again".split()
MODULE = "../model/layers.5.mlp"
FIRES = Above(0)


@dataclass(frozen=True)
class WordLatents:
    """Latent n fires on the n-th word, by its number of letters and a little for the text; token 0 is first."""

    kind: str = "latent"
    name: str = "org/Tiny Model"
    fingerprint: str = "f" * 32
    firing: Above = FIRES

    def units(self):
        ids = [f"latent/{n}" for n in range(len(WORDS))]
        units = source_units(ids, self.kind, model="org/Tiny Model")
        return units.with_columns(module=pl.lit(MODULE))

    def read(self, examples):
        """The texts as tokens, a word each with the space before it, after a token that is not theirs."""
        ids, content, spans, starts = [], [], [], [0]
        known = {word: 1 + n for n, word in enumerate(WORDS)}
        for text in examples.texts:
            found = [(m.start(), m.end()) for m in re.finditer(r"\S+", text)]
            ids += [0, *(known.get(text[a:b], 100 + len(text[a:b])) for a, b in found)]
            content += [False, *[True] * len(found)]
            spans += [(0, 0), *found]
            starts.append(len(ids))
        return Tokens(np.array(ids), np.array(content), np.array(spans), np.array(starts), 0)

    def collect(self, examples, folder, resources):
        model = _Numbers()
        tap = Tap("embed", "output", 1, lambda found, batch: found)

        def encode(x):
            ids = x[:, 0].long()
            rows = torch.nonzero((ids >= 1) & (ids <= len(WORDS)))[:, 0]
            latents = ids[rows] - 1
            return Codes(rows, latents, 1.0 + latents.float() / 8)

        parts = {name: rows.rows for name, rows in examples.parts._asdict().items()}
        feed = TextFeed(self.read(examples), token_budget=512)
        collect_tokens(model, tap, encode, len(WORDS), feed, parts, folder, of="words")
        return open_responses(folder, len(examples))

    def control(self, seed):
        return None

    def locate(self, examples):
        return token_spans(self.read(examples))


class _Numbers(nn.Module):
    """A token's vector is its number."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding.from_pretrained(torch.arange(200.0)[:, None])

    def forward(self, input_ids, attention_mask):
        return self.embed(input_ids)


def no_page(study):
    """In place of a report, which takes longer than such a study."""
    (study.path / "report.html").write_text("")


class Counts:
    """A sentence encoder that counts words: quick."""

    name = "counts"

    def __call__(self, texts):
        vectors = np.full((len(texts), 16), 0.01, dtype=np.float32)
        for row, text in enumerate(texts):
            for word in text.split():
                vectors[row, sum(map(ord, word)) % 16] += 1
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def corpus(count=240):
    """Texts of a few words, most of them with one word that a latent is of."""
    random = np.random.default_rng(0)
    texts: dict[str, None] = {}
    while len(texts) < count:
        words = random.choice(FILLER, size=random.integers(4, 12)).tolist()
        for word in random.choice(WORDS[:-1], size=random.integers(0, 3)).tolist():
            words.insert(int(random.integers(len(words) + 1)), word)
        texts[" ".join(words)] = None
    return list(texts)
