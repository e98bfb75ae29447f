"""What a model does with a few tokens, to check that a module is what its name and shape suggest.

Two made-up texts of a few tokens go through the model; a hook sees what enters and leaves modules.
Nothing here looks at a name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import torch
from torch import nn

from saywell.encoders.positions import token_ids
from saywell.errors import InputError

Side = Literal["input", "output"]
_BY_HAND = "name the modules with --modules PATH,PATH (modules=[...] from Python)"
_TEXTS, _LENGTH = 2, 5


def first_tensor(args: Any, named: Any = None) -> Any:
    """What a module is called with, or what it returns: the tensor, or the first of several."""
    if isinstance(args, torch.Tensor):
        return args
    values = args.values() if hasattr(args, "values") else args
    for value in (*values, *(named or {}).values()):
        if isinstance(value, torch.Tensor):
            return value
    raise InputError("a module that was to be read takes or returns no tensor")


def by_token(values: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor | None:
    """Values [texts, length, width] from such ones, or from [texts * length, width]; else None."""
    if values.ndim == 2 and len(values) == shape[0] * shape[1]:
        return values.unflatten(0, shape)
    return values if values.ndim == 3 and values.shape[:2] == shape else None


class Ran(NamedTuple):
    """What entered a module and what left it, each the tensor or the first of several; None: no tensor."""

    module: str
    entered: torch.Tensor | None
    left: torch.Tensor | None


class Trace(NamedTuple):
    """Every module in a model as it ran, in the order in which they ended, and what the model gave."""

    ran: tuple[Ran, ...]
    output: Any

    @property
    def states(self) -> tuple[torch.Tensor, ...] | None:
        """The model's own hidden states; None where it gives none."""
        return _states(self.output)


def trace(model: nn.Module, run: Callable[[], Any]) -> Trace:
    """What passes every module while `run` shows something to the model."""
    ran: list[Ran] = []

    def note(path: str) -> tuple[Callable, Callable]:
        entered: list[torch.Tensor | None] = []

        def before(module: nn.Module, args: Any, named: Any) -> None:
            given = _tensor_or_none((*args, *named.values()))
            entered.append(None if given is None else given.clone())  # others write in place

        def after(module: nn.Module, args: Any, output: Any) -> None:
            left = _tensor_or_none(output)
            ran.append(Ran(path, entered.pop(), None if left is None else left.clone()))

        return before, after

    def hooks() -> Iterator[Any]:
        for path, module in model.named_modules():
            if path:
                before, after = note(path)
                yield module.register_forward_pre_hook(before, with_kwargs=True)
                yield module.register_forward_hook(after)

    with _hooked(hooks()):
        output = run()
    return Trace(tuple(ran), output)


def layer_outputs(seen: Trace, suggested: Sequence[str]) -> list[str]:
    """For each of the model's layers the module whose output is the model's own hidden state.

    `suggested` has one path a layer. It is taken where it is one of the hidden states, for the last
    layer if need be before what the model does to its last one (norms, a projection), which is no
    part of the layer; else the module that is that layer's.

    Raises InputError where there is none.
    """
    ran, states = [one for one in seen.ran if one.left is not None], seen.states
    assert states is not None
    paths: list[str] = []
    for layer, path in enumerate(suggested):
        mine = [output for name, _, output in ran if name == path]
        last = layer == len(suggested) - 1
        as_before = last and layer > 0 and paths == list(suggested[:layer])
        before_the_end = last and any(
            _equal(output, states[-1]) and any(_equal(entered, m) for m in mine) for _, entered, output in ran
        )
        found = any(_equal(output, state) for output in mine for state in states)
        if not (found or as_before or before_the_end):
            own = states[layer + 1] if len(states) == len(suggested) + 1 else None
            same = [name for name, _, output in ran if _equal(output, own)]
            if not same or same[0] in (*paths, *suggested):
                raise InputError(
                    f"the output of {path!r} is not the model's hidden state after layer {layer},"
                    f" nor is that of any other module; {_BY_HAND}"
                )
            path = same[0]
        paths.append(path)
    return paths


