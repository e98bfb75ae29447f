"""From the residual stream to the next token: a model's last norm and its unembedding.

A direction d that is added to the stream changes the logits, on the path that no later layer takes part in,
by W_U (w * (d - mean d)) / s: w is the weight of the last norm (one that does not take the mean off leaves d
as it is), and s the size of the stream there, one positive number for each position. It is the logit lens
(nostalgebraist 2020) of a row of the decoder (Bloom and Lin 2024, "Understanding SAE Features with the Logit
Lens"). Here s is left out: values compare tokens, and latents of one dictionary, and are no logits. What is
added to all logits alike changes no probability, so their mean over the vocabulary is taken off.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import nn

from saywell.encoders.causal import causal_model, load_head
from saywell.encoders.checkpoints import find_checkpoint, gguf_file
from saywell.errors import InputError
from saywell.units.blocks import Norm, as_norm
from saywell.units.models import LoadedModel
from saywell.units.probe import TrialRun

_LARGE = 64.0
"""Of what the last norm is given to see its weight; beside it the epsilon of a norm is nothing."""
_CELLS = 1 << 24
"""Logits held at once."""


class Promoted(NamedTuple):
    """Of every direction the tokens whose logits it changes most, the most changed first."""

    tokens: Int[np.ndarray, "directions most"]
    values: Float[np.ndarray, "directions most"]


@dataclass(frozen=True)
class Causal:
    """A causal language model: the model under study with its head."""

    model: nn.Module
    """Gives logits of the next token."""
    prefix: str
    """Of paths in it to what is under study: "" or, for instance, "model."."""
    unembedding: nn.Module
    weight: Float[torch.Tensor, " width"]
    """Of the last norm; 1 where there is none."""
    centres: bool
    """Whether the last norm takes the mean off."""

    @property
    def vocabulary(self) -> int:
        """How many tokens there are logits of."""
        return self.unembedding.weight.shape[0]  # type: ignore[union-attr]

    @torch.inference_mode()
    def effects(
        self, directions: Float[torch.Tensor, "directions width"]
    ) -> Float[torch.Tensor, "directions vocabulary"]:
        """What each direction adds to the logits, mean 0, without the size of the stream (see the module)."""
        matrix = self.unembedding.weight  # a bias is no part of a change
        rows = directions.to(self.weight.device, torch.float32)
        if self.centres:
            rows = rows - rows.mean(1, keepdim=True)
        logits = ((rows * self.weight).to(matrix.dtype) @ matrix.T).float()  # type: ignore[operator]
        return logits - logits.mean(1, keepdim=True)

    def promoted(
        self, directions: Float[torch.Tensor, "directions width"], most: int
    ) -> tuple[Promoted, Promoted]:
        """The tokens that directions promote most, and those that they suppress most."""
        most, step = min(most, self.vocabulary), max(1, _CELLS // self.vocabulary)
        found: list[list[torch.Tensor]] = [[], [], [], []]
        for start in range(0, len(directions), step):
            logits = self.effects(directions[start : start + step])
            # Equal ones by number: `topk` promises no order.
            for place, sign in ((0, 1), (2, -1)):
                values, tokens = (sign * logits).sort(dim=1, descending=True, stable=True)
                found[place].append(tokens[:, :most])
                found[place + 1].append(sign * values[:, :most])
        up, values_up, down, values_down = (torch.cat(each).cpu().numpy() for each in found)
        return Promoted(up, values_up), Promoted(down, values_down)


def causal_of(loaded: LoadedModel) -> Causal:
    """The model under study with the head of its checkpoint.

    Raises InputError, saying why, where it has none: an encoder, a model that was given without its head, or
    one in which something other than a norm stands before the unembedding.
    """
    if getattr(loaded.model, "get_output_embeddings", lambda: None)() is not None:
        whole, prefix = causal_model(loaded.model, loaded.tokenizer, loaded.name).model, ""
    else:
        whole, prefix = _with_head(loaded)
    unembedding = whole.get_output_embeddings()
    weight, centres = _last_norm(whole, unembedding, loaded.name)
    return Causal(whole, prefix, unembedding, weight, centres)


def _with_head(loaded: LoadedModel) -> tuple[Any, str]:
    """The checkpoint's causal model around the loaded one, and where in it that is."""
    try:
        of_file = gguf_file(loaded.name) is not None
        name = loaded.name if of_file else find_checkpoint(loaded.name, download=False)
        whole: Any = load_head(loaded.model, name).model.to(next(loaded.model.parameters()).dtype)
    except InputError as error:
        raise InputError(f"{loaded.name!r} comes with no head that predicts the next token") from error
    own = _shapes(loaded.model)
    for path, module in whole.named_modules():
        if path and _shapes(module) == own:
            whole.set_submodule(path, loaded.model)  # and not twice in memory
            return whole, f"{path}."
    raise InputError(f"the causal model of {loaded.name!r} is not built around {type(loaded.model).__name__}")


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in module.state_dict().items()}


def _last_norm(whole: Any, unembedding: nn.Module, name: str) -> tuple[torch.Tensor, bool]:
    """The weight of what stands before the unembedding, and whether it takes the mean off.

    Raises InputError where that is no norm.
    """
    width = int(unembedding.weight.shape[1])  # type: ignore[union-attr,index]
    seen = TrialRun(whole).trace()
    ran = () if seen is None else seen.ran
    read = next((one.entered for one in ran if whole.get_submodule(one.module) is unembedding), None)
    before = [one.module for one in ran if read is not None and _same(one.left, read)]
    for module in map(whole.get_submodule, before):
        norm = as_norm(module, width)
        if norm is not None:
            return _weight(module, norm, width), norm.centres
    raise InputError(
        f"what stands before the unembedding of {name!r} is no norm, so what a direction of the stream"
        " does to its logits is not known"
    )


@torch.no_grad()
def _weight(module: nn.Module, norm: Norm, width: int) -> torch.Tensor:
    """By what a norm multiplies each number once it has divided."""
    parameter = next(module.parameters(), torch.zeros(1))
    # Two opposite signs in each place, and the mean 0 or nearly so: neither is near to nothing.
    signs = torch.where(torch.arange(width, device=parameter.device) % 2 == 0, 1.0, -1.0)
    x = torch.stack([signs, -signs])[None] * _LARGE
    made = module(x.to(parameter.dtype)).float()
    normed = norm(x)
    return ((made[0, 0] - made[0, 1]) / (normed[0, 0] - normed[0, 1])).flatten()


def _same(left: torch.Tensor | None, read: torch.Tensor) -> bool:
    return left is not None and left.shape == read.shape and torch.equal(left, read)
