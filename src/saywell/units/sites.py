"""Where in a transformer the units live: found by structure, not by a list of model names.

A *site* is one module input or output whose last axis is a row of units. Three kinds are known:

``ffn``             the hidden neurons of the feed-forward block after the nonlinearity (and, in gated
                    blocks, after the gate): the *input* of the block's down-projection;
``residual``        the residual stream: the *output* of the block;
``attention-head``  one unit per head: the length of what the head adds to the residual stream, from
                    the *input* of the attention's output projection and that projection's weight.

What the structure suggests is then checked against what the model does with a few tokens (see
`saywell.units.probe`): a place that is not what it should be is an error, never a study.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import nn

from saywell.errors import InputError
from saywell.units.probe import TrialRun, first_tensor

SiteKind = Literal["ffn", "residual", "attention-head"]
KINDS: tuple[str, ...] = get_args(SiteKind)

_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)


@dataclass(frozen=True)
class Site:
    """One row of units: `tap` says whether it is the input or the output of the module at `module`."""

    layer: int
    kind: SiteKind
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
    kind: SiteKind = "ffn",
    *,
    layers: Sequence[int] | None = None,
    modules: Sequence[str] | None = None,
) -> list[Site]:
    """The sites of one kind, in layer order.

    `layers` keeps some of them, and no others are looked at. `modules` names the modules by path
    instead of searching (the input of a module for `ffn` and `attention-head`, the output for
    `residual`); layer numbers are then their positions in that list.

    Raises InputError when the structure is not recognised, or the model does not do there what the
    structure suggests, with the option that names the modules by hand.
    """
    if kind not in KINDS:
        raise InputError(f"unknown kind of unit {kind!r}; choose one of {', '.join(KINDS)}")
    probe = TrialRun(model)
    if modules:
        numbers = _chosen(layers, len(modules))
        sites = [_named_site(model, kind, number, modules[number]) for number in numbers]
        return _as_run(probe, sites)
    prefix, blocks = transformer_blocks(model)
    numbers = _chosen(layers, len(blocks))
    if kind == "residual":
        return _residual_sites(model, probe, prefix, blocks, numbers)
    find = _ffn_site if kind == "ffn" else _head_site
    places, lacking = [], []
    for number in numbers:
        try:
            places.append(find(model, number, f"{prefix}.{number}", blocks[number]))
        except InputError as error:
            lacking.append((number, error))
    if lacking:
        found = ",".join(str(site.layer) for site, _ in places)
        having = f"; layers that have them: --layers {found}" if found else ""
        raise InputError(f"{lacking[0][1]}{having}")
    sites = _as_run(probe, [site for site, _ in places])
    check = probe.check_feed_forward if kind == "ffn" else probe.check_last
    check({site.module: related for site, related in places})
    return sites


def _chosen(layers: Sequence[int] | None, count: int) -> list[int]:
    if layers is None:
        return list(range(count))
    unknown = sorted(set(layers) - set(range(count)))
    if unknown:
        raise InputError(f"the model has no layer {unknown[0]}; its layers are 0 to {count - 1}")
    return sorted(set(layers))


def _as_run(probe: TrialRun, sites: Sequence[Site]) -> list[Site]:
    """The sites, each seen to run once with one row per token; outputs as wide as they are."""
    widths = probe.widths([(site.module, site.tap) for site in sites])
    seen = []
    for site, width in zip(sites, widths, strict=True):
        if width is not None and site.tap == "output":
            site = replace(site, width=width)
        if width not in (None, site.width):
            raise InputError(
                f"module {site.module!r} was to have {site.width} inputs and got {width}; name the"
                " modules with --modules PATH,PATH (modules=[...] from Python)"
            )
        seen.append(site)
    return seen


def _residual_sites(
    model: nn.Module, probe: TrialRun, prefix: str, blocks: Sequence[nn.Module], numbers: Sequence[int]
) -> list[Site]:
    """The output of each block, or of the module whose output is what the model calls the layer's."""
    sites = [Site(n, "residual", f"{prefix}.{n}", "output", _hidden_size(model, blocks[n])) for n in numbers]
    own = probe.hidden_states()
    if own is None:
        return _as_run(probe, sites)
    if len(own) != len(blocks) + 1:
        raise InputError(
            f"the model has {len(blocks)} blocks in {prefix!r} and {len(own) - 1} layers by its own"
            " count; name the modules whose output is the residual stream with --modules"
        )
    paths = probe.layer_outputs([f"{prefix}.{n}" for n in range(len(blocks))])
    return _as_run(probe, [replace(site, module=paths[site.layer]) for site in sites])


