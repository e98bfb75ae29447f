"""How far a step is with asking a language model: counted where it is asked, said in one line."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from saywell.language_models.ledger import Row, Spent

_LONGEST = 60
"""Characters of a reason."""
_MOST_REASONS = 3


@dataclass(frozen=True, slots=True)
class Tally:
    """How far one step is with asking one model.

    `done` of `of` different requests have their reply, or will have none, `stored` of them from an
    earlier time. `failed` counts, by reason, what was sent and brought no usable reply: it may have been
    sent again since. `per_second` counts output tokens, over the time in which the step asked. `tokens`
    and `usd` are what the study has spent in all its runs, as its limits count it; `usd` None: unknown.
    `left` is how many seconds the rest takes at the pace so far. `over`: it waits for nothing now.
    """

    step: str
    model: str
    done: int
    of: int
    stored: int = 0
    in_flight: int = 0
    failed: Mapping[str, int] = field(default_factory=dict)
    per_second: float | None = None
    tokens: int = 0
    usd: float | None = None
    seconds: float = 0.0
    left: float | None = None
    over: bool = False

    @property
    def asked(self) -> bool:
        """Whether anything was sent."""
        return bool(self.in_flight or self.failed or self.done > self.stored)

    def line(self) -> str:
        """All of it in a line; what a server said is in it."""
        return f"{self.step}: {', '.join(filter(None, (self.count(), self.remaining(), *self.facts())))}"

    def count(self) -> str:
        """How many are answered, of how many."""
        return f"{self.done:,} of {self.of:,}"

    def remaining(self) -> str:
        """How long the rest takes; before the first reply, how long it has been waited for."""
        if self.over or not self.in_flight:
            return ""
        return (
            f"{said_seconds(self.seconds)} so far" if self.left is None else f"{said_seconds(self.left)} left"
        )

    def facts(self) -> list[str]:
        """The rest, what changes most first; failures last, because their reasons are long."""
        return [
            *([f"{self.in_flight:,} in flight"] if self.in_flight else []),
            *([f"{self.per_second:.3g} tokens/s"] if self.per_second is not None else []),
            *([f"{self.tokens:,} tokens"] if self.tokens else []),
            *([said_usd(self.usd)] if self.usd else []),
            *([f"{self.stored:,} stored before"] if self.stored else []),
            *([self.failures()] if self.failed else []),
        ]

    def failures(self) -> str:
        """How many failed, and the commonest reasons."""
        most = Counter(self.failed).most_common(_MOST_REASONS)
        reasons = [reason if count == 1 else f"{reason} ({count:,})" for reason, count in most]
        more = ["..."] if len(self.failed) > len(most) else []
        return f"{sum(self.failed.values()):,} failed: {', '.join(reasons + more)}"

    def to_json(self) -> str:
        """As a line of JSON."""
        return json.dumps(dataclasses.asdict(self))


Watch: TypeAlias = Callable[[Tally], None]
"""Is told how far the client is, about once a second while it asks, and when it is done asking; in the
client's thread."""


def said_seconds(seconds: float) -> str:
    """A time as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def said_usd(usd: float) -> str:
    """Dollars, and parts of a cent while there is little else."""
    return f"${usd:,.2f}" if usd >= 1 else f"${usd:.4f}"


def reason_of(row: Row) -> str | None:
    """Why a request that was sent brought no usable reply, in a few words; None: it did, or may yet."""
    if row.status in ("ok", "unfinished"):
        return None
    if row.status != "failed":
        return row.status
    head = (row.error or "no reason given").split("\n")[0].split(": ")[0]
    return head if len(head) <= _LONGEST else f"{head[: _LONGEST - 3]}..."


@dataclass
class _Step:
    of: int = 0
    done: int = 0
    stored: int = 0
    """Of `done`, those that were not asked this time."""
    failed: Counter[str] = field(default_factory=Counter)
    coming: dict[int, int] = field(default_factory=dict)
    """Output tokens so far of what is in flight, by the number of its row."""
    tokens: int = 0
    """Output tokens of what came home."""
    waiting: int = 0
    """Calls of `complete` that wait for replies."""
    since: float = 0.0
    before: float = 0.0
    """Seconds that earlier calls took."""


class Counting:
    """What a client sends and gets, step by step; for one thread. `clock` gives seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._steps: dict[str, _Step] = {}

    def begin(self, step: str, requests: int) -> None:
        """So many more requests are asked about."""
        one = self._steps.setdefault(step, _Step())
        one.of += requests
        if not one.waiting:
            one.since = self._clock()
        one.waiting += 1

    def end(self, step: str) -> None:
        """They are all answered, or the rest is given up."""
        one = self._steps[step]
        one.waiting -= 1
        if not one.waiting:
            one.before += self._clock() - one.since

    def done(self, step: str, stored: bool) -> None:
        """One of them has its reply; `stored`: from an earlier time."""
        one = self._steps[step]
        one.done += 1
        one.stored += stored

    def sent(self, step: str, id: int) -> None:
        """One is in flight, by the number of its row."""
        self._steps[step].coming[id] = 0

    def told(self, step: str, id: int, tokens: int) -> None:
        """There are so many output tokens of it so far."""
        coming = self._steps[step].coming
        if id in coming:  # another thread's word may come after the reply
            coming[id] = tokens

    def back(self, step: str, id: int, row: Row | None) -> None:
        """It is in flight no longer; None: it was given up."""
        one = self._steps[step]
        streamed = one.coming.pop(id, 0)
        if row is not None:
            # Where nobody reports tokens the row has the most that it may be.
            one.tokens += streamed if row.estimated else row.output_tokens
            if reason := reason_of(row):
                one.failed[reason] += 1

    def tally(self, step: str, model: str, spent: Spent, priced: bool) -> Tally:
        """How far a step is; `priced`: dollars in `spent` are all of them."""
        one = self._steps[step]
        seconds = one.before + (self._clock() - one.since if one.waiting else 0.0)
        tokens, asked = one.tokens + sum(one.coming.values()), one.done - one.stored
        return Tally(
            step,
            model,
            done=one.done,
            of=one.of,
            stored=one.stored,
            in_flight=len(one.coming),
            failed=dict(one.failed),
            per_second=tokens / seconds if tokens and seconds else None,
            tokens=spent.tokens + sum(one.coming.values()),
            usd=spent.usd if priced or spent.usd else None,
            seconds=seconds,
            left=seconds * (one.of - one.done) / asked if asked else None,
            over=not one.waiting,
        )