class TrialRun:
    """Runs of a model on two short texts. A model without an embedding of tokens is not probed."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        ids = token_ids(model, _TEXTS * _LENGTH)
        self._ids = None if ids is None else ids.view(_TEXTS, _LENGTH)

    @staticmethod
    def by_token(values: torch.Tensor) -> torch.Tensor | None:
        """Values [texts, length, width] of the two texts; None for what has no row for each token."""
        return by_token(values, (_TEXTS, _LENGTH))

    def widths(self, taps: Sequence[tuple[str, Side]]) -> list[int | None]:
        """The number of units at each module's input or output; None where nothing could be run.

        Raises InputError for a module that does not run, runs more than once, or does not hold one
        row for every token, in the order of the tokens.
        """
        if self._ids is None:
            return [None for _ in taps]
        together = self._record(taps, self._ids)
        alone = self._record(taps, self._ids[1:])
        found = []
        for (path, _), both, own in zip(taps, together, alone, strict=True):
            if len(both) != 1:
                how = f"ran {len(both)} times" if both else "did not run"
                shared = " (layers that share their weights are not supported)" if both else ""
                raise InputError(f"module {path!r} {how} in the model's forward pass{shared}; {_BY_HAND}")
            rows, row = by_token(both[0], (_TEXTS, _LENGTH)), None
            if own:
                row = by_token(own[0], (1, _LENGTH))
            if rows is None or row is None or not _same_places(rows, row[0]):
                raise InputError(
                    f"module {path!r} handles {tuple(both[0].shape)} values for"
                    f" {tuple(self._ids.shape)} tokens, and not one row a token in their order;"
                    f" {_BY_HAND}"
                )
            found.append(rows.shape[2])
        return found

    def hidden_states(self) -> tuple[torch.Tensor, ...] | None:
        """The model's own hidden states; None where it gives none."""
        if self._ids is None or not hasattr(self._model, "config"):
            return None
        try:
            output = self._run(self._ids, output_hidden_states=True)
        except InputError:
            return None
        return _states(output)

    def layer_outputs(self, suggested: Sequence[str]) -> list[str]:
        """See the function; whoever asks has seen that the model gives hidden states."""
        seen = self.trace()
        assert seen is not None
        return layer_outputs(seen, suggested)

    def trace(self) -> Trace | None:
        """What passes every module for the two texts; None where nothing could be run."""
        ids = self._ids
        if ids is None:
            return None
        if not hasattr(self._model, "config"):
            return trace(self._model, lambda: self._run(ids))
        return trace(self._model, lambda: self._run(ids, output_hidden_states=True))

    def check_feed_forward(self, parts: Mapping[str, Sequence[str]]) -> None:
        """Refuse a map (a key) whose input is not made by the maps that are its value.

        Made token by token, and all from the same.

        What enters those is replaced, twice, with a difference in the first token only.
        """
        if self._ids is None:
            return
        ups = [path for up in parts.values() for path in up]
        read = dict(zip(ups, self._record([(path, "input") for path in ups], self._ids), strict=True))
        for down, up in parts.items():
            first, *others = (read[path][0] for path in up)
            if not all(_equal(first, other) for other in others):
                raise InputError(
                    f"{', '.join(map(repr, up))} do not read the same, so which of them lead up to"
                    f" {down!r} cannot be told; {_BY_HAND}"
                )
        taps: list[tuple[str, Side]] = [(down, "input") for down in parts]
        first, second = (
            self._record(taps, self._ids[:1], dict.fromkeys(ups, other)) for other in (False, True)
        )
        for (down, up), one, two in zip(parts.items(), first, second, strict=True):
            moved = (one[0] - two[0]).float().reshape(_LENGTH, -1).norm(dim=-1)
            if not moved[0] > 0 or (moved[1:] > 1e-3 * moved[0]).any():
                raise InputError(
                    f"the input of {down!r} is not made by {', '.join(map(repr, up))} from each token"
                    f" alone, as in a feed-forward block; {_BY_HAND}"
                )

    def check_last(self, parts: Mapping[str, Sequence[str]]) -> None:
        """Refuse a map (a key) that does not run after the maps that are its value, or on what they make.

        They make its input by mixing tokens.

        What enters those is replaced, twice, with a difference in the first token only.
        """
        if self._ids is None:
            return
        order: list[str] = []

        def note(path: str) -> Callable:
            return lambda *ran: order.append(path)

        paths = [path for last, others in parts.items() for path in (last, *others)]
        with _hooked(self._model.get_submodule(path).register_forward_hook(note(path)) for path in paths):
            self._run(self._ids)
        for last, others in parts.items():
            later = order[order.index(last) + 1 :]
            after = [path for path in others if path in later]
            if after:
                raise InputError(
                    f"{last!r} is not the last map of its attention: {after[0]!r} runs after it; {_BY_HAND}"
                )
        entered = {path for others in parts.values() for path in others}
        taps: list[tuple[str, Side]] = [(last, "input") for last in parts]
        first, second = (
            self._record(taps, self._ids[:1], dict.fromkeys(entered, other)) for other in (False, True)
        )
        for (last, others), one, two in zip(parts.items(), first, second, strict=True):
            self._refuse_wrapped(last)
            moved = (one[0] - two[0]).float().reshape(_LENGTH, -1).norm(dim=-1)
            if not others or not (moved[1:] > 0).any():
                raise InputError(
                    f"the input of {last!r} does not mix the tokens that the other maps of its attention"
                    f" read, so it is not what heads add; {_BY_HAND}"
                )

    def _refuse_wrapped(self, path: str) -> None:
        """Refuse a map inside a module that reads the same and has more weights: it is part of a map."""
        around = path.rpartition(".")[0]
        assert self._ids is not None  # whoever asks has run the model
        outer, inner = self._record([(around, "input"), (path, "input")], self._ids)
        own = {id(weight) for weight in self._model.get_submodule(path).parameters()}
        more = [
            name
            for name, weight in self._model.get_submodule(around).named_parameters()
            if weight.ndim > 1 and id(weight) not in own
        ]
        if more and _equal(outer[0], inner[0]):
            raise InputError(
                f"{around!r} has more than {path!r} that reads what the heads give: {more[0]}; give"
                f" {around!r} the attributes in_features and out_features, or merge its weights into one"
            )

    def _record(
        self, taps: Sequence[tuple[str, Side]], ids: torch.Tensor, replaced: dict[str, bool] | None = None
    ) -> list[list[torch.Tensor]]:
        """What each tap held in a run, once for every time that its module ran."""
        seen: list[list[torch.Tensor]] = [[] for _ in taps]

        def before(number: int) -> Callable:
            return lambda module, args, named: seen[number].append(first_tensor(args, named).clone())

        def after(number: int) -> Callable:
            return lambda module, args, output: seen[number].append(first_tensor(output).clone())

        def hooks() -> Iterator[Any]:
            for path, other in (replaced or {}).items():
                yield self._model.get_submodule(path).register_forward_pre_hook(
                    _replace(other), with_kwargs=True
                )
            for number, (path, tap) in enumerate(taps):
                module = self._model.get_submodule(path)
                if tap == "input":
                    yield module.register_forward_pre_hook(before(number), with_kwargs=True)
                else:
                    yield module.register_forward_hook(after(number))

        with _hooked(hooks()):
            self._run(ids)
        return seen

    def _run(self, ids: Any, **more: Any) -> Any:
        training = [module for module in self._model.modules() if module.training]
        self._model.eval()
        try:
            with torch.inference_mode():
                return self._model(input_ids=ids, attention_mask=torch.ones_like(ids), **more)
        except InputError:
            raise
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            raise InputError(
                f"the model does not run on {tuple(ids.shape)} tokens: {type(error).__name__}: {lines[0]}"
            ) from error
        finally:
            for module in training:
                module.training = True


