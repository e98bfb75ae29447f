"""One streaming pass of a model over texts: pooled activations on disk, strongest examples kept.

The pass is a map over *shards* (a few thousand texts of one part). A finished shard leaves

    activations/PART-00000.safetensors   high, low [texts, units] float32, rows [texts] int32
    activations/PART-top.safetensors     strongest and weakest examples so far, shards included

so a pass that was stopped goes on with the next shard, and memory is bounded by one shard and the
lists of strongest examples, whatever the number of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from safetensors import safe_open
from torch import nn

from saywell.data.parts import DESCRIBE, SELECT
from saywell.encoders.positions import vocabulary
from saywell.errors import InputError
from saywell.store.files import is_whole, write_arrays
from saywell.units.pooling import Pooling, Scratch, pool_tokens
from saywell.units.probe import by_token, first_tensor
from saywell.units.sites import Site, head_gram
from saywell.units.strongest import Exemplars, TopExamples
from saywell.units.tokens import Batch, Tokens, batches

SHARD_TEXTS = 2048
_SIDES = ("high", "low")
_FEWEST_TEXTS, _CELLS = 256, 1 << 24
"""A shard of very many units holds fewer texts, so that its arrays take some hundreds of megabytes."""


class BrokenActivations(InputError):
    """A unit's activation is not finite; `text` is the position of the text that made it."""

    def __init__(self, text: int, unit: str) -> None:
        super().__init__(
            f"unit {unit} gave an activation that is NaN or infinite on text {text}; check the model's"
            " weights, or, if it was loaded in half precision, load it with --dtype float32"
        )
        self.text = text


@dataclass(frozen=True)
class Pass:
    """How a pass is made; everything here can change the numbers, so a study records it."""

    pool: Pooling = "max"
    top: int = 50
    token_budget: int = 1024
    shard_texts: int = SHARD_TEXTS


