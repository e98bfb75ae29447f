"""Structured answers: the schema sent along, tolerant reading, and the one repair round."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from saywell.language_models.backend import Sent
from saywell.language_models.choices import chosen
from saywell.language_models.ledger import Row
from saywell.language_models.reasoning import Final, after_reasoning, final_text
from saywell.language_models.requests import Message, Request, Status

Answer = TypeVar("Answer", bound=BaseModel)

_TIGHTER = "x-tighter"


def tighter(**keywords: Any) -> dict[str, Any]:
    """The `json_schema_extra` of a field whose answers a grammar can keep to more than their type.

    Keywords of JSON Schema for what is checked, or cut off, when the answer is read; None for one that they
    replace. Without an end a small model goes on for as long as it may. Neither prompts nor cache keys
    have them.
    """
    return {_TIGHTER: keywords}


# What the grammars of llama.cpp make of JSON Schema; a keyword they do not know would switch them off.
_GRAMMAR = frozenset(
    "type properties required additionalProperties items prefixItems minItems maxItems enum const anyOf "
    "minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength $ref $defs".split()
)
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
        _TIGHTER,
    ]
)
_REFUSAL = re.compile(
    r"\s*(i['’]?m (very |so )?sorry|sorry,|i apologi[sz]e|i can(no|['’])t |i am (unable|not able) "
    r"|i['’]m (unable|not able) |i won['’]t |as an ai )",
    re.IGNORECASE,
)
_BEGINS = re.compile(r'\{\s*["}]|\[\s*[\["{}\]\dtfn-]')
_KEY = re.compile(r'\{\s*"([^"\\\n]{1,200})"\s*:')
_BEFORE = re.compile(r"\s*(```[\w-]*[ \t]*\n)?\s*")
_AFTER = re.compile(r"\s*(```)?\s*")
# Why a reply ended, in the words of one server or another: its limit, a filter, or what is neither
# ("error", "abort", a word of next year); None and the last ones are a model that was done.
_CUT_OFF = re.compile(r"length|max|limit|incomplete|truncat", re.IGNORECASE)
_FILTERED = re.compile(r"filter|safety|block|prohibit|recitation|moderat", re.IGNORECASE)
_DONE = re.compile(
    r"|stop.*|eos.*|eot|end.*|complete[d]?|finish(ed)?|done|success|tool_.*|function_call", re.IGNORECASE
)
_WORDS = re.compile(r"[\w{\[(<]")
_ANOTHER = re.compile(r"[{\[<]|```\s*\w")
_COMPLAINT = "That answer could not be used: "
_WIDE = re.compile(r"[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
# Servers that leave out of their count what they had read before give small numbers too; a context
# that is smaller than this is not to be had.
_SMALLEST_CONTEXT = 1000
_QUOTED_NUMBER = re.compile(r"[+-]?\d{1,15}(\.\d{1,15})?")
# A reply is hostile text: bound the work that looking for JSON inside prose can take.
_LONGEST_PROSE = 1_000_000
_MOST_WORK = 4_000_000  # characters that decoding may look at
_DEEPEST = 100_000  # about what it looks at before it finds that a value is nested too deeply


class Unreadable(ValueError):
    """The reply holds no answer of the asked form; the message says why, for the repair round."""


# Small models go on with blanks and new lines wherever they may.
_COMPACT = {"x-guidance": {"whitespace_flexible": False}}


@lru_cache(maxsize=64)
def tight_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """The answer's JSON schema for llama.cpp, whose grammars enforce it: all bounds that are known."""

    def close(node: Any) -> Any:
        if isinstance(node, list):
            return [close(item) for item in node]
        if not isinstance(node, dict):
            return node
        closed = {
            key: {name: close(value) for name, value in child.items()}
            if key in ("properties", "$defs")
            else close(child)
            for key, child in (node | node.get(_TIGHTER, {})).items()
            if key in _GRAMMAR and child is not None
        }
        if "properties" in closed:
            closed |= {"required": list(closed["properties"]), "additionalProperties": False}
        return closed

    return close(answer.model_json_schema()) | _COMPACT


