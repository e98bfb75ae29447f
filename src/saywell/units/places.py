"""Places in a model by the names that people use: what each name means, and where that is.

A place is the input or the output of a module. It can be named by the path of a module (`layers.5.mlp`, with
or without what stands before in the whole model, with `:in` or `:out`, nnsight's `.input` or `.output`), or
by what it is, in the words of

=============== ============================ ======================= =========================================
here, and in    TransformerLens              nnterp                  is
interp-engine
=============== ============================ ======================= =========================================
`resid_pre.L`   `blocks.L.hook_resid_pre`    `layers_input[L]`       what enters block L
`resid_mid.L`   `blocks.L.hook_resid_mid`                            that and what attention adds
`resid_post.L`  `blocks.L.hook_resid_post`   `layers_output[L]`      the model's hidden state L + 1
`attn_in.L`     `blocks.L.attn.hook_in`      `attentions_input[L]`   what attention reads (a norm's output)
`z.L`           `blocks.L.attn.hook_z`                               heads, one after another
`attn_out.L`    `blocks.L.attn.hook_out`     `attentions_output[L]`  what attention gives, raw
`attn_out_post` `blocks.L.hook_attn_out`                             what attention adds to the stream
`mlp_in.L`      `blocks.L.mlp.hook_in`       `mlps_input[L]`         what the feed-forward part reads
`mlp_pre.L`     `blocks.L.mlp.hook_pre`                              before the nonlinearity (of the gate)
`mlp_act.L`     `blocks.L.mlp.hook_post`                             neurons: after it, and after the gate
`mlp_out.L`     `blocks.L.mlp.hook_out`      `mlps_output[L]`        what the feed-forward part gives, raw
`mlp_out_post`  `blocks.L.hook_mlp_out`                              what it adds to the stream
                `blocks.L.ln1.hook_normalized`                       in a norm, or its output; see below
`embeddings`    `hook_embed`                                         of the tokens alone
`final_norm`    `unembed.hook_in`                                    what the unembedding reads
=============== ============================ ======================= =========================================

Traps, each from the source of those who made the names, and seen on tiny models in both. In blocks that also
normalise what a part gives (Gemma 2 and 3, OLMo 2) `hook_mlp_out` and `hook_attn_out` come after that norm
and `mlp.hook_out` before it (transformer_lens 2.17, components/transformer_block.py; interp-engine,
mappers.py). `hook_normalized` comes before the weight of an RMSNorm (components/rms_norm.py), so that the
next module reads something else, and after weight and bias of a LayerNorm (components/layer_norm.py).
`hook_mlp_in` comes before the norm (transformer_block.py): it is `resid_mid`. In post-norm blocks
`hook_resid_mid` and `hook_resid_post` come before the norms, and the block's output is
`hook_normalized_resid_post` (components/bert_block.py). Parallel blocks (GPT-J, GPT-NeoX) have no
`hook_resid_mid`. `hook_embed` has the factor by which a model scales its embeddings
(pretrained/weight_conversions/gemma.py), and no positions.

TransformerLens can change the weights of a model when it loads it, and with them what is at a place.
`center_writing_weights` (which SAELens asks for with its first dictionaries of GPT-2) takes the mean off all
that is written to the stream: `blocks.L.hook_resid_pre:centred`. `fold_ln` has a LayerNorm without weights:
`blocks.L.ln2.hook_normalized:folded`. `fold_value_biases` leaves the biases of values out of `hook_z`; that
is not done here.

What a name stands for is found in the numbers of a short run (see `blocks`), and is an error where it is not
there.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import polars as pl
import torch
from torch import nn

from saywell.errors import InputError
from saywell.units.blocks import Added, Norm, Tensors, Where, additions, as_norm
from saywell.units.models import LoadedModel, VisionModel
from saywell.units.pictures import Place, find_places, made_up, place_of
from saywell.units.probe import Side, Trace, TrialRun, layer_outputs, trace
from saywell.units.sites import feed_forward_maps, head_count, is_linear, transformer_blocks

_TRANSFORMER_LENS = {
    "resid_pre": "hook_resid_pre",
    "ln1_normalized": "ln1.hook_normalized",
    "attn_in": "attn.hook_in",
    "z": "attn.hook_z",
    "attn_out": "attn.hook_out",
    "attn_out_post": "hook_attn_out",
    "resid_mid": "hook_resid_mid",
    "ln2_normalized": "ln2.hook_normalized",
    "mlp_in": "mlp.hook_in",
    "mlp_pre": "mlp.hook_pre",
    "mlp_pre_linear": "mlp.hook_pre_linear",
    "mlp_act": "mlp.hook_post",
    "mlp_out": "mlp.hook_out",
    "mlp_out_post": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
"""Of a layer, in the order in which they come."""
_NNTERP = {
    "resid_pre": "layers_input",
    "attn_in": "attentions_input",
    "attn_out": "attentions_output",
    "mlp_in": "mlps_input",
    "mlp_out": "mlps_output",
    "resid_post": "layers_output",
}
_WHOLE = {
    "embeddings": "hook_embed",
    "final_normalized": "ln_final.hook_normalized",
    "final_norm": "unembed.hook_in",
}
_ALSO = {"hook_mlp_in": "resid_mid", "hook_normalized_resid_post": "resid_post"}
"""Other names in TransformerLens, of what has one already."""
_ATTENTION = re.compile(r"attn|attention", re.IGNORECASE)
_CENTRED, _FOLDED = "centred", "folded"
_STREAM = frozenset(
    "embeddings resid_pre resid_mid resid_post attn_out attn_out_post mlp_out mlp_out_post".split()
)
_SIDES: dict[str, Side] = {":in": "input", ":out": "output", ".input": "input", ".output": "output"}


POINTS = pl.Schema(
    {
        "layer": pl.Int32,
        "what": pl.String,
        "module": pl.String,
        "side": pl.String,
        "width": pl.Int32,
        "transformer_lens": pl.String,
        "nnterp": pl.String,
        "interp_engine": pl.String,
        "rows": pl.Int32,
        "columns": pl.Int32,
        "note": pl.String,
    }
)
_OURS = {"ln1_normalized", "ln2_normalized", "final_normalized"}
"""What interp-engine has no word for."""


@dataclass(frozen=True)
class HookPoint:
    """A place in a model. `name` is as it was asked for; `kind` one of those above, or "module"."""

    name: str
    module: str
    side: Side
    width: int
    kind: str = "module"
    layer: int | None = None
    note: str = ""
    heads: int = 0
    """Of `z`: they stand one after another in the width."""
    head: int | None = None
    """The one that is read; None: all."""
    norm: Norm | None = None
    """What is done to the numbers here, where the place is inside a norm."""
    centred: bool = False
    """Whether their mean is taken off them."""
    place: Place | None = None
    """Of an image model: the grid of places in the picture."""

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """The numbers at this place [..., width] from all that are at the module."""
        if self.head is not None:
            values = values.unflatten(-1, (self.heads, -1))[..., self.head, :]
        if self.centred:
            values = values - values.mean(-1, keepdim=True)
        return values if self.norm is None else self.norm(values).to(values.dtype)


class Missing(Exception):
    """Why a model has no such place."""


class Places:
    """A model, what passed its modules in a short run, and what its blocks add."""

    def __init__(self, model: LoadedModel | VisionModel) -> None:
        self.loaded, self.model = model, model.model
        self.trial = TrialRun(self.model)
        if isinstance(model, VisionModel):
            self.seen, by_position = _seen_pictures(model), _by_picture
        else:
            seen, by_position = self.trial.trace(), self.trial.by_token
            if seen is None:
                raise InputError(f"{model.name!r} has no embedding of tokens, so it cannot be looked into")
            self.seen = seen
        self.tensors = Tensors(self.seen.ran, by_position)
        self.ran = dict.fromkeys(one.module for one in self.seen.ran)
        try:
            self.prefix, self.blocks = transformer_blocks(self.model)
        except InputError:
            self.prefix, self.blocks = "", []
        self._parts: dict[int, list[Added] | None] = {}
        self._norms: dict[str, Norm | None] = {}

    def pictured(self, point: HookPoint) -> HookPoint:
        """A place in an image model with its grid."""
        assert isinstance(self.loaded, VisionModel)
        if point.place is not None:
            return point
        runs = [one for one in self.seen.ran if one.module == point.module]
        if len(runs) != 1:
            how = f"runs {len(runs)} times" if runs else "does not run"
            raise InputError(f"module {point.module!r} {how} for a picture; name another")
        tensor = runs[0].entered if point.side == "input" else runs[0].left
        if tensor is None:
            raise InputError(f"the {point.side} of module {point.module!r} is no tensor; name another")
        place = place_of(self.loaded, point.module, tensor)
        return replace(point, width=place.units, place=place)

    def find(self, name: str, head: int | None = None) -> HookPoint:
        """The place of a name; see `hook_points.find_hook`."""
        point = self._named(name)
        if isinstance(self.loaded, VisionModel):
            point = self.pictured(point)
        else:
            (width,) = self.trial.widths([(point.module, point.side)])
            point = point if width is None else replace(point, width=width)
        if head is None:
            return point
        if not 0 <= head < point.heads:
            has = f"has heads 0 to {point.heads - 1}" if point.heads else "has no heads"
            raise InputError(f"{name!r} {has}, and not head {head}")
        return replace(point, head=head, width=point.width // point.heads)

    def same(self, one: HookPoint, other: HookPoint) -> bool:
        """Whether two places hold the same numbers, under whatever names."""
        a, b = (self.tensors.get(point.module, point.side) for point in (one, other))
        if a is None or b is None:
            return (one.module, one.side) == (other.module, other.side)
        return _same(one.of(a), other.of(b))

    def _named(self, name: str) -> HookPoint:
        plain, _, processed = name.partition(":")
        if processed in (_CENTRED, _FOLDED):
            return replace(self._processed(self._named(plain), processed), name=name)
        kind, layer = self._read(name)
        if isinstance(self.loaded, VisionModel) and name in ("outputs", "channels"):
            (place,) = find_places(self.loaded, name)
            return HookPoint(name, place.module, "output", place.units, name, place=place)
        if isinstance(self.loaded, VisionModel) and name == "pooled":
            return HookPoint(name, self._pooled(), "output", 0, name)
        if kind is None:
            return self._by_path(name)
        try:
            point = self.at(kind, layer, name)
        except Missing as why:
            raise InputError(f"there is no {name!r} in {type(self.model).__name__}: {why}") from None
        return replace(point, name=name)

    def _processed(self, point: HookPoint, how: str) -> HookPoint:
        """A place as it is in a model whose weights TransformerLens has changed."""
        if how == _CENTRED and point.kind in _STREAM:
            return replace(point, centred=True, note="; ".join(filter(None, (point.note, "less its mean"))))
        if how == _FOLDED and point.kind.endswith("_normalized"):
            note = point.note.replace("after", "before")
            return replace(point, side="input", norm=self._norm_at(point.module), note=note)
        of = "the residual stream and what is added to it" if how == _CENTRED else "hook_normalized"
        raise InputError(f"{point.name!r} has no {how!r}, which is of {of}; leave out ':{how}'")

    def _read(self, name: str) -> tuple[str | None, int | None]:
        """The kind and the layer that a name speaks of; (None, None) for a path."""
        for kind, lens in _WHOLE.items():
            if name in (kind, lens):
                return kind, None
        if found := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
            kinds = {lens: kind for kind, lens in _TRANSFORMER_LENS.items()} | _ALSO
            if found[2] in kinds:
                return kinds[found[2]], int(found[1])
        if found := re.fullmatch(r"(\w+)\[(\d+)\]", name):
            kinds = {nnterp: kind for kind, nnterp in _NNTERP.items()}
            if found[1] in kinds:
                return kinds[found[1]], int(found[2])
        if (found := re.fullmatch(r"(\w+)\.(\d+)", name)) and found[1] in _TRANSFORMER_LENS:
            return found[1], int(found[2])
        return None, None

    def _pooled(self) -> str:
        """The module that makes one vector of the whole picture."""
        wanted = getattr(self.seen.output, "pooler_output", None)
        if wanted is not None:
            given = [one for one in self.seen.ran if one.left is not None and len(one.left) == len(wanted)]
            same = [one.module for one in given if _same(one.left.flatten(1), wanted.flatten(1))]  # type: ignore
            if same:
                return min(same, key=lambda path: path.count("."))
        raise InputError(f"no module of {self.loaded.name!r} gives one vector of a picture; name a place")

    def _by_path(self, name: str) -> HookPoint:
        path, side = name, "output"
        plain = re.sub(r"\[(\d+)\]", r".\1", name)
        for ending, other in _SIDES.items():
            if plain.endswith(ending) and self._module(plain) is None:
                plain, side = plain.removesuffix(ending), other
                break
        path = self._module(plain)
        if path is None:
            known = [*self.names(), *self.ran]
            near = get_close_matches(name, known, n=4, cutoff=0.5) or [one for one in known if one][:6]
            raise InputError(
                f"{type(self.model).__name__} has no place {name!r}; near: {', '.join(near)} (all: `saywell"
                " places`)"
            )
        there = self.tensors.get(path, side)  # type: ignore[arg-type]
        width = 0 if there is None else there.shape[-1]
        return HookPoint(name, path, side, width, layer=self._layer_of(path))  # type: ignore[arg-type]

    def _layer_of(self, path: str) -> int | None:
        """The block that a module is, or is in."""
        inside = (n for n in range(len(self.blocks)) if f"{path}.".startswith(f"{self._block(n)}."))
        return next(inside, None)

    def _module(self, path: str) -> str | None:
        """The module that is meant: whole models have more in front of a path than their trunks."""
        modules = dict(self.model.named_modules())
        steps = path.split(".")
        for start in range(len(steps)):
            rest = ".".join(steps[start:])
            if rest and rest in modules and not any(step.isdigit() for step in steps[:start]):
                return rest
        longer = [one for one in modules if one.endswith(f".{path}")]
        return longer[0] if path and len(longer) == 1 else None

    def names(self) -> list[str]:
        """All names of TransformerLens."""
        layers = [
            f"blocks.{n}.{lens}" for n in range(len(self.blocks)) for lens in _TRANSFORMER_LENS.values()
        ]
        return [*_WHOLE.values(), *layers]

    def table(self) -> pl.DataFrame:
        """See `hook_points`."""
        found: list[dict[str, Any]] = []
        wanted = [("embeddings", None)]
        wanted += [(kind, layer) for layer in range(len(self.blocks)) for kind in _TRANSFORMER_LENS]
        wanted += [("final_normalized", None), ("final_norm", None)]
        for kind, layer in wanted:
            lens = _WHOLE[kind] if layer is None else f"blocks.{layer}.{_TRANSFORMER_LENS[kind]}"
            try:
                point = self.at(kind, layer)
                point = self.pictured(point) if isinstance(self.loaded, VisionModel) else point
            except (Missing, InputError):
                continue
            if kind == "resid_post" and layer is not None and self._post_norm(layer):
                lens = f"blocks.{layer}.hook_normalized_resid_post"
            names = {
                "transformer_lens": lens,
                "nnterp": f"{_NNTERP[kind]}[{layer}]" if kind in _NNTERP else None,
                "interp_engine": None if kind in _OURS else kind if layer is None else f"{kind}.{layer}",
            }
            found.append(_row(point, kind) | names)
        if not self.blocks and isinstance(self.loaded, VisionModel):
            found += self._pictured_modules()
        return pl.DataFrame(found, schema=POINTS)

    def _pictured_modules(self) -> list[dict[str, Any]]:
        """Those whose outputs are rows of units; of several with the same the one nearest to the root."""
        found, seen = [], []
        for one in sorted(self.seen.ran, key=lambda one: one.module.count(".")):
            if one.left is None or any(_same(one.left, other) for other in seen):
                continue
            try:
                point = self.pictured(HookPoint(one.module, one.module, "output", 0))
            except InputError:
                continue
            seen.append(one.left)
            found.append(_row(point, "module"))
        order = list(self.ran)
        return sorted(found, key=lambda row: order.index(row["module"]))

    # ---- what each kind is

    def at(self, kind: str, layer: int | None, name: str = "") -> HookPoint:
        """Raises Missing, with the reason, where there is none."""
        if layer is not None and not 0 <= layer < len(self.blocks):
            raise Missing(
                f"its layers are 0 to {len(self.blocks) - 1}" if self.blocks else "it has no layers"
            )
        if layer is None:
            return getattr(self, f"_{kind}")()
        if kind == "resid_post" and name.endswith(".hook_resid_post"):
            kind = "resid_last" if self._post_norm(layer) else kind
        find: Callable[[int], HookPoint] = getattr(self, f"_{kind}")
        return find(layer)

    def _point(self, kind: str, where: Where, layer: int | None, note: str = "", **more: Any) -> HookPoint:
        tensor = self.tensors.get(*where)
        if tensor is None:
            raise Missing(f"the {where.side} of {where.module!r} has no row for each token")
        return HookPoint(kind, where.module, where.side, tensor.shape[-1], kind, layer, note, **more)

    def _block(self, layer: int) -> str:
        return f"{self.prefix}.{layer}"

    def _added(self, layer: int) -> list[Added]:
        if layer not in self._parts:
            block = self._block(layer)
            self._parts[layer] = additions(
                self.tensors.within(block), block, lambda path: self._norm_at(path) is not None
            )
        found = self._parts[layer]
        if found is None:
            raise Missing(
                f"what its block {layer} gives is not what enters it and the outputs of some of its modules,"
                " added up"
            )
        return found

    def _post_norm(self, layer: int) -> bool:
        try:
            return self._added(layer)[-1].norm is not None
        except Missing:
            return False

    def _resid_pre(self, layer: int) -> HookPoint:
        here, states = Where(self._block(layer), "input"), self.seen.states
        tensor = self.tensors.get(*here)
        if states is None or len(states) != len(self.blocks) + 1:
            return self._point("resid_pre", here, layer)
        if tensor is not None and tensor.shape == states[layer].shape and torch.equal(tensor, states[layer]):
            return self._point("resid_pre", here, layer)
        same = self.tensors.equal(states[layer])
        if not same:
            raise Missing(f"no module reads or gives the model's hidden state {layer}")
        return self._point("resid_pre", same[0], layer)

    def _resid_post(self, layer: int) -> HookPoint:
        note = "after the norm of a post-norm block" if self._post_norm(layer) else ""
        states = self.seen.states
        path = self._block(layer)
        if states is not None:
            if len(states) != len(self.blocks) + 1:
                raise Missing(
                    f"it has {len(self.blocks)} blocks and {len(states) - 1} layers by its own count"
                )
            if isinstance(self._layer_outputs, InputError):
                raise Missing(str(self._layer_outputs))
            path = self._layer_outputs[layer]
        return self._point("resid_post", Where(path, "output"), layer, note)

    @cached_property
    def _layer_outputs(self) -> list[str] | InputError:
        try:
            return layer_outputs(self.seen, [self._block(n) for n in range(len(self.blocks))])
        except InputError as error:
            return error

    def _resid_last(self, layer: int) -> HookPoint:
        last = self._added(layer)[-1]
        assert last.norm is not None
        note = "before the norm that ends a post-norm block; its output is hook_normalized_resid_post"
        return self._point("resid_post", Where(last.norm, "input"), layer, note)

    def _attention(self, layer: int) -> Added:
        return self._one_of(layer, True)

    def _feed_forward(self, layer: int) -> Added:
        return self._one_of(layer, False)

    def _one_of(self, layer: int, attention: bool) -> Added:
        """The first thing added by attention, or the last by what is none."""
        found, what = self._added(layer), "attention" if attention else "feed-forward part"
        block = self._block(layer)
        inside = [self._raw(one).removeprefix(f"{block}.") for one in found]
        # With a norm of its own, or as a part of its block, what is added need not say what it is.
        attends = [bool(_ATTENTION.search(path)) for path in inside]
        chosen = [one for one, is_one in zip(found, attends, strict=True) if is_one == attention]
        if not chosen:
            raise Missing(f"its block {layer} has no {what} that adds to the residual stream")
        return chosen[0] if attention else chosen[-1]

    def _raw(self, added: Added) -> str:
        """The module that gives what is added, before a norm of its own."""
        norm = self._norm_at(added.module)
        if norm is None:
            return added.module
        entered = self.tensors.get(added.module, "input")
        given = [] if entered is None else self.tensors.equal(entered, "output")
        return given[0].module if given else added.module

    def _norm_at(self, path: str) -> Norm | None:
        if path not in self._norms:
            given, module = self.tensors.get(path, "output"), self.model.get_submodule(path)
            inside = list(module.children())
            self._norms[path] = None if given is None or inside else as_norm(module, given.shape[-1])
        return self._norms[path]

    def _out(self, kind: str, layer: int, added: Added) -> HookPoint:
        raw = self._raw(added)
        note = "" if raw == added.module else f"before the norm {added.module.rpartition('.')[2]!r}"
        return self._point(kind, Where(raw, "output"), layer, note)

    def _out_post(self, kind: str, layer: int, added: Added) -> HookPoint:
        raw = self._raw(added)
        note = "" if raw == added.module else f"after the norm; {raw!r} is before it"
        return self._point(kind, Where(added.module, "output"), layer, note)

    def _attn_out(self, layer: int) -> HookPoint:
        return self._out("attn_out", layer, self._attention(layer))

    def _attn_out_post(self, layer: int) -> HookPoint:
        return self._out_post("attn_out_post", layer, self._attention(layer))

    def _mlp_out(self, layer: int) -> HookPoint:
        return self._out("mlp_out", layer, self._feed_forward(layer))

    def _mlp_out_post(self, layer: int) -> HookPoint:
        return self._out_post("mlp_out_post", layer, self._feed_forward(layer))

    def _resid_mid(self, layer: int) -> HookPoint:
        added = self._attention(layer)
        if added.after is None:
            raise Missing(
                f"in block {layer} attention and feed-forward part both read what enters it (parallel)"
            )
        if added.after.module == self._block(layer):
            raise Missing(f"nothing follows attention in block {layer}")
        note = "before the norm of a post-norm block" if added.norm else ""
        return self._point("resid_mid", added.after, layer, note)

    def _map_back(self, layer: int, added: Added) -> str | None:
        """The linear map that gives what a part gives."""
        given = self.tensors.get(self._raw(added), "output")
        assert given is not None
        for where in self.tensors.within(self._block(layer)).equal(given, "output"):
            if is_linear(self.model.get_submodule(where.module)):
                return where.module
        return None

    def _z(self, layer: int) -> HookPoint:
        path = self._map_back(layer, self._attention(layer))
        if path is None:
            raise Missing(f"attention in block {layer} does not end in a linear map")
        point = self._point("z", Where(path, "input"), layer)
        return replace(point, heads=head_count(self.model, path, point.width))

    def _mlp_act(self, layer: int) -> HookPoint:
        path = self._map_back(layer, self._feed_forward(layer))
        if path is None:
            raise Missing(f"the feed-forward part of block {layer} does not end in a linear map")
        return self._point("mlp_act", Where(path, "input"), layer)

    def _up(self, layer: int) -> tuple[str, list[str]]:
        """The map back of a feed-forward part, and the maps that lead up to it."""
        found = self._ups[layer]
        if isinstance(found, InputError):
            raise Missing(str(found))
        if found[0] != self._map_back(layer, self._feed_forward(layer)):
            raise Missing(f"{found[0]!r} does not give what is added")
        return found

    @cached_property
    def _ups(self) -> list[tuple[str, list[str]] | InputError]:
        """Of each layer what `feed_forward_maps` says, seen to be so; all together, since it costs runs."""

        def checked(layers: list[int]) -> dict[int, tuple[str, list[str]]]:
            maps = {n: feed_forward_maps(self.model, n, self._block(n), self.blocks[n]) for n in layers}
            if isinstance(self.loaded, LoadedModel):
                self.trial.check_feed_forward(dict(maps.values()))
            return maps

        every = list(range(len(self.blocks)))
        try:
            return list(checked(every).values())
        except InputError:
            found: list[tuple[str, list[str]] | InputError] = []
        for layer in every:
            try:
                found += checked([layer]).values()
            except InputError as error:
                found.append(error)
        return found

    def _mlp_maps(self, layer: int) -> tuple[str, str | None]:
        """The map before the nonlinearity, and the one that is multiplied with what that gives."""
        down, up = self._up(layer)
        neurons = self.tensors.get(down, "input")
        given = [self.tensors.get(path, "output") for path in up]
        assert neurons is not None
        if any(one is None or one.shape != neurons.shape for one in given):
            raise Missing(f"in block {layer} one map makes gate and values ({up[0]!r})")
        if len(up) == 1:
            return up[0], None
        for gate, value in (up, up[::-1]):
            if _is_linear_in(self.model, self.tensors, down, value):
                return gate, value
        raise Missing(f"which of {', '.join(map(repr, up))} is the gate cannot be told")

    def _mlp_pre(self, layer: int) -> HookPoint:
        return self._point("mlp_pre", Where(self._mlp_maps(layer)[0], "output"), layer)

    def _mlp_pre_linear(self, layer: int) -> HookPoint:
        value = self._mlp_maps(layer)[1]
        if value is None:
            raise Missing(f"the feed-forward part of block {layer} has no gate")
        return self._point("mlp_pre_linear", Where(value, "output"), layer)

    def _mlp_in(self, layer: int) -> HookPoint:
        try:
            return self._point("mlp_in", self._outermost(Where(self._up(layer)[1][0], "input"), layer), layer)
        except Missing:
            return self._point("mlp_in", Where(self._raw(self._feed_forward(layer)), "input"), layer)

    def _attn_in(self, layer: int) -> HookPoint:
        added = self._attention(layer)
        raw, back = self._raw(added), self._map_back(layer, added)
        if raw != back:
            return self._point("attn_in", Where(raw, "input"), layer)
        block = self._block(layer)
        for where in self.tensors.within(block).at:
            attends = _ATTENTION.search(where.module.removeprefix(f"{block}.")) and where.module != back
            if attends and where.side == "input" and is_linear(self.model.get_submodule(where.module)):
                return self._point("attn_in", self._outermost(where, layer), layer)
        raise Missing(f"attention in block {layer} reads by no linear map")

    def _outermost(self, where: Where, layer: int) -> Where:
        """The same at the module nearest to the root that holds this one, in its block."""
        tensor = self.tensors.get(*where)
        inside = self.tensors.within(self._block(layer))
        same = [] if tensor is None else inside.equal(tensor, where.side)
        return next((other for other in same if f"{where.module}.".startswith(f"{other.module}.")), where)

    def _ln1_normalized(self, layer: int) -> HookPoint:
        return self._normalized("ln1_normalized", layer, self._attn_in, 0)

    def _ln2_normalized(self, layer: int) -> HookPoint:
        return self._normalized("ln2_normalized", layer, self._mlp_in, -1)

    def _normalized(self, kind: str, layer: int, read: Callable[[int], HookPoint], which: int) -> HookPoint:
        """Inside the norm before a part; in post-norm blocks the one after it."""
        added = self._added(layer)[which]
        if added.norm is not None:
            norms = [added.norm]
        else:
            point = read(layer)
            tensor = self.tensors.get(point.module, point.side)
            assert tensor is not None
            norms = [where.module for where in self.tensors.equal(tensor, "output")]
        for path in norms:
            norm = self._norm_at(path)
            if norm is not None:
                return self._in_norm(kind, path, layer, norm)
        raise Missing(f"no norm gives what that part of block {layer} reads")

    def _in_norm(self, kind: str, path: str, layer: int | None, norm: Norm) -> HookPoint:
        """`hook_normalized`, which of a LayerNorm has its weights and of an RMSNorm comes before them."""
        called = repr(path.rpartition(".")[2])
        if norm.centres:
            return self._point(kind, Where(path, "output"), layer, f"after the weights of {called}")
        return self._point(kind, Where(path, "input"), layer, f"before the weights of {called}", norm=norm)

    def _embeddings(self) -> HookPoint:
        embedding = self._embedding()
        own = self.tensors.get(embedding, "output")
        first = self.tensors.get(self._block(0), "input") if self.blocks else None
        if own is not None and first is not None and own.shape == first.shape and not torch.equal(own, first):
            ratio = first / own
            if torch.allclose(ratio, ratio.flatten()[0], rtol=1e-2 if own.dtype != torch.float32 else 1e-4):
                note = "with the factor by which the model scales them"
                return self._point("embeddings", Where(self._block(0), "input"), None, note)
        return self._point("embeddings", Where(embedding, "output"), None)

    def _embedding(self) -> str:
        modules = dict(self.model.named_modules())
        try:
            wanted = self.model.get_input_embeddings()  # type: ignore[operator]
        except (AttributeError, NotImplementedError, TypeError):
            wanted = next((m for m in modules.values() if isinstance(m, nn.Embedding)), None)
        path = next((path for path, module in modules.items() if module is wanted and path), None)
        if path is None:
            raise Missing("it has no embedding of tokens")
        return path

    def _last_norm(self) -> str:
        last = len(self.blocks) - 1
        if last < 0:
            raise Missing("it has no layers")
        post = self._resid_post(last)
        tensor = self.tensors.get(post.module, post.side)
        assert tensor is not None
        for where in self.tensors.equal(tensor, "input"):
            if not where.module.startswith(f"{self.prefix}.") and self._norm_at(where.module) is not None:
                return where.module
        raise Missing("no norm reads what its last block gives")

    def _final_norm(self) -> HookPoint:
        return self._point("final_norm", Where(self._last_norm(), "output"), None)

    def _final_normalized(self) -> HookPoint:
        path = self._last_norm()
        norm = self._norm_at(path)
        assert norm is not None
        return self._in_norm("final_normalized", path, None, norm)


def _row(point: HookPoint, what: str) -> dict[str, Any]:
    grid = (None, None) if point.place is None or point.place.grid is None else point.place.grid
    return {
        "layer": point.layer,
        "what": what,
        "module": point.module,
        "side": point.side,
        "width": point.width,
        "rows": grid[0],
        "columns": grid[1],
        "note": point.note or (f"{point.heads} heads" if point.heads else None),
    }


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)


def _seen_pictures(model: VisionModel) -> Trace:
    pixels = made_up(model)
    more = {"output_hidden_states": True} if hasattr(model.model, "config") else {}
    with torch.inference_mode():
        return trace(model.model, lambda: model.model(pixel_values=pixels, **more))


def _by_picture(values: torch.Tensor) -> torch.Tensor | None:
    return values if values.ndim == 3 and len(values) == 2 else None


@torch.no_grad()
def _is_linear_in(model: nn.Module, tensors: Tensors, down: str, value: str) -> bool:
    """Whether what enters `down` doubles where what `value` gives is doubled."""
    around = down
    while around and not value.startswith(f"{around}."):
        around = around.rpartition(".")[0]
    entered = tensors.get(around, "input")
    before = tensors.get(down, "input")
    if entered is None or before is None:
        return False
    seen: list[torch.Tensor] = []

    def double(module: nn.Module, args: Any, output: Any) -> Any:
        return 2 * output

    hooks = [
        model.get_submodule(value).register_forward_hook(double),
        model.get_submodule(down).register_forward_pre_hook(
            lambda module, args: seen.append(args[0].clone())
        ),
    ]
    try:
        model.get_submodule(around)(entered)
    except Exception:  # a module that is not called with what it reads alone
        return False
    finally:
        for hook in hooks:
            hook.remove()
    return len(seen) == 1 and torch.allclose(seen[0].reshape(before.shape), 2 * before, rtol=1e-3)