def encoder_of(model: nn.Module) -> nn.Module:
    """The encoder of an encoder-decoder model, any other model as it is."""
    config = getattr(model, "config", None)
    if getattr(config, "is_encoder_decoder", False) and hasattr(model, "get_encoder"):
        return model.get_encoder()  # type: ignore[operator]
    return model


def transformer_blocks(model: nn.Module) -> tuple[str, list[nn.Module]]:
    """The path and the members of the list of transformer blocks.

    It is the `nn.ModuleList` of members with two linear maps or more each that holds the most
    parameters. Members may differ in type: some layers attend and others convolve. A model with an attribute
    `trunk` has them below that path.
    """
    best: tuple[int, str, list[nn.Module]] | None = None
    trunk = getattr(model, "trunk", "")
    trunk = trunk if isinstance(trunk, str) else ""  # others have a module by that name
    for path, module in model.named_modules():
        if not isinstance(module, nn.ModuleList) or len(module) == 0 or not path.startswith(trunk):
            continue
        blocks = list(module)
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
    weight = _map_matrix(model.get_submodule(site.module))
    per_head = weight.float().reshape(site.heads, -1, weight.shape[1])
    return per_head @ per_head.transpose(1, 2)


@torch.no_grad()
def _map_matrix(module: nn.Module) -> torch.Tensor:
    """What a linear map does to each input [inputs, outputs], its adapters included."""
    place = next(module.parameters())
    one = torch.eye(_shape(module)[0], device=place.device)
    one = one.to(place.dtype) if place.is_floating_point() else one
    training = module.training
    module.eval()
    try:
        return first_tensor(module(one)) - first_tensor(module(torch.zeros_like(one[:1])))
    finally:
        module.train(training)


def _named_site(model: nn.Module, kind: SiteKind, layer: int, path: str) -> Site:
    try:
        module = model.get_submodule(path)
    except AttributeError:
        known = [name for name, _ in model.named_modules() if name.count(".") <= 3 and name]
        raise InputError(
            f"the model has no module {path!r}; some that it has: {', '.join(known[:12])}"
        ) from None
    if kind == "residual":
        return Site(layer, kind, path, "output", _hidden_size(model, module))
    if not is_linear(module):
        raise InputError(
            f"module {path!r} is a {type(module).__name__}; {kind} units are read from the input of"
            " a linear map (the projection back to the residual stream), so name that"
        )
    width = _shape(module)[0]
    heads = head_count(model, path, width) if kind == "attention-head" else 0
    return Site(layer, kind, path, "input", width, heads)


def feed_forward_maps(model: nn.Module, layer: int, path: str, block: nn.Module) -> tuple[str, list[str]]:
    """The paths of a block's map back to the residual stream, and of the maps that lead up to it.

    Raises InputError where there is not one such part.
    """
    site, up = _ffn_site(model, layer, path, block)
    return site.module, up


def _ffn_site(model: nn.Module, layer: int, path: str, block: nn.Module) -> tuple[Site, list[str]]:
    """The down-projection of a block's only feed-forward part, and the maps that lead up to it."""
    hidden = _hidden_size(model, block)
    # A block's attention may itself be called "attention.output"; only the path inside the block counts.
    maps = [(name, _shape(m)) for name, m in _linear_maps(block) if not _ATTENTION.search(name)]
    found: list[tuple[str, list[str], int]] = []
    for down, (width, outputs) in maps:
        # Up to the width, or to twice the width where one map makes gate and values.
        up = [
            name for name, shape in maps if name != down and shape in ((hidden, width), (hidden, 2 * width))
        ]
        if outputs == hidden and up:
            found.append((down, up, width))
    if len(found) > 1 and all(width == hidden for _, _, width in found):
        found = found[-1:]  # square maps lead anywhere; that this one is the last is checked by running
    elif len(found) > 1:
        # Adapters are small feed-forward parts too; the configuration says which one is the layer's.
        found = [one for one in found if one[2] == _inner_size(model)] or found
    elif hidden == _inner_size(model):  # where any map may lead back, one of another width is no layer's
        found = [one for one in found if one[2] == hidden]
    where = f"layer {layer} ({path!r}, {type(block).__name__})"
    by_hand = "name the modules with --modules PATH,PATH (modules=[...] from Python)"
    if len(found) != 1:
        several = ", ".join(name for name, _, _ in found[:4])
        what = f"several feed-forward parts ({several})" if found else "no feed-forward part"
        experts = (
            " but experts, each of which sees some of the tokens"
            if not found and _others(block, [], "")
            else ""
        )
        raise InputError(f"{where} has {what}{experts}; {by_hand}")
    down, up, width = found[0]
    others = _others(block, [down, *up], down)
    if others:
        raise InputError(
            f"{where} has more in its feed-forward part than {down!r}: {others[0]}, as a mixture of"
            f" experts does, each of which sees some of the tokens; {by_hand}"
        )
    return Site(layer, "ffn", f"{path}.{down}", "input", width), [f"{path}.{name}" for name in up]


