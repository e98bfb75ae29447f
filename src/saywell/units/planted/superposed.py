"""A model whose features are known: more of them than dimensions, added up at every token.

Texts come from a small grammar; each token carries what it is (its word), what kind of word it is, and what
stands before it. The hidden state of a token is the sum of the directions of its features, more or less
strong, and noise (Elhage et al. 2022, "Toy Models of Superposition", arXiv:2209.10652). Whoever finds
features in that model can be told which of them are there.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Float64, Int
from scipy.optimize import linear_sum_assignment
from torch import nn

from saywell.units.models import LoadedModel, wrap_model
from saywell.units.tokens import Tokens

PLACE = "hidden"
"""The module whose output is the hidden state."""
WORDS = {
    "determiner": "the a this that every some".split(),
    "animal": "dog cat horse cow fox owl frog bear wolf hen duck goat".split(),
    "food": "bread soup rice cheese apple cake honey salad pasta plum stew pie".split(),
    "tool": "hammer saw knife rope shovel needle ladder brush drill axe".split(),
    "person": "doctor farmer teacher baker sailor judge nurse painter clerk pilot".split(),
    "place": "garden kitchen harbour forest market church station river attic bridge".split(),
    "colour": "red green blue white black brown yellow grey".split(),
    "feeling": "happy sad angry proud tired afraid calm lonely".split(),
    "motion": "runs walks jumps crawls swims climbs falls hurries".split(),
    "making": "paints builds cooks mends washes carves sews bakes".split(),
    "saying": "says asks whispers shouts sings answers".split(),
    "preposition": "in near behind under beside above".split(),
    "number": "two three four five seven nine".split(),
    "question word": "why when where how".split(),
    "negation": "not never nobody nothing".split(),
    "time": "today yesterday tonight soon often always".split(),
}
_TEMPLATES = [
    form.split()
    for form in (
        "determiner colour animal motion preposition determiner place",
        "determiner person saying determiner animal motion time",
        "determiner person making negation determiner food time",
        "determiner feeling person making determiner colour tool",
        "question_word saying determiner person determiner tool",
        "question_word motion determiner animal preposition determiner place",
        "number animal motion negation preposition determiner colour place",
        "time determiner person making number food",
        "negation motion preposition determiner place time",
        "determiner animal negation feeling time",
        "number person saying negation",
        "determiner food preposition determiner tool negation feeling",
    )
]
CONTEXTS = ("right after a negation", "right after a number", "after a question word", "first word of a text")
_NOISES = 8192


class Superposed(nn.Module):
    """The model: hidden states [texts, tokens, width] from token ids."""

    directions: torch.Tensor
    kinds: torch.Tensor
    noise: torch.Tensor
    strength: torch.Tensor

    def __init__(self, carried: np.ndarray, kinds: np.ndarray, width: int, noise: float, seed: int) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(seed)
        features = carried.shape[1] + len(CONTEXTS)
        directions = torch.randn(features, width, generator=random)
        self.register_buffer("directions", directions / directions.norm(dim=1, keepdim=True))
        self.carried = nn.Embedding.from_pretrained(torch.from_numpy(carried))
        self.register_buffer("kinds", torch.from_numpy(kinds))
        self.register_buffer("noise", torch.randn(_NOISES, width, generator=random) * noise / width**0.5)
        self.register_buffer("strength", 0.7 + 0.6 * torch.rand(_NOISES, features, generator=random))
        self.hidden = nn.Identity()

    def features(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Which features each token has: [texts, tokens, features], of ones and zeros."""
        kinds = self.kinds[input_ids]
        before = torch.cat([torch.full_like(kinds[:, :1], -1), kinds[:, :-1]], 1)
        names = list(WORDS)
        asked = (before == names.index("question word")).cumsum(1) > 0
        first = torch.zeros_like(asked)
        first[:, 0] = True
        contexts = [before == names.index("negation"), before == names.index("number"), asked, first]
        return torch.cat([self.carried(input_ids), torch.stack(contexts, -1).float()], -1)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """What each token has, added up; noise and strength go by the token, the one before and the place."""
        before = torch.cat([torch.zeros_like(input_ids[:, :1]), input_ids[:, :-1]], 1)
        place = torch.arange(input_ids.shape[1], device=input_ids.device)
        drawn = (input_ids * 7919 + before * 104_729 + place * 1_299_709) % _NOISES
        amounts = self.features(input_ids) * self.strength[drawn]
        return self.hidden(amounts @ self.directions + self.noise[drawn])


