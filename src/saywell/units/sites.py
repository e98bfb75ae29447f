"""Where in a transformer the units live: found by structure, not by a list of model names.

A *site* is one module input or output whose last axis is a row of units. Three kinds are known:

``ffn``             the hidden neurons of the feed-forward block after the nonlinearity (and, in gated
                    blocks, after the gate): the *input* of the block's down-projection;
``residual``        the residual stream: the *output* of the block;
``attention-head``  one unit per head: the length of what the head adds to the residual stream, from
                    the *input* of the attention's output projection and that projection's weight.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import nn

from saywell.errors import InputError

Kind = Literal["ffn", "residual", "attention-head"]
KINDS: tuple[str, ...] = get_args(Kind)

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """One row of units: `tap` says whether it is the input or the output of the module at `module`."""

    layer: int
    kind: Kind
    module: str
    tap: Literal["input", "output"]
    width: int
    heads: int = 0

    @property
    def units(self) -> int:
        """How many units the site has: its width, or its number of heads."""
        return self.heads or self.width


def find_sites(
    model: nn.Module,
    kind: Kind = "ffn",
    *,
    layers: Sequence[int] | None = None,
    modules: Sequence[str] | None = None,
) -> list[Site]:
    """The sites of one kind, in layer order.

    `layers` keeps some of them. `modules` names the modules by path instead of searching (the
    input of a module for `ffn` and `attention-head`, the output for `residual`); layer numbers are
    then their positions in that list.

    Raises InputError when the structure is not recognised, with the option that names it by hand.
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind of unit {kind!r}; choose one of {', '.join(KINDS)}")
    if modules:
        sites = [_named_site(model, kind, number, path) for number, path in enumerate(modules)]
    else:
        prefix, blocks = transformer_blocks(model)
        sites = [
            _block_site(model, kind, number, f"{prefix}.{number}", block)
            for number, block in enumerate(blocks)
        ]
    if layers is not None:
        unknown = sorted(set(layers) - {site.layer for site in sites})
        if unknown:
            raise InputError(
                f"the model has no layer {unknown[0]}; its layers are 0 to {len(sites) - 1}"
            )
        sites = [site for site in sites if site.layer in set(layers)]
    return sites


def encoder_of(model: nn.Module) -> nn.Module:
    """The encoder of an encoder-decoder model, any other model as it is."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False) and hasattr(model, "get_encoder"):
        return model.get_encoder()  # type: ignore[operator]
    return model


def transformer_blocks(model: nn.Module) -> tuple[str, list[nn.Module]]:
    """The path and the members of the list of transformer blocks.

    It is the `nn.ModuleList` of equal-typed members, each with two linear maps or more, that holds
    the most parameters.
    """
    best: tuple[int, str, list[nn.Module]] | None = None
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0:
            continue
        blocks = list(module)
        if len({type(block) for block in blocks}) != 1:
            continue
        if any(len(_linear_maps(block)) < 2 for block in blocks):
            continue
        size = sum(p.numel() for block in blocks for p in block.parameters())
        if best is None or size > best[0]:
            best = (size, path, blocks)
    if best is None:
        raise InputError(
            f"no list of transformer blocks found in {type(model).__name__}; name the modules whose"
            " units to describe with --modules PATH,PATH (modules=[...] from Python)"
        )
    return best[1], best[2]


def head_gram(model: nn.Module, site: Site) -> torch.Tensor:
    """Gram matrices [heads, size, size] of a site's output projection.

    The length of what a head with output z adds to the residual stream, `z W`, is `sqrt(z G z)`.
    """
    weight = _weight(model.get_submodule(site.module))
    per_head = weight.detach().float().reshape(site.heads, -1, weight.shape[1])
    return per_head @ per_head.transpose(1, 2)


def _named_site(model: nn.Module, kind: Kind, layer: int, path: str) -> Site:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in model.named_modules() if name.count(".") <= 3 and name]
        raise InputError(
            f"the model has no module {path!r}; some that it has: {', '.join(known[:12])}"
        ) from None
    if kind == "residual":
        return Site(layer, kind, path, "output", _hidden_size(model, module))
    if not _is_linear(module):
        raise InputError(
            f"module {path!r} is a {type(module).__name__}; {kind} units are read from the input of"
            " a linear map (the projection back to the residual stream), so name that"
        )
    width = _weight(module).shape[0]
    heads = _head_count(model, width) if kind == "attention-head" else 0
    return Site(layer, kind, path, "input", width, heads)


def _block_site(model: nn.Module, kind: Kind, layer: int, path: str, block: nn.Module) -> Site:
    if kind == "residual":
        return Site(layer, kind, path, "output", _hidden_size(model, block))
    linear = _linear_maps(block)
    wanted_attention = kind == "attention-head"
    # A block's attention may itself be called "attention.output"; only the path inside the block counts.
    candidates = [
        (name, module)
        for name, module in linear
        if bool(_ATTENTION.search(name)) == wanted_attention
    ]
    hidden = _hidden_size(model, block)
    candidates = [(n, m) for n, m in candidates if _weight(m).shape[1] == hidden]
    if not wanted_attention:
        inner = _inner_size(model)
        candidates = [(n, m) for n, m in candidates if inner in (None, _weight(m).shape[0])]
    if not candidates:
        raise InputError(
            f"no {kind} output projection found in block {path!r} ({type(block).__name__}); name the"
            " modules with --modules PATH,PATH (modules=[...] from Python)"
        )
    name, module = candidates[-1]
    width = _weight(module).shape[0]
    heads = _head_count(model, width) if wanted_attention else 0
    return Site(layer, kind, f"{path}.{name}", "input", width, heads)


def _linear_maps(block: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, module) for name, module in block.named_modules() if _is_linear(module)]


def _is_linear(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def _weight(module: nn.Module) -> torch.Tensor:
    """The weight as [inputs, outputs]; GPT-2's Conv1D stores it so, nn.Linear the other way round."""
    weight: torch.Tensor = module.weight  # type: ignore[assignment]
    return weight if type(module).__name__ == "Conv1D" else weight.T


def _config_value(model: nn.Module, *names: str) -> int | None:
    config = getattr(model, "config", None)
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _hidden_size(model: nn.Module, block: nn.Module) -> int:
    size = _config_value(model, "hidden_size", "d_model", "n_embd", "dim")
    if size is not None:
        return size
    # Without a configuration the residual width is the output of the block's last linear map.
    linear = _linear_maps(block)
    if not linear:
        raise InputError(
            f"cannot tell the width of {type(block).__name__}: it has no linear map and the model"
            " has no config.hidden_size"
        )
    return _weight(linear[-1][1]).shape[1]


def _inner_size(model: nn.Module) -> int | None:
    return _config_value(model, "intermediate_size", "d_ff", "ffn_dim", "n_inner", "hidden_dim")


def _head_count(model: nn.Module, width: int) -> int:
    heads = _config_value(model, "num_attention_heads", "n_head", "num_heads", "n_heads")
    if not heads or width % heads:
        raise InputError(
            f"cannot split {width} attention outputs into heads: the model's configuration says"
            f" {heads!r} heads"
        )
    return heads