def collect_activations(
    model: nn.Module,
    sites: Sequence[Site],
    tokens: Tokens,
    splits: Mapping[str, Int[np.ndarray, " texts"]],
    folder: Path,
    settings: Pass,
    *,
    pad_id: int = 0,
    of: str = "",
    keep_top: Sequence[str] = (DESCRIBE, SELECT),
    progress: Callable[[int], None] = lambda texts: None,
) -> None:
    """Run the model over every split and leave pooled activations and strongest examples in `folder`.

    `splits` gives each split's texts as positions in `tokens`. `keep_top` names the splits whose
    strongest examples are wanted. `of` says what is run on what: a pass goes on only where one of
    the same stopped, and a split of which a file changed since is begun anew. `progress` is
    told how many texts each batch held, and at the start how many an earlier pass had done.

    Raises BrokenActivations when an activation is NaN or infinite, naming the unit and the text.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.eval()
    known = vocabulary(model)
    if known is not None and tokens.ids.max(initial=0) >= known:
        raise InputError(
            f"the tokenizer gives token {tokens.ids.max()}, and the model knows 0 to {known - 1}; the two"
            " do not belong together"
        )
    # Files are written while the next shard is computed, one at a time and in order.
    with (
        ThreadPoolExecutor(1) as writer,
        _Tap(model, sites, settings.pool, int(tokens.lengths.max(initial=0))) as tap,
        torch.inference_mode(),
    ):
        texts = min(settings.shard_texts, max(_FEWEST_TEXTS, _CELLS // max(1, tap.units)))
        writing: Future[None] | None = None
        for split, rows in splits.items():
            ordered = processing_order(tokens, rows)
            shards = [ordered[start : start + texts] for start in range(0, len(ordered), texts)]
            tops = _Tops(sites, settings.top, tap.device) if split in keep_top else None
            done = _resume(folder, split, tops, of)
            seen = sum(len(shard) for shard in shards[:done])
            progress(seen)
            for number, shard in enumerate(shards[done:], start=done):
                tap.begin_shard(len(shard), positions=tops is not None)
                for batch in batches(tokens, shard, token_budget=settings.token_budget, pad_id=pad_id):
                    tap.run(batch)
                    progress(len(batch.rows))
                arrays = tap.end_shard(shard)
                if tops is not None:
                    tops.add(arrays, seen)
                strongest = tops.arrays() if tops is not None else {}
                if writing is not None:
                    writing.result()  # so that the arrays of the shard before are free again
                writing = writer.submit(_write_shard, folder, split, number, arrays, shard, strongest, of)
                seen += len(shard)
        if writing is not None:
            writing.result()


def processing_order(tokens: Tokens, rows: Int[np.ndarray, " texts"]) -> Int[np.ndarray, " texts"]:
    """Longest text first, equals by position: little padding, early high thresholds, one order."""
    return rows[np.lexsort((rows, -tokens.lengths[rows]))]


class _Tops:
    """Strongest and weakest examples of the units of every site."""

    def __init__(self, sites: Sequence[Site], m: int, device: torch.device) -> None:
        self.sides = {side: [TopExamples(site.units, m, device) for site in sites] for side in _SIDES}

    def add(self, shard: Mapping[str, torch.Tensor], first_example: int) -> None:
        for side, sign in zip(_SIDES, (1, -1), strict=True):
            values, positions = shard.get(side, shard["high"]), shard[f"{side}_position"]
            start = 0
            for top in self.sides[side]:
                columns = slice(start, start + top.units)
                top.add(values[:, columns], positions[:, columns], first_example, sign=sign)
                start += top.units

    def arrays(self) -> dict[str, torch.Tensor]:
        arrays: dict[str, torch.Tensor] = {}
        for side, per_site in self.sides.items():
            results = [top.result() for top in per_site]
            for name in Exemplars._fields:
                arrays[f"{side}_{name}"] = torch.cat([getattr(r, name) for r in results]).cpu()
        return arrays

    def restore(self, arrays: Mapping[str, torch.Tensor]) -> None:
        for side, per_site in self.sides.items():
            sizes = [top.units for top in per_site]
            pieces = [arrays[f"{side}_{name}"].split(sizes) for name in Exemplars._fields]
            for top, *saved in zip(per_site, *pieces, strict=True):
                top.restore(Exemplars(*saved))


class _Tap:
    """Hooks on a model's sites that pool each batch into the shard's arrays as it passes."""

    def __init__(self, model: nn.Module, sites: Sequence[Site], pool: Pooling, longest: int) -> None:
        self.model, self.sites = model, sites
        self._place = torch.int16 if longest <= torch.iinfo(torch.int16).max else torch.int32
        self.pool: Pooling = pool
        self.device = next(model.parameters()).device
        self.units = sum(site.units for site in sites)
        self._offsets = np.cumsum([0, *(site.units for site in sites)]).tolist()
        self._grams = {
            number: head_gram(model, site)
            for number, site in enumerate(sites)
            if site.kind == "attention-head"
        }
        self._hooks: list[Any] = []
        self._sides = _SIDES if pool == "max" else _SIDES[:1]
        self._shard: dict[str, torch.Tensor] = {}
        self._spares: list[dict[str, torch.Tensor]] = [{}, {}]
        self._scratch = Scratch(self.device)
        self._filled = 0

    def __enter__(self) -> _Tap:
        for number, site in enumerate(self.sites):
            module = self.model.get_submodule(site.module)
            if site.tap == "input":
                hook = module.register_forward_pre_hook(self._on_input(number), with_kwargs=True)
            else:
                hook = module.register_forward_hook(self._on_output(number))
            self._hooks.append(hook)
        return self

    def __exit__(self, *exception: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _on_input(self, number: int) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, args, named: self._take(number, first_tensor(args, named))

    def _on_output(self, number: int) -> Callable[[nn.Module, Any, Any], None]:
        return lambda module, args, output: self._take(number, first_tensor(output))

    def begin_shard(self, texts: int, *, positions: bool) -> None:
        """Room for a shard of `texts` texts."""
        names = dict.fromkeys(self._sides, torch.float32)
        if positions:
            names |= {f"{side}_position": self._place for side in _SIDES}
        self._filled = 0
        # Two sets of arrays take turns: one fills while the other is written. Fresh memory for
        # every shard would cost a page fault every 4 kB.
        self._spares.reverse()
        spare = self._spares[0]
        for name, dtype in names.items():
            if name not in spare or len(spare[name]) < texts:
                spare[name] = torch.empty((texts, self.units), dtype=dtype, device=self.device)
        self._shard = {name: spare[name][:texts] for name in names}

    def run(self, batch: Batch) -> None:
        """Send one batch through the model."""
        mask = batch.attention.bool() if self.pool == "cls" else batch.content
        self._mask = mask.to(self.device)
        self._taken: set[int] = set()
        self.model(input_ids=batch.ids.to(self.device), attention_mask=batch.attention.to(self.device))
        missed = [s.module for n, s in enumerate(self.sites) if n not in self._taken]
        if missed:
            raise InputError(
                f"module {missed[0]!r} did not run in the model's forward pass; name other modules"
                " with --modules"
            )
        self._filled += len(batch.rows)

    def end_shard(self, rows: np.ndarray) -> dict[str, torch.Tensor]:
        """The finished shard; `rows` are its texts."""
        self._check(rows)
        return self._shard

    def _take(self, number: int, tokens: torch.Tensor) -> None:
        site = self.sites[number]
        if number in self._taken:
            raise InputError(
                f"module {site.module!r} ran twice in one forward pass (shared layers are not"
                " supported); name other modules with --modules"
            )
        self._taken.add(number)
        batch, length = self._mask.shape
        values = by_token(tokens, (batch, length))
        if values is None:
            raise InputError(
                f"module {site.module!r} handles {tuple(tokens.shape)} values for a batch of"
                f" {batch} x {length} tokens; it does not work token by token"
            )
        if number in self._grams:
            values = _head_lengths(values, self._grams[number])
        pooled = pool_tokens(
            values, self._mask, self.pool, self._scratch, positions="high_position" in self._shard
        )
        here = slice(self._filled, self._filled + batch)
        columns = slice(self._offsets[number], self._offsets[number + 1])
        for name, array in self._shard.items():
            array[here, columns] = getattr(pooled, name)

    def _check(self, rows: np.ndarray) -> None:
        """Refuse what is NaN or infinite."""
        for values in (self._shard[side] for side in self._sides):
            if torch.isfinite(values).all():
                continue
            row, column = (~torch.isfinite(values)).nonzero()[0].tolist()
            number = int(np.searchsorted(self._offsets, column, side="right")) - 1
            unit = f"{self.sites[number].module}[{column - self._offsets[number]}]"
            raise BrokenActivations(int(rows[row]), unit)


def _head_lengths(inputs: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    heads = inputs.float().unflatten(-1, (gram.shape[0], -1))
    squared = torch.einsum("bthi,hij,bthj->bth", heads, gram.to(inputs.device), heads)
    return squared.clamp(min=0).sqrt()


def _write_shard(
    folder: Path,
    split: str,
    number: int,
    shard: Mapping[str, torch.Tensor],
    rows: np.ndarray,
    strongest: Mapping[str, torch.Tensor],
    of: str,
) -> None:
    """The shard first, then what counts it as done."""
    sides = {side: shard[side].cpu() for side in _SIDES if side in shard}
    path = folder / _shard_name(split, number)
    write_arrays(path, {**sides, "rows": torch.from_numpy(rows.astype(np.int32))}, of=of)
    done = {**strongest, "shards": torch.tensor([number + 1])}
    write_arrays(folder / f"{split}-top.safetensors", done, of=of)


def _shard_name(split: str, number: int) -> str:
    return f"{split}-{number:05d}.safetensors"


def _resume(folder: Path, split: str, tops: _Tops | None, of: str) -> int:
    """How many shards of the split an earlier pass finished; its strongest examples are restored."""
    path = folder / f"{split}-top.safetensors"
    if is_whole(path, of=of):
        with safe_open(path, framework="pt") as saved:
            kept = {key: saved.get_tensor(key) for key in saved.keys()}  # noqa: SIM118
        done = int(kept["shards"][0])
        if all(is_whole(folder / _shard_name(split, n), of=of) for n in range(done)):
            if tops is not None:
                tops.restore(kept)
            return done
    for stale in folder.glob(f"{split}-*.safetensors"):
        stale.unlink()
    return 0
