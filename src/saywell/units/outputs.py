"""What a latent does to what comes next: it is held at a level, and the next token is predicted again.

At every token t of a text, or where the latent fires, (level - a_t) d is added to what passes the place, a_t
being its activation and d its direction there. Compared are the probabilities of the token after each, as the
divergence KL(before || after) in nats, and as the mean change of log p of the tokens that the direction
promotes. Any direction of that length changes something, and promotes some tokens: the same is done with
directions drawn at random that are as long at each token, of each with the tokens that it promotes. A latent
acts if its own effect would be rare among theirs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from saywell.units.probe import Side, first_tensor

RANDOM = 20
"""Random directions."""
_CELLS = 1 << 24
"""Logits held at once."""


Direction = Callable[[torch.Tensor], torch.Tensor]
"""What one unit of activation adds [tokens, out], given what passes the place [tokens, out]."""


class Place(NamedTuple):
    """Where in a model that gives logits of the next token a latent's direction is added."""

    model: nn.Module
    module: str
    side: Side


class Held(NamedTuple):
    """A latent that is held at a level, and what it is held against."""

    direction: Direction
    level: float
    random: Float[torch.Tensor, "random out"]
    """Directions that were drawn; of any length, since each is made as long as the latent's."""
    asked: Int[np.ndarray, "directions asked"]
    """Tokens of the vocabulary whose log p is asked for: of the latent, then of each random direction."""


class Text(NamedTuple):
    """A text as the model reads it, the latent's activation at each token, and where it is to be held."""

    ids: Int[np.ndarray, " tokens"]
    activations: Float[np.ndarray, " tokens"]
    changed: Bool[np.ndarray, " tokens"]


class Effect(NamedTuple):
    """Of holding a latent, and then random directions as long, by text: the mean over its changed tokens."""

    divergence: Float[np.ndarray, "directions texts"]
    """KL(before || after) in nats; the latent's own direction first, then the random ones."""
    promoted: Float[np.ndarray, "directions texts"]
    """Mean change of log p of the tokens that were asked for; NaN where there are none."""
    tokens: int
    """How many were changed."""


@torch.inference_mode()
def effects(place: Place, latent: Held, texts: Sequence[Text], *, cells: int = _CELLS) -> Effect:
    """Of a latent that is held, and of random directions as long at each token.

    At most `cells` logits are held at once.
    """
    found = [_effects(place, latent, text, cells) for text in texts]
    divergence, promoted = (np.stack(each, 1) for each in zip(*found, strict=True))
    return Effect(divergence, promoted, sum(int(text.changed.sum()) for text in texts))


def _effects(place: Place, latent: Held, text: Text, cells: int) -> tuple[np.ndarray, np.ndarray]:
    device = next(place.model.parameters()).device
    at, asked = (torch.from_numpy(each).to(device) for each in (np.flatnonzero(text.changed), latent.asked))
    ids = torch.from_numpy(text.ids.astype(np.int64))[None].to(device)
    with _adding(place) as adding:
        before = _next(place.model, ids, at)[0]
        passed = adding.seen
        steps = torch.from_numpy((latent.level - text.activations)[text.changed].astype(np.float32))
        own, steps = latent.direction(passed[at].float()), steps.to(device)[:, None]
        shifts = torch.cat([own[None], _as_long(own, latent.random.to(device))]) * steps
        divergence, promoted = [], []
        size = max(1, cells // (len(text.ids) * before.shape[-1]))
        for some, tokens in zip(shifts.split(size), asked.split(size), strict=True):
            adding.shift = torch.zeros((len(some), *passed.shape), device=device)
            adding.shift[:, at] = some
            after = _next(place.model, ids.expand(len(some), -1), at)
            divergence.append((before.exp() * (before - after)).sum(-1).mean(1))
            change = (after - before).gather(2, tokens[:, None].expand(-1, len(at), -1))
            promoted.append(change.mean((1, 2)))
    return torch.cat(divergence).double().cpu().numpy(), torch.cat(promoted).double().cpu().numpy()


def drawn_directions(width: int, seed: int, count: int = RANDOM) -> Float[torch.Tensor, "count width"]:
    """Directions of length 1, all alike likely."""
    random = np.random.default_rng(seed).standard_normal((count, width))
    return torch.from_numpy(random / np.linalg.norm(random, axis=1, keepdims=True)).float()


def _as_long(
    own: Float[torch.Tensor, "tokens out"], random: Float[torch.Tensor, "random out"]
) -> Float[torch.Tensor, "random tokens out"]:
    """Each direction at all tokens, as long as the latent's is there."""
    return (random / random.norm(dim=-1, keepdim=True))[:, None] * own.norm(dim=1)[:, None]


def _next(model: nn.Module, ids: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    """log p of the token after each of some places [texts, places, vocabulary]."""
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    return torch.log_softmax(logits[:, at].float(), -1)


class _Adding:
    """What passes a place at the last run of one text, and what is to be added to it from then on."""

    seen: torch.Tensor
    shift: torch.Tensor | None = None

    def __call__(self, found: torch.Tensor) -> torch.Tensor:
        if self.shift is None:
            self.seen = found.reshape(-1, found.shape[-1])
            return found
        return found + self.shift.reshape(found.shape).to(found.dtype)


@contextmanager
def _adding(place: Place) -> Iterator[_Adding]:
    """Let what passes a place pass by `_Adding`, whatever stands beside it."""
    adding, module = _Adding(), place.model.get_submodule(place.module)

    def enters(module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
        wanted = first_tensor(args, named)
        new = [adding(value) if value is wanted else value for value in args]
        changed = {key: adding(value) if value is wanted else value for key, value in named.items()}
        return tuple(new), changed

    def leaves(module: nn.Module, args: Any, output: Any) -> Any:
        wanted = first_tensor(output)
        if isinstance(output, torch.Tensor):
            return adding(output)
        if isinstance(output, dict):
            output.update({key: adding(value) for key, value in output.items() if value is wanted})
            return output
        return tuple(adding(value) if value is wanted else value for value in output)

    hook = (
        module.register_forward_pre_hook(enters, with_kwargs=True)
        if place.side == "input"
        else module.register_forward_hook(leaves)
    )
    try:
        yield adding
    finally:
        hook.remove()
