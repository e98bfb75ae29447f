"""What a study's calls came to, for `saywell calls`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from saywell.errors import InputError
from saywell.language_models.ledger import Ledger, Row


@dataclass(frozen=True, slots=True)
class StepSummary:
    """The calls of one step to one model.

    A call is a request that was sent. `statuses` counts outcomes; `faults` counts attempts that
    brought no reply. Of `estimated` calls the tokens were not reported, and are the most that the
    call may have taken. `cost_usd` sums the known costs, `cost_unknown` counts calls without one.
    `seconds` is the mean time of a call. `replied_models` are the models that the provider says
    answered.
    """

    step: str
    model: str
    calls: int
    statuses: dict[str, int]
    faults: int
    input_tokens: int
    output_tokens: int
    estimated: int
    cost_usd: float
    cost_unknown: int
    seconds: float
    replied_models: list[str]


def summarize_calls(path: Path, step: str | None = None) -> list[StepSummary]:
    """One summary per step and model, in the order in which the steps first asked."""
    ledger = Ledger(path, read_only=True)
    try:
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in ledger.rows(step):
            groups.setdefault((row.step, row.model), []).append(row)
    finally:
        ledger.close()
    if step is not None and not groups:
        raise InputError(f"no call in {str(path)!r} belongs to a step {step!r}")
    return [_summarize(rows) for rows in groups.values()]


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


def _summarize(rows: list[Row]) -> StepSummary:
    statuses: dict[str, int] = {}
    for row in rows:
        statuses[row.status] = statuses.get(row.status, 0) + 1
    return StepSummary(
        step=rows[0].step,
        model=rows[0].model,
        calls=sum(row.requests for row in rows),
        statuses=statuses,
        faults=sum(row.status in ("failed", "unfinished") for row in rows),
        input_tokens=sum(row.input_tokens for row in rows),
        output_tokens=sum(row.output_tokens for row in rows),
        estimated=sum(row.estimated for row in rows),
        cost_usd=sum(row.cost_usd or 0.0 for row in rows),
        cost_unknown=sum(row.cost_usd is None for row in rows),
        seconds=sum(row.seconds for row in rows) / len(rows),
        replied_models=sorted({row.replied_model for row in rows if row.replied_model}),
    )