def _others(block: nn.Module, known: Sequence[str], down: str) -> list[str]:
    """Weights that also take part: stacks of matrices (experts), and matrices beside `down`."""
    part = down.split(".")[0] if "." in down else None
    convolutions = tuple(
        f"{name}." for name, m in block.named_modules() if isinstance(m, nn.modules.conv._ConvNd)
    )
    found = []
    for name, weight in block.named_parameters():
        if _ATTENTION.search(name) or name.startswith((*(f"{k}." for k in known), *convolutions)):
            continue
        beside = part is not None and name.startswith(f"{part}.") and weight.ndim == 2
        if sum(size > 1 for size in weight.shape) > 2 or beside:
            found.append(f"{name} {tuple(weight.shape)}")
    return found


def _head_site(model: nn.Module, layer: int, path: str, block: nn.Module) -> tuple[Site, list[str]]:
    """The output projection of a block's attention, and the other maps of the attention."""
    hidden = _hidden_size(model, block)
    maps = [(name, _shape(m)) for name, m in _linear_maps(block) if _ATTENTION.search(name)]
    back = [(name, shape[0]) for name, shape in maps if shape[1] == hidden]
    if not back:
        raise InputError(
            f"layer {layer} ({path!r}, {type(block).__name__}) has no attention with an output"
            " projection; name the modules with --modules PATH,PATH (modules=[...] from Python)"
        )
    name, width = back[-1]
    heads = head_count(model, f"{path}.{name}", width)
    site = Site(layer, "attention-head", f"{path}.{name}", "input", width, heads)
    return site, [f"{path}.{other}" for other, _ in maps if other != name]


def _linear_maps(block: nn.Module) -> list[tuple[str, nn.Module]]:
    """The linear maps in a block. What is inside one (an adapter's low-rank maps) is part of it."""
    return list(_walk("", block))


def _walk(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, child in module.named_children():
        inner = f"{path}.{name}" if path else name
        if is_linear(child):
            yield inner, child
        else:
            yield from _walk(inner, child)


def is_linear(module: nn.Module) -> bool:
    """`nn.Linear`, whatever stands in for one (quantised, with adapters), and GPT-2's Conv1D."""
    sizes = (getattr(module, "in_features", None), getattr(module, "out_features", None))
    return all(isinstance(size, int) for size in sizes) or type(module).__name__ == "Conv1D"


def _shape(module: Any) -> tuple[int, int]:
    """Inputs and outputs of a linear map."""
    if type(module).__name__ == "Conv1D":  # which stores its weight the other way round
        return tuple(module.weight.shape)
    return module.in_features, module.out_features


def _config_value(model: nn.Module, *names: str) -> int | None:
    config = getattr(model, "config", None)
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int):
            return value
    return None


def _hidden_size(model: nn.Module, block: nn.Module) -> int:
    size = _config_value(model, "hidden_size", "d_model", "n_embd", "dim", "emb_dim")
    if size is not None:
        return size
    # Without a configuration the residual width is the output of the block's last linear map.
    linear = _linear_maps(block)
    if not linear:
        raise InputError(
            f"cannot tell the width of {type(block).__name__}: it has no linear map and the model"
            " has no config.hidden_size"
        )
    return _shape(linear[-1][1])[1]


def _inner_size(model: nn.Module) -> int | None:
    return _config_value(model, "intermediate_size", "d_ff", "ffn_dim", "n_inner", "hidden_dim")


def head_count(model: nn.Module, path: str, width: int) -> int:
    """The number of heads whose outputs are the input of a map, by its attention's own count.

    Layers of one model can differ in it, so the configuration's is for modules that say nothing.
    """
    above: list[nn.Module] = []  # what the map is part of, the nearest first, up to the block
    while path := path.rpartition(".")[0]:
        module = model.get_submodule(path)
        if isinstance(module, nn.ModuleList):
            break
        above.append(module)
    heads = _own_value(above, "num_v_heads", "num_heads", "num_attention_heads", "n_heads", "n_head")
    heads = heads or _config_value(model, "num_attention_heads", "n_head", "num_heads", "n_heads")
    size = _own_value(above, "head_v_dim", "v_head_dim", "head_dim")
    if not heads or width % heads or (size and heads * size != width):
        each = f" of {size} values" if size else ""
        raise InputError(
            f"cannot split {width} attention outputs into heads: the model says {heads!r} heads{each}"
        )
    return heads


def _own_value(modules: Sequence[nn.Module], *names: str) -> int | None:
    """The first whole number by one of these names that one of the modules has."""
    for module in modules:
        for name in names:
            value = getattr(module, name, None)
            if isinstance(value, int):
                return value
    return None
