"""Several items in one request, answered each exactly once or asked about again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, Field, create_model

from saywell.errors import InputError
from saywell.language_models.prompts import Prompt
from saywell.language_models.requests import LanguageModel, Reply, Request, Status, need_open
from saywell.language_models.structured import Unreadable, read_answer, tighter

_Row = TypeVar("_Row", bound=BaseModel)
Check = Callable[[Sequence[Any]], str | None]


@dataclass(frozen=True, slots=True)
class ItemReply(Generic[_Row]):
    """What was said of one item; `row` is None exactly when the status is not "ok" (unscored)."""

    id: str
    row: _Row | None
    status: Status
    error: str | None
    key: str
    cached: bool


@dataclass(frozen=True, slots=True)
class Group:
    """Items (id -> text) that are asked about alike: `data` fills the rest of the prompt."""

    items: Mapping[str, str]
    data: Mapping[str, Any] = field(default_factory=dict)
    max_tokens_per_item: int = 100


def ask_items(
    model: LanguageModel,
    items: Mapping[str, str],
    prompt: Prompt,
    row: type[_Row],
    *,
    step: str,
    batch_size: int = 20,
    data: Mapping[str, Any] | None = None,
    check: Check | None = None,
    temperature: float = 0.0,
    max_tokens_per_item: int = 100,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, ItemReply[_Row]]:
    """Asks `model` about items (id -> text), `batch_size` to a request; one reply per id, in order.

    `row` is the answer for one item, a pydantic model with an integer field `item`. The prompt is
    rendered with `items`, pairs of number and text counted from 1 in each request, and with `data`;
    the model must answer {"items": [row, ...]} with every number exactly once. An answer with other
    numbers is none, because a model that counts otherwise gives each item the row of its neighbour;
    nor is one of which `check` (given all rows) says what is wrong with it.

    A request that was too large (not sent, rejected, cut off, or read in part), or whose answer lacked
    items twice, is asked again in halves; every other one without answer item by item, and so are all
    where no request about several had an answer. What is then without one is unscored, with the reason.
    `progress` counts the items of the first round.
    """
    group = Group(items, data or {}, max_tokens_per_item)
    return ask_groups(
        model,
        [group],
        prompt,
        row,
        step=step,
        batch_size=batch_size,
        check=check,
        temperature=temperature,
        seed=seed,
        progress=progress,
    )[0]


def ask_groups(
    model: LanguageModel,
    groups: Sequence[Group],
    prompt: Prompt,
    row: type[_Row],
    *,
    step: str,
    batch_size: int = 20,
    check: Check | None = None,
    temperature: float = 0.0,
    seed: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[dict[str, ItemReply[_Row]]]:
    """`ask_items` of many groups at once: a request holds items of one, and all are in flight together."""
    need_open(model)
    if "item" not in row.model_fields:
        raise InputError(f"the row model {row.__name__!r} needs an integer field 'item'")
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size!r}")

    @cache
    def answer(count: int) -> type[BaseModel]:
        def exact(rows: list[_Row]) -> list[_Row]:
            problem = _wrong_numbers([r.item for r in rows], count) or (check and check(rows))  # pyright: ignore
            if problem:
                raise ValueError(problem)
            return rows

        rows = Annotated[list[row], AfterValidator(exact)]
        tight = Field(json_schema_extra=tighter(**_numbered(row, count)))
        return create_model(f"{row.__name__}List", items=(rows, tight))  # pyright: ignore

    def request(batch: _Batch) -> Request:
        group = groups[batch.group]
        numbered = [(number, group.items[id]) for number, id in enumerate(batch.ids, 1)]
        messages = prompt.render(items=numbered, **group.data)
        most = max(50 + group.max_tokens_per_item * len(numbered), batch.max_tokens)
        return Request(
            step, messages, answer(len(numbered)), prompt.hash, temperature, most, seed, len(numbered)
        )

    def incomplete(batch: _Batch, reply: Reply) -> bool:
        if reply.status != "unparsed":
            return False
        try:
            rows: list[_Row] = read_answer(reply.text, some).items  # pyright: ignore
        except Unreadable:
            return False
        numbers = [each.item for each in rows]  # pyright: ignore
        few = len(set(numbers)) == len(numbers) and set(numbers) < set(range(1, len(batch.ids) + 1))
        return few and not (check and check(rows))

    some = create_model(f"{row.__name__}Some", items=(list[row], ...))  # pyright: ignore
    waiting = [
        _Batch(number, ids[start : start + batch_size])
        for number, ids in enumerate(list(group.items) for group in groups)
        for start in range(0, len(ids), batch_size)
    ]
    counts = [0, *_running(len(batch.ids) for batch in waiting)]
    tell = None if progress is None else lambda done: progress(counts[done])
    result: list[dict[str, ItemReply[_Row]]] = [{} for _ in groups]
    while waiting:
        replies = model.complete([request(batch) for batch in waiting], progress=tell)
        tell = None
        smaller: list[_Batch] = []
        several = [reply.status for batch, reply in zip(waiting, replies, strict=True) if len(batch.ids) > 1]
        singly = len(several) > 1 and set(several) == {"unparsed"}
        for batch, reply in zip(waiting, replies, strict=True):
            pieces = _pieces(batch, reply, not singly and incomplete(batch, reply))
            smaller += pieces
            if not pieces:
                result[batch.group].update(_read(batch.ids, reply))
        waiting = smaller
    return [{id: found[id] for id in group.items} for group, found in zip(groups, result, strict=True)]


@dataclass(frozen=True, slots=True)
class _Batch:
    group: int
    ids: list[str]
    max_tokens: int = 0
    """A limit that was not too large, where a larger batch needed it."""


def _pieces(batch: _Batch, reply: Reply, halve: bool) -> list[_Batch]:
    """The smaller batches to ask instead of one that has no answer; none: it is done.

    `halve`: an answer that was not taken lacked items and nothing else was wrong with it. One that was
    wrong otherwise is not asked for in halves: what shows that a model counts otherwise may be in one of
    them alone.
    """
    ids, most = batch.ids, batch.max_tokens
    if reply.status == "ok" or len(ids) == 1 or (reply.status == "failed" and not reply.rejected):
        return []
    if reply.status not in ("failed", "overflow", "truncated") and not halve:
        return [_Batch(batch.group, [id], most) for id in ids]
    if reply.status == "truncated":
        most = reply.max_tokens or most
    half = (len(ids) + 1) // 2
    return [_Batch(batch.group, ids[:half], most), _Batch(batch.group, ids[half:], most)]


def _numbered(row: type[BaseModel], count: int) -> dict[str, Any]:
    """What JSON Schema can say of `count` rows: each number once, in order."""
    schema = row.model_json_schema()
    rows = [
        schema | {"properties": schema["properties"] | {"item": {"const": number}}}
        for number in range(1, count + 1)
    ]
    return {"prefixItems": rows, "items": None, "minItems": count, "maxItems": count}


def _wrong_numbers(numbers: Sequence[int], count: int) -> str | None:
    """What is wrong with the numbers of an answer about `count` items.

    Where one item was asked about, a model that counts from 0 still means that one.
    """
    if count == 1 and list(numbers) == [0]:
        return None
    times = Counter(numbers)
    asked = range(1, count + 1)
    problems = [
        (sorted(n for n in times if n not in asked), "not asked about"),
        ([n for n in asked if n not in times], "not in the reply"),
        (sorted(n for n in times if times[n] > 1), "answered more than once"),
    ]
    said = [f"{', '.join(map(str, some[:10]))} {what}" for some, what in problems if some]
    expected = f"item numbers are 1 to {count}, each exactly once"
    return f"{expected}: {'; '.join(said)}" if said else None


def _read(ids: list[str], reply: Reply) -> dict[str, ItemReply[Any]]:
    if reply.parsed is None:
        return {id: ItemReply(id, None, reply.status, reply.error, reply.key, reply.cached) for id in ids}
    rows: list[Any] = getattr(reply.parsed, "items")  # noqa: B009
    if len(ids) > 1:
        rows = sorted(rows, key=lambda row: row.item)
    return {
        id: ItemReply(id, row, "ok", None, reply.key, reply.cached) for id, row in zip(ids, rows, strict=True)
    }


def _running(sizes: Any) -> list[int]:
    total, sums = 0, []
    for size in sizes:
        total += size
        sums.append(total)
    return sums
