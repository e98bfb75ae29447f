"""Limits on calls, tokens and dollars: the worst case of a call is reserved before it is sent."""

from __future__ import annotations

import math
from dataclasses import dataclass

from saywell.errors import InputError, SaywellError
from saywell.language_models.ledger import Row, Spent
from saywell.language_models.prices import Price
from saywell.language_models.requests import Request

# Rough on purpose, and rather too high: English text has 4 to 4.5 bytes per token in common
# tokenizers; other scripts take 2 or 3 bytes a character and about a token each.
_ASCII_PER_TOKEN = 3.5
_OTHER_BYTES_PER_TOKEN = 2
_TOKENS_PER_MESSAGE = 8
_TOKENS_PER_IMAGE = 1500


class BudgetReached(SaywellError):
    """A limit does not allow the next call. Everything answered so far is kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The most a study may spend in all, counted over its whole calls file; None is no limit."""

    max_calls: int | None = None
    max_usd: float | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        for option in ("max_calls", "max_usd", "max_tokens"):
            value = getattr(self, option)
            if value is not None and not value >= 0:
                raise InputError(f"--{option.replace('_', '-')} must not be negative, got {value!r}")


def estimate_input_tokens(request: Request, extra: str = "") -> int:
    """About how many tokens the model will read; `extra` is text sent along, such as a schema."""
    texts = [extra, *(message.text for message in request.messages)]
    images = sum(len(message.images) for message in request.messages)
    fixed = _TOKENS_PER_MESSAGE * len(request.messages) + _TOKENS_PER_IMAGE * images
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    ascii = sum(len(text.encode("ascii", "ignore")) for text in texts)
    return fixed + math.ceil(ascii / _ASCII_PER_TOKEN + (size - ascii) / _OTHER_BYTES_PER_TOKEN)


class Budget:
    """What is spent, what is reserved by calls in flight, and whether the next call still fits.

    `spent` is what the study had spent when the budget was opened. Where the price is unknown (None)
    and there is a limit in dollars, a call that nobody names the cost of counts at `stand_in`, and
    the next one is expected to cost, token for token, the most that one has cost (`rate`).
    """

    def __init__(
        self,
        limits: Limits,
        price: Price | None,
        spent: Spent,
        stand_in: Price | None = None,
        rate: float = 0.0,
    ) -> None:
        self.limits = limits
        self.price = price
        self.spent = spent
        self.reserved = Spent()
        self._stand_in = stand_in
        self._rate = rate

    def worst_case(self, input_tokens: int, output_tokens: int) -> Spent:
        """The most that one call may take."""
        tokens = input_tokens + output_tokens
        usd = self.price.cost(input_tokens, output_tokens) if self.price else self._rate * tokens
        return Spent(1, tokens, usd)

    def taken(self, row: Row) -> Spent:
        """What a call took, or may have taken."""
        tokens, usd = row.input_tokens + row.output_tokens, row.cost_usd
        if usd is None:
            price = self.price or self._stand_in
            usd = price.cost(row.input_tokens, row.output_tokens) if price else 0.0
        return Spent(row.requests, tokens, usd, int(row.estimated))

    def fits(self, amount: Spent) -> bool:
        """Whether a call of this size may be sent beside those in flight."""
        limits, spent, held = self.limits, self.spent, self.reserved
        return (
            (limits.max_calls is None or spent.calls + held.calls + amount.calls <= limits.max_calls)
            and (limits.max_tokens is None or spent.tokens + held.tokens + amount.tokens <= limits.max_tokens)
            and (limits.max_usd is None or spent.usd + held.usd + amount.usd <= limits.max_usd + 1e-12)
            # Where only the provider says what a call cost, the limit can be noticed only once
            # crossed.
            and (limits.max_usd is None or spent.usd < limits.max_usd or self.price is not None)
        )

    def reserve(self, amount: Spent) -> None:
        """Holds the worst case of a call that is about to be sent."""
        self.reserved = _plus(self.reserved, amount, 1)

    def settle(self, amount: Spent, real: Spent) -> None:
        """Replaces what was held for a call by what it really took (nothing, if it was not sent)."""
        self.reserved = _plus(self.reserved, amount, -1)
        self.spent = _plus(self.spent, real, 1)
        if self.price is None and real.tokens:
            self._rate = max(self._rate, real.usd / real.tokens)

    def reached(self, amount: Spent) -> BudgetReached:
        """The error that says which limit forbids `amount`, what is spent, and how to go on."""
        limits, spent = self.limits, self.spent
        parts = []
        if limits.max_calls is not None and spent.calls + amount.calls > limits.max_calls:
            parts.append(f"--max-calls {limits.max_calls} ({spent.calls} made)")
        if limits.max_tokens is not None and spent.tokens + amount.tokens > limits.max_tokens:
            parts.append(
                f"--max-tokens {limits.max_tokens} ({spent.tokens} used, "
                f"the next call may take {amount.tokens})"
            )
        if limits.max_usd is not None and spent.usd + amount.usd >= limits.max_usd:
            parts.append(
                f"--max-usd {limits.max_usd:g} (${spent.usd:.4f} spent, "
                f"the next call may cost ${amount.usd:.4f})"
            )
        unsaid = ""
        if spent.estimated:
            unsaid = f", {spent.estimated} of them, whose tokens nobody reported, at their most"
        if limits.max_usd is not None and self._stand_in is not None and self.price is None:
            unsaid += "; what nobody named the cost of is counted as if asked of the dearest model"
        return BudgetReached(
            f"stopped at {' and '.join(parts)}, over {spent.calls} calls in all{unsaid}. Every reply is "
            "kept; to go on, run the same command with a higher limit: nothing answered is asked again"
        )


def _plus(first: Spent, second: Spent, sign: int) -> Spent:
    return Spent(
        first.calls + sign * second.calls,
        first.tokens + sign * second.tokens,
        first.usd + sign * second.usd,
        first.estimated + sign * second.estimated,
    )
