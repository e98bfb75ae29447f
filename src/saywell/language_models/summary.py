"""What a study's calls came to, for `saywell calls`."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from saywell.errors import InputError
from saywell.language_models.ledger import Ledger, Row
from saywell.language_models.tally import Tally, reason_of

UNFINISHED, IN_FLIGHT = "unfinished", "in flight"
_SILENT = 10.0
"""Seconds: who asks tells every second; who has not for so long is not asking."""


@dataclass(frozen=True, slots=True)
class StepSummary:
    """The calls of one step to one model.

    A call is a request that was sent. `statuses` counts outcomes; `faults` counts attempts that
    brought no reply, `reasons` why, in a few words, and `in_flight` those that may still bring one. `cut`
    counts questions whose data was cut to what the model reads. Of `estimated` calls the tokens were not
    reported, and are the most that the call may have taken. `cost_usd` sums the known costs,
    `cost_unknown` counts calls without one. `seconds` is the mean time of those that
    ended. `replied_models` are the models that the provider says answered.
    """

    step: str
    model: str
    calls: int
    statuses: dict[str, int]
    faults: int
    reasons: dict[str, int]
    in_flight: int
    cut: int
    input_tokens: int
    output_tokens: int
    estimated: int
    cost_usd: float
    cost_unknown: int
    seconds: float
    replied_models: list[str]

    @property
    def ended(self) -> int:
        """Attempts whose outcome is known."""
        return sum(self.statuses.values()) - self.in_flight - self.statuses.get(UNFINISHED, 0)


def summarize_calls(
    path: Path, step: str | None = None, *, clock: Callable[[], float] = time.time
) -> list[StepSummary]:
    """One summary per step and model, in the order in which the steps first asked."""
    ledger = Ledger(path, read_only=True)
    try:
        since = min((since for since, _ in _asking(ledger, clock())), default=math.inf)
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in ledger.rows(step):
            groups.setdefault((row.step, row.model), []).append(row)
        cuts = ledger.cuts()
    finally:
        ledger.close()
    if step is not None and not groups:
        raise InputError(f"no call in {str(path)!r} belongs to a step {step!r}")
    return [_summarize(rows, since, cuts.get(group, 0)) for group, rows in groups.items()]


def running(path: Path, *, clock: Callable[[], float] = time.time) -> list[Tally]:
    """How far those are that ask, or did until just now, and keep their replies in this file."""
    ledger = Ledger(path, read_only=True)
    try:
        return [tally for _, tally in _asking(ledger, clock())]
    finally:
        ledger.close()


def show_call(path: Path, key: str) -> list[dict[str, Any]]:
    """Everything stored of the calls whose key begins with `key` (with or without its scheme)."""
    ledger = Ledger(path, read_only=True)
    try:
        rows = ledger.rows(key=key if ":" in key else f"c1:{key}")
    finally:
        ledger.close()
    if not rows:
        raise InputError(f"no call in {str(path)!r} has a key that begins with {key!r}")
    if len({row.key for row in rows}) > 1:
        raise InputError(f"several keys in {str(path)!r} begin with {key!r}; give more of it")
    return [{**dataclasses.asdict(row), "request": json.loads(row.request)} for row in rows]


def _asking(ledger: Ledger, now: float) -> list[tuple[float, Tally]]:
    """Of each client that asks: when it was opened, and how far it is; what cannot be read is left out."""
    found = []
    for since, told, said in ledger.askers():
        with suppress(TypeError, ValidationError):  # a file of somebody else's may say anything
            if now - told < _SILENT:
                found.append((float(since), TypeAdapter(Tally).validate_json(said)))
    return found


def _summarize(rows: list[Row], since: float, cut: int) -> StepSummary:
    """`since`: what was sent from then on and is unfinished may still come home; `cut`: see Ledger.cuts."""
    statuses: dict[str, int] = {}
    for row in rows:
        flies = row.status == UNFINISHED and row.started >= since
        status = IN_FLIGHT if flies else row.status
        statuses[status] = statuses.get(status, 0) + 1
    ended = [row for row in rows if row.status != UNFINISHED]
    why = Counter(str(reason_of(row)) for row in rows if row.status == "failed")
    return StepSummary(
        step=rows[0].step,
        model=rows[0].model,
        calls=sum(row.requests for row in rows),
        statuses=statuses,
        faults=statuses.get("failed", 0) + statuses.get(UNFINISHED, 0),
        reasons=dict(why.most_common()),
        in_flight=statuses.get(IN_FLIGHT, 0),
        cut=cut,
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        estimated=sum(row.estimated for row in rows),
        cost_usd=sum(row.cost_usd or 0.0 for row in rows),
        cost_unknown=sum(row.cost_usd is None for row in rows),
        seconds=sum(row.seconds for row in ended) / max(len(ended), 1),
        replied_models=sorted({row.replied_model for row in rows if row.replied_model}),
    )
