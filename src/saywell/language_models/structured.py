"""Structured answers: the schema sent along, tolerant reading, and the one repair round."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from saywell.language_models.requests import Message, Request, Status

Answer = TypeVar("Answer", bound=BaseModel)

# Providers enforce different subsets of JSON Schema; these keywords are checked here instead.
_DROPPED = frozenset(
    [
        "title",
        "default",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "pattern",
        "format",
        "minItems",
        "maxItems",
        "uniqueItems",
    ]
)
_FENCED = re.compile(r"```[a-zA-Z0-9_-]*\s*\n(.*?)```", re.DOTALL)
_THOUGHT = re.compile(r"<think(?:ing)?>.*?</think(?:ing)?>", re.DOTALL)
_REFUSAL = re.compile(
    r"\s*(i['’]?m (very |so )?sorry|sorry,|i apologi[sz]e|i can(no|['’])t |i am (unable|not able) "
    r"|i['’]m (unable|not able) |i won['’]t |as an ai )",
    re.IGNORECASE,
)
# A reply is hostile text: bound the work that looking for JSON inside prose can take.
_MOST_STARTS = 200
_LONGEST_PROSE = 200_000


class Unreadable(ValueError):
    """The reply holds no answer of the asked form; the message says why, for the repair round."""


@lru_cache(maxsize=64)
def strict_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """The answer's JSON schema in the subset every schema mode takes: closed objects, all fields
    required.

    References are inlined except in recursive schemas. Bounds and patterns are left out; they are
    checked when the reply is read.
    """
    schema = answer.model_json_schema()
    definitions = schema.pop("$defs", {})

    def close(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [close(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        if "$ref" in node:
            name = node["$ref"].rsplit("/", 1)[-1]
            if name in inside:
                return {"$ref": node["$ref"]}
            return close(definitions[name], (*inside, name))
        closed = {
            key: {name: close(value, inside) for name, value in child.items()}
            if key == "properties"
            else close(child, inside)
            for key, child in node.items()
            if key not in _DROPPED
        }
        if "properties" in closed:
            closed["required"] = list(closed["properties"])
            closed["additionalProperties"] = False
        return closed

    result = close(schema, ())
    if '"$ref"' in json.dumps(result):
        result["$defs"] = {name: close(node, (name,)) for name, node in definitions.items()}
    return result


@lru_cache(maxsize=64)
def schema_text(answer: type[BaseModel]) -> str:
    """The answer's full JSON schema as canonical text: for cache keys and instructions."""
    return json.dumps(answer.model_json_schema(), sort_keys=True)


def with_instructions(
    messages: tuple[Message, ...], answer: type[BaseModel]
) -> tuple[Message, ...]:
    """The messages with the answer's form spelled out at their end, unless they have it already."""
    form = (
        "Answer with one JSON value and nothing else. It must satisfy this JSON schema:\n"
        + schema_text(answer)
    )
    if any(message.text.endswith(form) for message in messages):
        return messages
    last = messages[-1]
    if last.role != "user":
        return (*messages, Message("user", form))
    if isinstance(last.content, str):
        return (*messages[:-1], Message("user", f"{last.content}\n\n{form}"))
    return (*messages[:-1], Message("user", (*last.content, form)))


def repair_request(request: Request, text: str, reason: str) -> Request:
    """The question put once more, with the reply that could not be read and the reason."""
    assert request.answer is not None
    question = with_instructions(request.messages, request.answer)
    complaint = (
        f"That answer could not be used: {reason[:1000]}. Give it again in the form asked for."
    )
    turns = (Message("assistant", text[:20_000]), Message("user", complaint))
    return replace(request, messages=(*question, *turns))


def read_answer(text: str, answer: type[Answer], *, whole: bool = False) -> Answer:
    """The answer that a reply contains: the whole text, a fenced block, or the one JSON value in
    prose.

    With `whole` only the whole text counts (a truncated reply must not be mistaken for one of its
    parts). Raises Unreadable when there is none or when there are several that differ.
    """
    text = _THOUGHT.sub("", text).strip()
    try:
        value = _load(text)
    except ValueError as error:
        reason = f"it is not JSON ({error})"
    else:
        try:
            return answer.model_validate(value)
        except ValidationError as error:
            reason = _explain(error)
    if whole or len(text) > _LONGEST_PROSE:
        raise Unreadable(reason)
    found: list[Answer] = []
    for block in _FENCED.findall(text) or [text]:
        for value in _values_in(block):
            # A part of a broken answer must not pass for the answer, so all fields have to be
            # there.
            if isinstance(value, dict) and not answer.model_fields.keys() <= value.keys():
                reason = (
                    f"the fields {sorted(answer.model_fields.keys() - value.keys())} are missing"
                )
                continue
            try:
                parsed = answer.model_validate(value)
            except ValidationError as error:
                reason = _explain(error)
            else:
                if parsed not in found:
                    found.append(parsed)
    if len(found) == 1:
        return found[0]
    raise Unreadable(f"it holds {len(found)} different answers" if found else reason)


def classify(
    text: str,
    finish: str | None,
    refusal: str | None,
    answer: type[BaseModel] | None,
    max_tokens: int,
) -> tuple[Status, BaseModel | None, str | None]:
    """Status, parsed answer and reason of a reply, told apart in this order.

    Filtered and refused by the provider's own flags, empty, truncated by length, a refusal in plain
    words, unparsed, ok. Deterministic in its inputs, so a reply from the cache gets what it got
    when it arrived.
    """
    if finish == "content_filter":
        return "filtered", None, "the provider's content filter stopped the reply"
    if refusal:
        return "refused", None, refusal
    if finish == "length":
        if answer is not None:
            try:
                return "ok", read_answer(text, answer, whole=True), None
            except Unreadable:
                pass
        return "truncated", None, f"cut off at max_tokens = {max_tokens}"
    if not text.strip():
        return "empty", None, "the reply has no text"
    if answer is None:
        return "ok", None, None
    try:
        return "ok", read_answer(text, answer), None
    except Unreadable as error:
        if "{" not in text and _REFUSAL.match(text):
            return "refused", None, text.strip()[:300]
        return "unparsed", None, str(error)


def _values_in(text: str) -> list[Any]:
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    values: list[Any] = []
    position = 0
    for _ in range(_MOST_STARTS):
        start = min(
            (i for i in (text.find("{", position), text.find("[", position)) if i >= 0), default=-1
        )
        if start < 0:
            break
        try:
            value, position = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            position = start + 1
        else:
            values.append(value)
    return values


def _load(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _no_constant(name: str) -> NoReturn:
    # NaN and Infinity are not JSON; as a score they would poison a mean.
    raise ValueError(f"{name} is not a JSON value")


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)[:5]
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
        for problem in problems
    )