def _replace(other: bool) -> Callable:
    """A hook that puts known numbers in place of what enters a module; `other` ones for one token."""

    def hook(module: nn.Module, args: Any, named: Any) -> Any:
        real = first_tensor(args, named)
        numbers = torch.arange(real.numel(), device=real.device, dtype=torch.float32)
        made = torch.sin(1.7 * numbers).reshape(-1, real.shape[-1])
        if other:
            made[0] = torch.cos(2.3 * numbers[: made.shape[1]])
        made = made.reshape(real.shape).to(real.dtype)
        if args and args[0] is real:
            return (made, *args[1:]), named
        return args, {key: made if value is real else value for key, value in named.items()}

    return hook


@contextmanager
def _hooked(hooks: Iterator[Any]) -> Iterator[None]:
    held: list[Any] = []
    try:
        held.extend(hooks)
        yield
    finally:
        for hook in held:
            hook.remove()


def _same_places(rows: torch.Tensor, row: torch.Tensor) -> bool:
    """Whether each token of the second text, run alone, is nearest to its own place in the batch."""
    distance = torch.cdist(row.float(), rows.flatten(0, 1).float())
    own = distance[torch.arange(_LENGTH), torch.arange(_LENGTH, 2 * _LENGTH)]
    size = row.float().norm(dim=-1).amax()
    return bool((own <= distance.amin(1) + 1e-4 * size).all())


def _states(output: Any) -> tuple[torch.Tensor, ...] | None:
    """The hidden states in what a model returns; of a state in several parts, the tokens' own."""
    states = getattr(output, "hidden_states", None)
    return None if states is None else tuple(first_tensor(state) for state in states)


def _tensor_or_none(values: Any) -> torch.Tensor | None:
    try:
        return first_tensor(values)
    except (InputError, TypeError):
        return None


def _equal(a: torch.Tensor | None, b: torch.Tensor | None) -> bool:
    return a is not None and b is not None and a.shape == b.shape and torch.equal(a, b)
