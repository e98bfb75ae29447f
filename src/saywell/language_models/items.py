"""Several items in one request, with the check that each was answered exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, create_model

from saywell.errors import InputError
from saywell.language_models.prompts import Prompt
from saywell.language_models.requests import LanguageModel, Reply, Request, Status

Row = TypeVar("Row", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ItemReply(Generic[Row]):
    """What was said of one item; `row` is None exactly when the status is not "ok" (unscored)."""

    id: str
    row: Row | None
    status: Status
    error: str | None
    key: str
    cached: bool


def ask_items(
    model: LanguageModel,
    items: Mapping[str, str],
    prompt: Prompt,
    row: type[Row],
    *,
    step: str,
    batch_size: int = 20,
    data: Mapping[str, Any] | None = None,
    temperature: float = 0.0,
    max_tokens_per_item: int = 100,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, ItemReply[Row]]:
    """Asks `model` about items (id -> text), `batch_size` to a request, and returns one reply per
    id, in order.

    `row` is the answer for one item, a pydantic model with an integer field `item`. The prompt is
    rendered with `items`, pairs of number and text counted from 1 in each request, and with `data`;
    the model must answer {"items": [row, ...]}. An item that is missing or answered twice, and
    every item of a reply that could not be read, is asked once more alone; rows for numbers that
    were not asked are ignored. What is still not answered is unscored, with the reason. `progress`
    counts items.
    """
    if "item" not in row.model_fields:
        raise InputError(f"the row model {row.__name__!r} needs an integer field 'item'")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size!r}")
    answer = create_model(f"{row.__name__}List", items=(list[row], ...))  # pyright: ignore
    ids = list(items)

    def request(batch: list[str]) -> Request:
        numbered = [(number, items[id]) for number, id in enumerate(batch, 1)]
        messages = prompt.render(items=numbered, **(data or {}))
        most = 50 + max_tokens_per_item * len(batch)
        return Request(step, messages, answer, prompt.hash, temperature, most, seed)

    batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    counts = [0, *_running(len(batch) for batch in batches)]
    replies = model.complete(
        [request(batch) for batch in batches],
        progress=None if progress is None else lambda done: progress(counts[done]),
    )
    result: dict[str, ItemReply[Row]] = {}
    for batch, reply in zip(batches, replies, strict=True):
        result.update(_read(batch, reply))
    alone = [
        id
        for batch in batches
        if len(batch) > 1
        for id in batch
        if result[id].status not in ("ok", "failed")
    ]
    for id, reply in zip(alone, model.complete([request([id]) for id in alone]), strict=True):
        result.update(_read([id], reply))
    return result


def _read(batch: list[str], reply: Reply) -> dict[str, ItemReply[Any]]:
    if reply.parsed is None:
        return {
            id: ItemReply(id, None, reply.status, reply.error, reply.key, reply.cached)
            for id in batch
        }
    rows: list[Any] = getattr(reply.parsed, "items")  # noqa: B009
    times = Counter(row.item for row in rows)
    answered = {row.item: row for row in rows}
    result = {}
    for number, id in enumerate(batch, 1):
        if times[number] == 1:
            result[id] = ItemReply(id, answered[number], "ok", None, reply.key, reply.cached)
        else:
            reason = "not in the reply" if times[number] == 0 else f"answered {times[number]} times"
            result[id] = ItemReply(id, None, "unparsed", f"item {reason}", reply.key, reply.cached)
    return result


def _running(sizes: Any) -> list[int]:
    total, sums = 0, []
    for size in sizes:
        total += size
        sums.append(total)
    return sums
