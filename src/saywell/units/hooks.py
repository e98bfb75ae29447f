"""One pass of any model over texts or images: what its modules hold, pooled to one value an example.

Hooks sit on the input or the output of modules. What passes them is brought into the form of one row a
position (a token, a place in a picture) by whoever made the `Tap`, and pooled here. A `Feed` says what
the model is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import nn

from saywell.encoders.positions import vocabulary
from saywell.errors import InputError
from saywell.units.pooling import Pooling, Scratch, pool_tokens
from saywell.units.probe import Side, by_token, first_tensor
from saywell.units.shards import Keep, write_shards
from saywell.units.sites import Site, head_gram
from saywell.units.tokens import Tokens, batches

TOKENS_TOGETHER, SHARD_TEXTS = 1024, 2048
_FEWEST, _CELLS = 256, 1 << 24
"""A shard of very many units holds fewer examples, so that its arrays take some hundreds of megabytes."""


class BrokenActivations(InputError):
    """A unit's activation is not finite; `example` is the number of the example that made it."""

    def __init__(self, example: int, unit: str) -> None:
        super().__init__(
            f"unit {unit} gave an activation that is NaN or infinite on example {example}; check the model's"
            " weights, or, if it was loaded in half precision, load it with --dtype float32"
        )
        self.example, self._unit = example, unit

    def __reduce__(self) -> tuple[Any, ...]:
        return BrokenActivations, (self.example, self._unit)


class Shown(NamedTuple):
    """What a model is shown at once."""

    rows: Int[np.ndarray, " batch"]
    inputs: Mapping[str, torch.Tensor]
    mask: Bool[torch.Tensor, "batch length"] | None = None
    """Which positions count; None: all."""


class Tap(NamedTuple):
    """A row of units in a model.

    `view` turns what the module is given (`side` "input") or gives into [batch, positions, units], or
    None where that is impossible.
    """

    module: str
    side: Side
    units: int
    view: Callable[[torch.Tensor, Shown], torch.Tensor | None]


class Passed(NamedTuple):
    """What passed some taps in one batch: positions of the first example, then those of the next."""

    rows: Int[np.ndarray, " batch"]
    counts: Int[np.ndarray, " batch"]
    """Of each example how many positions count."""
    positions: Int[np.ndarray, " places"]
    """Which those are."""
    vectors: tuple[Float[torch.Tensor, "places width"], ...]
    """One a tap, on the model's device."""