class World(NamedTuple):
    """A model and what is true of it."""

    loaded: LoadedModel
    names: tuple[str, ...]
    """Of features: words, kinds of words, contexts."""
    kinds: tuple[str, ...]
    """Of features: "word", "class" or "context"."""
    directions: Float[np.ndarray, "features width"]


def superposed(*, width: int = 48, noise: float = 0.2, seed: int = 0) -> World:
    """A model of fewer dimensions than features; `noise`: its length, where a feature is 0.7 to 1.3 long."""
    words = [word for group in WORDS.values() for word in group]
    kind_of = [number for number, group in enumerate(WORDS.values()) for _ in group]
    carried = np.zeros((len(words) + 1, len(words) + len(WORDS)), dtype=np.float32)
    kinds = np.array([-1, *kind_of])
    for row, kind in enumerate(kind_of):
        carried[row + 1, row] = carried[row + 1, len(words) + kind] = 1
    model = Superposed(carried, kinds, width, noise, seed)
    kinds_of_features = ("word",) * len(words) + ("class",) * len(WORDS) + ("context",) * len(CONTEXTS)
    loaded = wrap_model(model, _tokenizer(words), "superposed features")
    names = (
        *(f'the word "{word}"' for word in words),
        *(f"a word of kind {kind}" for kind in WORDS),
        *CONTEXTS,
    )
    return World(loaded, names, kinds_of_features, model.directions.numpy())


def sentences(count: int, seed: int) -> list[str]:
    """Texts of the grammar, no two alike where there are so many."""
    random = np.random.default_rng(seed)
    found: dict[str, None] = {}
    for _ in range(20 * count):
        form = _TEMPLATES[random.integers(len(_TEMPLATES))]
        groups = [WORDS[kind.replace("_", " ")] for kind in form]
        found[" ".join(group[random.integers(len(group))] for group in groups)] = None
        if len(found) == count:
            break
    return list(found)


def truth(world: World, tokens: Tokens) -> sp.csr_matrix:
    """Which features each token of texts has: tokens x features, ones."""
    assert isinstance(world.loaded.model, Superposed)
    model, parts = world.loaded.model, []
    for start, end in zip(tokens.starts[:-1], tokens.starts[1:], strict=True):
        ids = torch.from_numpy(tokens.ids[start:end].astype(np.int64))
        parts.append(sp.csr_matrix(model.features(ids[None])[0].numpy()))
    return sp.csr_matrix(sp.vstack(parts))


class Recovery(NamedTuple):
    """How well directions that were found match true ones."""

    nearest: Float64[np.ndarray, " features"]
    """Of each true feature, the largest cosine with a direction found."""
    latents: Int[np.ndarray, " features"]
    """Which direction that is."""
    mcc: float
    """Mean |cosine| of true and found directions in the best matching of one with one (the mean correlation
    coefficient of arXiv:2505.20254, as in sae_lens.synthetic); 1 is best."""

    @property
    def share(self) -> float:
        """Of true features that have a direction with a cosine of 0.9 or more."""
        return float((self.nearest >= 0.9).mean())


def recovery(
    decoder: Float[np.ndarray, "latents width"], directions: Float[np.ndarray, "features width"]
) -> Recovery:
    """Of directions found (rows of a decoder) and true ones; lengths do not matter."""
    found, true = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        for rows in (decoder.astype(np.float64), directions.astype(np.float64))
    )
    cosines = true @ found.T
    matched = linear_sum_assignment(-np.abs(cosines))
    return Recovery(cosines.max(1), cosines.argmax(1), float(np.abs(cosines[matched]).mean()))


def f1_of_firing(
    fires: sp.csr_matrix, true: sp.csr_matrix, latents: Int[np.ndarray, " features"]
) -> Float64[np.ndarray, " features"]:
    """Of each true feature and its latent, 2 |both| / (|fires| + |true|) over tokens; 1 is best."""
    own = sp.csc_matrix((fires != 0).astype(np.float64))[:, latents]
    there = sp.csc_matrix((true != 0).astype(np.float64))
    both, sizes = own.multiply(there).sum(0), own.sum(0) + there.sum(0)
    both, sizes = np.asarray(both).ravel(), np.asarray(sizes).ravel()
    return np.divide(2 * both, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0)


def _tokenizer(words: list[str]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.WordLevel({"[UNK]": 0} | {word: n + 1 for n, word in enumerate(words)}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    return PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="[UNK]", pad_token="[UNK]", model_max_length=64
    )