@lru_cache(maxsize=64)
def strict_schema(answer: type[BaseModel]) -> dict[str, Any]:
    """The answer's JSON schema in the subset every schema mode takes: closed objects, all fields required.

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
    return json.dumps(_untightened(answer.model_json_schema()), sort_keys=True)


def _untightened(node: Any) -> Any:
    if isinstance(node, list):
        return [_untightened(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {key: _untightened(child) for key, child in node.items() if key != _TIGHTER}


def with_instructions(messages: tuple[Message, ...], answer: type[BaseModel]) -> tuple[Message, ...]:
    """The messages with the answer's form spelled out at their end, unless they have it already."""
    form = "Answer with one JSON value and nothing else. It must satisfy this JSON schema:\n" + schema_text(
        answer
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
    """The question put once more, with the (end of the) reply that could not be read and why."""
    assert request.answer is not None
    question = with_instructions(request.messages, request.answer)
    complaint = f"{_COMPLAINT}{reason[:1000]}. Give it again in the form asked for."
    turns = (Message("assistant", text[-20_000:]), Message("user", complaint))
    return replace(request, messages=(*question, *turns))


def read_answer(text: str, answer: type[Answer], *, whole: bool = False, again: bool = False) -> Answer:
    """The answer that a reply contains: the whole text, or the only value of the asked form.

    It has to stand after all reasoning (see reasoning.py), to be the only one there, and the last
    word: words after it may take it back ("But no, it is 3"), and of several that differ one may be
    a draft or an example; no rule tells which, so the model is asked. Some models explain themselves
    even when they were told that (`again`): then words after the answer do it no harm, unless they
    look like another one. With `whole` nothing may stand beside the answer (a truncated reply must
    not be mistaken for one of its parts). Raises Unreadable when there is none.
    """
    read, words = _read(text, answer, whole)
    if words and not (again and not _ANOTHER.search(words) and not _fields_in(words, answer)):
        raise Unreadable("words after the answer may take it back; give it with nothing beside it")
    return read


def _fields_in(words: str, answer: type[BaseModel]) -> bool:
    """Whether one of the asked fields is given a value in the words, as in 'Score: 7'."""
    schemas = [answer.model_json_schema()]
    schemas += schemas[0].get("$defs", {}).values()
    names = "|".join(re.escape(name) for schema in schemas for name in schema.get("properties", ()))
    return bool(re.search(rf"\b(?:{names})\b\W{{0,9}}[:=]", words, re.IGNORECASE))


def _read(text: str, answer: type[Answer], whole: bool) -> tuple[Answer, str]:
    """The answer in a reply, and the words that follow it."""
    text = text.strip()
    try:
        value, faults = _decode(text)
    except ValueError as error:
        reason = f"it is not JSON ({error})"
    else:
        return _fit(value, faults, answer), ""
    if len(text) > _LONGEST_PROSE:
        raise Unreadable(reason)
    found = _values_in(text, answer.model_fields.keys())
    final = after_reasoning(text, [(v.start, v.end) for v in found if v.complete])
    if final.problem is not None:
        raise Unreadable(final.problem)
    answers = [v for v in found if v.is_answer]
    begun = [v for v in answers if final.start <= v.start and max(v.end, v.start + 1) <= final.end]
    if not begun:
        raise Unreadable("nothing but reasoning stands in it" if answers else reason)
    last = begun[-1]
    if not last.complete:
        raise Unreadable("its last answer is not complete JSON")
    if missing := answer.model_fields.keys() - last.value.keys():
        # A part of a broken answer must not pass for the answer.
        raise Unreadable(f"the fields {sorted(missing)} are missing")
    read = _fit(last.value, last.faults, answer)
    if (final.alone or whole) and not _is_alone(text, last, final):
        raise Unreadable("other text stands beside the answer, inside marks or cut off")
    first = [v for v in answers if v.start < final.outside]
    if any(not v.complete or v.value != last.value for v in first + begun):
        raise Unreadable("it holds several answers that differ; give one, with nothing beside it")
    words = text[last.end : final.end]
    return read, words if _WORDS.search(words) else ""


def outcome_of(request: Request, said: Sent | Row) -> tuple[Status, BaseModel | None, str | None]:
    """Status, parsed answer and reason of a reply (as it came or is stored), told apart in this order.

    Filtered and refused by the provider's own flags, an answer to a part of the question, truncated
    by length, empty, a refusal in plain words, unparsed, ok. Deterministic in its inputs, so a reply
    from the cache gets what it got when it arrived.
    """
    text, answer = said.text, request.answer
    finish = said.finish or ""
    if _FILTERED.search(finish):
        return "filtered", None, "the provider's content filter stopped the reply"
    if said.refusal:
        return "refused", None, said.refusal
    counted = said.input_tokens or 0
    if counted >= _SMALLEST_CONTEXT and counted < (least := fewest_tokens(request)):
        return "overflow", None, cut_in_silence(counted, least, " or more")
    if request.choices is not None:
        return _choice_of(request.choices, said)
    if _CUT_OFF.search(finish):
        if answer is not None:
            try:
                return "ok", read_answer(text, answer, whole=True), None
            except Unreadable:
                pass
        return "truncated", None, f"cut off at max_tokens = {request.max_tokens}"
    if not text.strip():
        return "empty", None, "the reply has no text"
    if answer is None:
        if not final_text(text):
            return "empty", None, "the reply has no text but its reasoning"
        return "ok", None, None
    try:
        return (
            "ok",
            read_answer(text, answer, whole=not _DONE.fullmatch(finish), again=_asks_again(request)),
            None,
        )
    except Unreadable as error:
        if "{" not in text and _REFUSAL.match(final_text(text)):
            return "refused", None, text.strip()[:300]
        return "unparsed", None, str(error)


def _choice_of(choices: Sequence[str], said: Sent | Row) -> tuple[Status, None, str | None]:
    if said.probabilities is not None or chosen(said.text, choices) is not None:
        return "ok", None, None
    if not said.text.strip():
        return "empty", None, "the reply has no text"
    if _REFUSAL.match(final_text(said.text)):
        return "refused", None, said.text.strip()[:300]
    return "unparsed", None, f"it begins with none of {', '.join(map(repr, choices))}"


def _asks_again(request: Request) -> bool:
    """Whether the request shows the model a reply of its own and what was wrong with it."""
    return request.messages[-1].text.startswith(_COMPLAINT)


def cut_in_silence(read: int, asked: int, more: str = "") -> str:
    """What to say of a server that read so many tokens of so many."""
    return (
        f"the server read {read:,} tokens of a question that has {asked:,}{more}: "
        "it cut off what its context has no room for; give the model a larger context"
    )


def fewest_tokens(request: Request) -> int:
    """A number of tokens that the texts of the request have in any common tokenizer, or more.

    No token reaches over a space, so every word is a token or more; here a short one counts less, an
    eighth a character, because some servers report a quarter of the characters. Of wide scripts,
    which have no spaces (Chinese, Japanese, Korean), 8 characters count as 3 tokens. That is at most
    85 % of the real count, in the texts and tokenizers of benchmarks/tokens_of_texts.py.
    """
    texts = [message.text for message in request.messages]
    eighths = sum(min(len(word) + 1, 8) for text in texts for word in text.split())
    return (eighths + 3 * sum(len(_WIDE.findall(text)) for text in texts)) // 8


@dataclass(frozen=True, slots=True)
class _Value:
    """A JSON object or array in a text, end exclusive, or (not complete) the beginning of one."""

    start: int
    end: int
    complete: bool
    is_answer: bool
    """Whether it is an object with one of the asked fields."""
    value: Any = None
    faults: tuple[str, ...] = ()


def _values_in(text: str, fields: Collection[str]) -> list[_Value]:
    """The outermost JSON values, and the beginnings of answers that are none."""
    values: list[_Value] = []
    position, work = 0, 0
    while begin := _BEGINS.search(text, position):
        start = begin.start()
        try:
            value, end, faults = _decode_at(text, start)
        except ValueError as error:
            key = _KEY.match(text, start)
            if key and key[1] in fields:
                values.append(_Value(start, start, False, True))
            position = start + 1
            work += getattr(error, "pos", start + _DEEPEST) - start + 200
        else:
            is_answer = isinstance(value, dict) and not value.keys().isdisjoint(fields)
            values.append(_Value(start, end, True, is_answer, value, faults))
            position = end
            work += end - start
        if work > _MOST_WORK:
            raise Unreadable("it is not JSON, and too tangled to look for JSON in it")
    return values


def _is_alone(text: str, value: _Value, final: Final) -> bool:
    """Whether nothing but a fence stands beside the value."""
    before = _BEFORE.fullmatch(text, final.start, value.start)
    return bool(before and _AFTER.fullmatch(text, value.end, final.end))


def _decode(text: str) -> tuple[Any, tuple[str, ...]]:
    value, end, faults = _decode_at(text, 0)
    if text[end:].strip():
        raise ValueError(f"there is more after its character {end}")
    return value, faults


def _decode_at(text: str, start: int) -> tuple[Any, int, tuple[str, ...]]:
    """The JSON value at `start`, its end, and what is wrong with it although it can be decoded."""
    faults: list[str] = []

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            twice = next(k for k, n in Counter(key for key, _ in pairs).items() if n > 1)
            faults.append(f"the key {twice[:100]!r} stands twice in one object")
        return value

    def constant(name: str) -> None:
        # NaN and Infinity are not JSON; as a score they would poison a mean.
        faults.append(f"{name} is not a JSON value")

    def integer(digits: str) -> int | None:
        if len(digits) > 300:
            faults.append(f"a number of {len(digits)} digits")
            return None
        return int(digits)

    def number(digits: str) -> float | int:
        value = _number(digits)
        if not math.isfinite(value):
            faults.append(f"the number {digits[:50]} is too large")
        return value

    decoder = json.JSONDecoder(
        object_pairs_hook=unique, parse_constant=constant, parse_int=integer, parse_float=number
    )
    try:
        value, end = decoder.raw_decode(text, start)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return value, end, tuple(faults)


def _fit(value: Any, faults: Sequence[str], answer: type[Answer]) -> Answer:
    """The value as an answer, its types taken at their word: true is no number, 3.7 no integer.

    One thing is mended, because it can mean only one thing: a number in quotation marks.
    """
    if faults:
        raise Unreadable(faults[0])
    try:
        return answer.model_validate(value, strict=True)
    except ValidationError as error:
        problem = error
    if _unquote(value, problem):
        try:
            return answer.model_validate(value, strict=True)
        except ValidationError as error:
            problem = error
    raise Unreadable(_explain(problem))


def _unquote(value: Any, error: ValidationError) -> bool:
    """Replaces numbers in quotation marks where numbers are due; whether there were any."""
    mended = False
    for problem in error.errors(include_url=False, include_context=False):
        said, place = problem["input"], problem["loc"]
        if problem["type"] not in ("int_type", "float_type") or not isinstance(said, str):
            continue
        if not place or not _QUOTED_NUMBER.fullmatch(said):
            continue
        try:
            holder = value
            for step in place[:-1]:
                holder = holder[step]
            holder[place[-1]] = _number(said)
            mended = True
        except (LookupError, TypeError):
            continue  # a place inside a union, which is none of the value
    return mended


def _number(digits: str) -> float | int:
    """The number, as an integer where it is one: to JSON 7.0 and 7 are the same."""
    value = float(digits)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _explain(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False)[:5]
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg'].removeprefix('Value error, ')}"
        for problem in problems
    )