class Feed(Protocol):
    """How examples are shown to a model."""

    @property
    def longest(self) -> int:
        """Positions at most."""
        ...

    @property
    def shard(self) -> int:
        """Examples whose arrays are held at once."""
        ...

    def check(self, model: nn.Module) -> None:
        """Raise InputError where model and examples do not belong together."""
        ...

    def order(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """Rows in the order in which they are shown, which depends on what they are alone."""
        ...

    def batches(self, rows: Int[np.ndarray, " rows"]) -> Iterator[Shown]:
        """Rows in batches, in their order."""
        ...


def run_pass(
    model: nn.Module,
    taps: Sequence[Tap],
    feed: Feed,
    parts: Mapping[str, Int[np.ndarray, " rows"]],
    folder: Path,
    keep: Keep,
    *,
    pool: Pooling = "max",
    low: bool = True,
) -> None:
    """Run the model over the examples of every part and leave pooled activations in `folder`.

    Without `low` only units that go high can be asked for.

    Raises BrokenActivations when an activation is NaN or infinite, naming the unit and the example.
    """
    model.eval()
    feed.check(model)
    with _Hooked(model, taps, feed, pool, low) as reader, torch.inference_mode():
        write_shards(reader, parts, folder, keep)


def token_vectors(
    model: nn.Module, taps: Sequence[Tap], feed: Feed, rows: Int[np.ndarray, " rows"]
) -> Iterator[Passed]:
    """What passes taps at every position that counts, batch by batch in the order of `rows`.

    The first batch runs through the whole model, so that a module that runs twice is seen; the others end
    where the last tap is reached. Raises InputError as `run_pass`, but leaves what is not finite to the
    caller.
    """
    device = next(model.parameters()).device
    batch, found, whole = Shown(rows[:0], {}), {}, True

    def take(number: int, held: torch.Tensor) -> None:
        _refuse_twice(taps[number], number in found)
        values = _viewed(taps[number], held, batch)
        found[number] = values.flatten(0, 1) if batch.mask is None else values[batch.mask]
        if not whole and len(found) == len(taps):
            raise _Enough

    model.eval()
    with listening(model, taps, take):
        for shown in feed.batches(rows):
            batch, found = _on(device, shown), {}
            with torch.inference_mode(), suppress(_Enough):
                model(**batch.inputs)
            _refuse_missed(taps, found)
            whole = False
            yield Passed(shown.rows, *_counted(shown, found[0]), tuple(found[n] for n in range(len(taps))))


class _Enough(BaseException):
    """Ends a forward pass; a BaseException, so that no model takes it for an error of its own."""


def _counted(shown: Shown, vectors: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """How many positions of each example count, and which."""
    if shown.mask is None:
        count = len(vectors) // len(shown.rows)
        return np.full(len(shown.rows), count), np.tile(np.arange(count), len(shown.rows))
    return shown.mask.sum(1).numpy(), shown.mask.nonzero()[:, 1].numpy()


@contextmanager
def listening(
    model: nn.Module, taps: Sequence[Tap], take: Callable[[int, torch.Tensor], None]
) -> Iterator[None]:
    """While it lasts, `take` is given the number of a tap and what its module is given, or gives."""
    with ExitStack() as stack:
        for number, tap in enumerate(taps):
            module = model.get_submodule(tap.module)
            if tap.side == "input":
                hook = module.register_forward_pre_hook(_on_input(take, number), with_kwargs=True)
            else:
                hook = module.register_forward_hook(_on_output(take, number))
            stack.callback(hook.remove)
        yield


def _on_input(
    take: Callable[[int, torch.Tensor], None], number: int
) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, named: take(number, first_tensor(args, named))


def _on_output(
    take: Callable[[int, torch.Tensor], None], number: int
) -> Callable[[nn.Module, Any, Any], None]:
    return lambda module, args, output: take(number, first_tensor(output))


def _on(device: torch.device, shown: Shown) -> Shown:
    mask = None if shown.mask is None else shown.mask.to(device)
    return Shown(shown.rows, {name: values.to(device) for name, values in shown.inputs.items()}, mask)


def _viewed(tap: Tap, found: torch.Tensor, batch: Shown) -> torch.Tensor:
    values = tap.view(found, batch)
    if values is None:
        of = "examples" if batch.mask is None else f"x {batch.mask.shape[1]} tokens"
        raise InputError(
            f"module {tap.module!r} handles {tuple(found.shape)} values for a batch of {len(batch.rows)}"
            f" {of}; it does not work position by position"
        )
    return values


def _refuse_twice(tap: Tap, again: bool) -> None:
    if again:
        raise InputError(
            f"module {tap.module!r} ran twice in one forward pass (shared layers are not"
            " supported); name other modules with --modules"
        )


def _refuse_missed(taps: Sequence[Tap], taken: Collection[int]) -> None:
    missed = [tap.module for number, tap in enumerate(taps) if number not in taken]
    if missed:
        raise InputError(
            f"module {missed[0]!r} did not run in the model's forward pass; name other modules with --modules"
        )


def site_taps(model: nn.Module, sites: Sequence[Site]) -> list[Tap]:
    """The sites of a language model."""
    return [Tap(site.module, site.tap, site.units, _site_view(model, site)) for site in sites]


@dataclass(frozen=True)
class TextFeed:
    """Tokenised texts, longest first: little padding, early high thresholds, one order.

    Special tokens count only where the first token is what is read (pooling "cls").
    """

    tokens: Tokens
    pad_id: int = 0
    special: bool = False
    decoder: bool = False
    """The first token is the one that starts a decoder, which the encoder does not read."""
    token_budget: int = TOKENS_TOGETHER
    shard: int = SHARD_TEXTS

    @property
    def longest(self) -> int:
        """Tokens of the longest text."""
        return int(self.tokens.lengths.max(initial=0))

    def check(self, model: nn.Module) -> None:
        """See `Feed`."""
        known = vocabulary(model)
        if known is not None and self.tokens.ids.max(initial=0) >= known:
            raise InputError(
                f"the tokenizer gives token {self.tokens.ids.max()}, and the model knows 0 to {known - 1};"
                " the two do not belong together"
            )

    def order(self, rows: Int[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
        """See `Feed`; equal lengths by position."""
        return rows[np.lexsort((rows, -self.tokens.lengths[rows]))]

    def batches(self, rows: Int[np.ndarray, " rows"]) -> Iterator[Shown]:
        """See `Feed`."""
        for batch in batches(self.tokens, rows, token_budget=self.token_budget, pad_id=self.pad_id):
            inputs = {"input_ids": batch.ids, "attention_mask": batch.attention}
            if self.decoder:
                inputs = {name: values[:, 1:] for name, values in inputs.items()}
                inputs |= {"decoder_input_ids": batch.ids, "decoder_attention_mask": batch.attention}
            yield Shown(batch.rows, inputs, batch.attention.bool() if self.special else batch.content)


class _Hooked:
    """A model with hooks that pool each batch into the shard's arrays as it passes."""

    def __init__(self, model: nn.Module, taps: Sequence[Tap], feed: Feed, pool: Pooling, low: bool) -> None:
        self.model, self.taps, self.feed = model, taps, feed
        self.pool: Pooling = pool
        self.device = next(model.parameters()).device
        self.widths = [tap.units for tap in taps]
        self.units = sum(self.widths)
        self.shard = min(feed.shard, max(_FEWEST, _CELLS // max(1, self.units)))
        self.sides = ("high", "low") if low else ("high",)
        # Other poolings give one value for both sides.
        self._own = self.sides if pool == "max" else self.sides[:1]
        self._place = torch.int16 if feed.longest <= torch.iinfo(torch.int16).max else torch.int32
        self._offsets = np.cumsum([0, *self.widths]).tolist()
        self._hooks = ExitStack()
        self._arrays: dict[str, torch.Tensor] = {}
        self._spares: list[dict[str, torch.Tensor]] = [{}, {}]
        self._scratch = Scratch(self.device)
        self._filled = 0

    def __enter__(self) -> _Hooked:
        self._hooks.enter_context(listening(self.model, self.taps, self._take))
        return self

    def __exit__(self, *exception: object) -> None:
        self._hooks.close()

    def order(self, rows: np.ndarray) -> np.ndarray:
        """As the feed says."""
        return self.feed.order(rows)

    def read(
        self, rows: np.ndarray, positions: bool, progress: Callable[[int], None]
    ) -> dict[str, torch.Tensor]:
        """Run the model over a shard."""
        self._make_room(len(rows), positions)
        for batch in self.feed.batches(rows):
            self._run(batch)
            progress(len(batch.rows))
        self._check(rows)
        return self._arrays

    def _make_room(self, examples: int, positions: bool) -> None:
        names = dict.fromkeys(self._own, torch.float32)
        if positions:
            names |= {f"{side}_position": self._place for side in self.sides}
        self._filled = 0
        # Two sets of arrays take turns: one fills while the other is written. Fresh memory for
        # every shard would cost a page fault every 4 kB.
        self._spares.reverse()
        spare = self._spares[0]
        for name, dtype in names.items():
            if name not in spare or len(spare[name]) < examples:
                spare[name] = torch.empty((examples, self.units), dtype=dtype, device=self.device)
        self._arrays = {name: spare[name][:examples] for name in names}

    def _run(self, batch: Shown) -> None:
        self._batch = _on(self.device, batch)
        self._taken: set[int] = set()
        self.model(**self._batch.inputs)
        _refuse_missed(self.taps, self._taken)
        self._filled += len(batch.rows)

    def _take(self, number: int, found: torch.Tensor) -> None:
        tap, batch = self.taps[number], self._batch
        _refuse_twice(tap, number in self._taken)
        self._taken.add(number)
        values = _viewed(tap, found, batch)
        mask = batch.mask
        if mask is None:
            mask = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
        asked = "high_position" in self._arrays
        pooled = pool_tokens(values, mask, self.pool, self._scratch, positions=asked)
        here = slice(self._filled, self._filled + len(batch.rows))
        columns = slice(self._offsets[number], self._offsets[number + 1])
        for name, array in self._arrays.items():
            array[here, columns] = getattr(pooled, name)

    def _check(self, rows: np.ndarray) -> None:
        """Refuse what is NaN or infinite."""
        for values in (self._arrays[side] for side in self._own):
            if torch.isfinite(values).all():
                continue
            row, column = (~torch.isfinite(values)).nonzero()[0].tolist()
            number = int(np.searchsorted(self._offsets, column, side="right")) - 1
            unit = f"{self.taps[number].module}[{column - self._offsets[number]}]"
            raise BrokenActivations(int(rows[row]), unit)


def _site_view(model: nn.Module, site: Site) -> Callable[[torch.Tensor, Shown], torch.Tensor | None]:
    gram = head_gram(model, site) if site.kind == "attention-head" else None

    def view(found: torch.Tensor, batch: Shown) -> torch.Tensor | None:
        assert batch.mask is not None
        values = by_token(found, tuple(batch.mask.shape))  # type: ignore[arg-type]
        return values if values is None or gram is None else _head_lengths(values, gram)

    return view


def _head_lengths(inputs: torch.Tensor, gram: torch.Tensor) -> torch.Tensor:
    heads = inputs.float().unflatten(-1, (gram.shape[0], -1))
    squared = torch.einsum("bthi,hij,bthj->bth", heads, gram.to(inputs.device), heads)
    return squared.clamp(min=0).sqrt()
