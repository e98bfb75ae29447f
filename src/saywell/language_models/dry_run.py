"""What a study would ask and what it would cost, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from saywell.language_models.budget import estimate_input_tokens
from saywell.language_models.client import Client
from saywell.language_models.prices import Price
from saywell.language_models.requests import Reply, Request
from saywell.language_models.structured import schema_text


@dataclass(frozen=True, slots=True)
class StepPlan:
    """What one step would send. `cached` requests are answered already and cost nothing.

    Tokens are estimates: `output_tokens` and `cost_usd` are the most it may be (every reply at its
    full length, asked for once: a reply that cannot be used is asked for again). `cost_usd` None:
    the price is unknown. `guessed` counts the calls whose words, and so whose number, depend on
    replies that are not there: they were made with words that are made up.
    """

    step: str
    calls: int = 0
    cached: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None
    guessed: int = 0


class DryRun:
    """A language model that sends nothing, and counts what `model` would have been sent.

    Every reply that is not in the cache has the status "failed" and the error "dry run". A step
    whose requests depend on such replies is asked about made-up ones, inside `guessing`.
    """

    def __init__(self, model: Client) -> None:
        self.name = model.name
        self._model = model
        self._plans: dict[str, StepPlan] = {}
        self._seen: set[str] = set()
        self._guessing = False

    @property
    def gives_probabilities(self) -> bool | None:
        """As of the model."""
        return self._model.gives_probabilities

    def complete(
        self, requests: Sequence[Request], *, progress: Callable[[int], None] | None = None
    ) -> list[Reply]:
        """Stored replies where there are any; for the rest the status "failed"."""
        replies = self._model.stored(requests)
        for request, (key, found) in zip(requests, replies, strict=True):
            if key in self._seen:
                continue
            self._seen.add(key)
            if isinstance(found, Reply):
                self._add(request.step, cached=1)
                continue
            extra = "" if found.answer is None else schema_text(found.answer)
            self._add(request.step, 1, estimate_input_tokens(found, extra), found.max_tokens)
        if progress is not None:
            progress(len(requests))
        return [
            found if isinstance(found, Reply) else Reply("failed", error="dry run", key=key)
            for key, found in replies
        ]

    @contextmanager
    def guessing(self) -> Iterator[None]:
        """What is asked inside is made of made-up words (see `made_up`), and counted as guessed."""
        before, self._guessing = self._guessing, True
        try:
            yield
        finally:
            self._guessing = before

    def plan(self) -> list[StepPlan]:
        """What was counted, a step at a time in the order of asking."""
        return list(self._plans.values())

    def close(self) -> None:
        """Closes the model."""
        self._model.close()

    def _add(
        self, step: str, calls: int = 0, input_tokens: int = 0, output_tokens: int = 0, *, cached: int = 0
    ) -> None:
        old = self._plans.get(step, StepPlan(step))
        price: Price | None = self._model.price
        new = replace(
            old,
            calls=old.calls + calls,
            cached=old.cached + cached,
            input_tokens=old.input_tokens + input_tokens,
            output_tokens=old.output_tokens + output_tokens,
            guessed=old.guessed + calls * self._guessing,
        )
        cost = price.cost(new.input_tokens, new.output_tokens) if price else None
        self._plans[step] = replace(new, cost_usd=cost)


def made_up(number: int) -> str:
    """Words as long as a description usually is, another text for each number."""
    return f"something that the strongest examples have in common, {number}"
