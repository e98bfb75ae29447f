from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from saywell.language_models import Image, Message, Reply, Request, Scripted
from saywell.language_models.backend import Sent
from saywell.language_models.structured import Unreadable, outcome_of, read_answer, strict_schema


class Tag(BaseModel):
    item: int
    tags: list[str] = Field(default=[], max_length=3)


class Tags(BaseModel):
    items: list[Tag]


class Tree(BaseModel):
    name: str
    children: list[Tree]


GOOD = '{"items": [{"item": 1, "tags": ["battery life"]}]}'


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"\n {GOOD}\n",
        f"```json\n{GOOD}\n```",
        f"Sure, here you are:\n```\n{GOOD}\n```\n",
        f"The answer {{or not}} is ({GOOD}).",
        f'<think>maybe {{"items": []}}?</think>{GOOD}',
        f"{GOOD}\n\nAgain, in short: {GOOD}",
    ],
)
def test_one_answer_is_found_wherever_it_stands(text):
    assert read_answer(text, Tags).items == [Tag(item=1, tags=["battery life"])]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would say battery life.",
        '{"items": [{"item": 1, "tags": ["a"]}, {"item": 2',  # a part must not pass for the whole
        '{"items": [{"item": "first", "tags": []}]}',
        '{"items": [{"item": NaN, "tags": []}]}',
        '{"items": [{"item": 1, "tags": ["a", "b", "c", "d"]}]}',
        f'either {GOOD} or {{"items": []}}',
        "[" * 100_000,
        '{"items": ' * 5_000,
        "9" * 5_000,
    ],
)
def test_no_answer_or_two_answers_are_unreadable(text):
    with pytest.raises(Unreadable):
        read_answer(text, Tags)


class Loose(BaseModel):
    score: float = 0.0
    tags: list[str] = []


def test_an_answer_with_defaults_is_not_found_in_any_object():
    assert read_answer('so: {"score": 2, "tags": []}', Loose) == Loose(score=2)
    for text in ('so: {"other": 1}', 'see {"score": 2, "ta', "so: {}"):
        with pytest.raises(Unreadable):
            read_answer(text, Loose)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_what_is_no_number_is_no_score(number):
    for text in (f'{{"score": {number}, "tags": []}}', f'so: {{"score": {number}, "tags": []}}'):
        with pytest.raises(Unreadable):
            read_answer(text, Loose)


class Typed(BaseModel):
    count: int
    weight: float
    name: str


@pytest.mark.parametrize(
    ("field", "said", "read"),
    [
        ("count", "7", 7),
        ("count", "7.0", 7),  # to JSON the same number
        ("count", '"7"', 7),  # can mean one thing only
        ("count", '"-7"', -7),
        ("count", "true", None),
        ("count", "null", None),
        ("count", "3.7", None),
        ("count", '"3.7"', None),
        ("count", '"seven"', None),
        ("count", '""', None),
        ("count", "[7]", None),
        ("count", "1e400", None),
        ("count", "9" * 400, None),
        ("weight", "1", 1.0),
        ("weight", '"0.5"', 0.5),
        ("weight", "false", None),
        ("weight", '"NaN"', None),
        ("weight", '"inf"', None),
        ("weight", "-1e999", None),
        ("name", '"7"', "7"),
        ("name", "7", None),
        ("name", "null", None),
    ],
)
def test_types_are_taken_at_their_word(field, said, read):
    parts = {"count": "1", "weight": "0.1", "name": '"x"', field: said}
    body = ", ".join(f'"{key}": {value}' for key, value in parts.items())
    for text in (f"{{{body}}}", f"So: {{{body}}}."):
        try:
            found = getattr(read_answer(text, Typed), field)
        except Unreadable:
            found = None
        assert found == read and type(found) is type(read)


@pytest.mark.parametrize(
    "text",
    [
        '{"items": [], "items": []}',
        '{"items": [{"item": 1, "tags": [], "item": 2}]}',
        'So: {"items": [{"item": 1, "tags": [], "item": 1}]}',
    ],
)
def test_a_key_that_stands_twice_leaves_no_answer(text):
    with pytest.raises(Unreadable, match="twice"):
        read_answer(text, Tags)


@given(st.text(max_size=300))
def test_no_text_breaks_the_reader(text):
    with contextlib.suppress(Unreadable):
        read_answer(text, Tags)


@given(st.lists(st.builds(Tag, item=st.integers(0, 99), tags=st.lists(st.text(), max_size=3))), st.data())
def test_what_is_written_is_read(items, data):
    answer = Tags(items=items)
    around = data.draw(st.text(alphabet="abc .:\n", max_size=40))
    said = f"{around}{answer.model_dump_json()}"
    assert read_answer(said, Tags) == answer
    assert read_answer(f"{said}{around}", Tags, again=True) == answer


def test_strict_schema_is_closed_and_complete():
    schema = strict_schema(Tags)
    assert schema["additionalProperties"] is False and schema["required"] == ["items"]
    row = schema["properties"]["items"]["items"]
    assert row["additionalProperties"] is False and row["required"] == ["item", "tags"]
    assert "$ref" not in json.dumps(schema) and "maxItems" not in json.dumps(schema)
    recursive = strict_schema(Tree)
    assert recursive["$defs"]["Tree"]["additionalProperties"] is False


def ask(answer) -> Reply:
    with Scripted(answer) as model:
        return model.complete([Request("s", (Message("user", "hello"),), Tags)])[0]


def test_one_repair_round_and_no_more():
    seen = []

    def stubborn(request):
        seen.append(request)
        return "no json here"

    reply = ask(stubborn)
    assert len(seen) == 2 and reply.status == "unparsed" and reply.text == "no json here"
    assert reply.parsed is None and reply.attempts == 2
    assert seen[1].messages[1] == Message("assistant", "no json here")
    reply = ask(lambda request: GOOD if len(request.messages) > 1 else "oops")
    assert reply.status == "ok" and reply.attempts == 2 and reply.text == GOOD


def test_a_refusal_in_words_is_not_asked_again():
    seen = []
    reply = ask(lambda request: seen.append(1) or "I'm sorry, but I can't help with that.")
    assert reply.status == "refused" and len(seen) == 1


def reading(tokens: int | None, text: str):
    """The status of a good reply of a server that says it read so many tokens of `text`."""
    request = Request("s", (Message("user", text),), Tags)
    return outcome_of(request, Sent(GOOD, "stop", input_tokens=tokens))


def test_a_server_that_read_a_part_of_the_question_gave_no_answer_to_it():
    long = "The soup was cold and the waiter rude. " * 1000
    status, parsed, reason = reading(4096, long)
    assert status == "overflow" and parsed is None and "read 4,096 tokens" in reason
    assert "larger context" in reason
    # Counts that may be right: all of it, none said, or what was not read before.
    for tokens in (len(long) // 5, None, 40):
        assert reading(tokens, long)[0] == "ok"


@pytest.mark.parametrize(
    ("finish", "beside", "alone"),
    [
        *(
            (word, "truncated", "ok")
            for word in ("length", "MAX_TOKENS", "max_output_tokens", "model_length")
        ),
        *((word, "filtered", "filtered") for word in ("content_filter", "SAFETY", "PROHIBITED_CONTENT")),
        # Who knows what was lost: only an answer with nothing beside it is whole for certain.
        *((word, "unparsed", "ok") for word in ("error", "abort", "insufficient_system_resource", "zork")),
        *((word, "ok", "ok") for word in (None, "", "stop", "STOP", "end_turn", "eos_token", "COMPLETE")),
    ],
)
def test_why_a_reply_ended_is_said_in_many_words(finish, beside, alone):
    request = Request("s", (Message("user", "hello"),), Tags)
    assert outcome_of(request, Sent(f"Perhaps {GOOD}", finish))[0] == beside
    assert outcome_of(request, Sent(GOOD, finish))[0] == alone


@pytest.mark.parametrize(
    ("text", "tokens"),
    [  # by the tokenizers that need fewest for them
        ("Manufacturing responsibilities require extraordinary infrastructure " * 500, 2500),
        ("餐厅的汤是冷的，服务员很粗鲁，我们再也不会来了。" * 300, 24 * 150),
        ("Суп был холодным, а официант грубым. " * 400, 400 * 8),
        ("=" * 50_000 + " " * 50_000 + "-" * 50_000, 1000),
        ("of it to be in a " * 500, 500 * 17 // 4),  # a server that counts four characters as one
    ],
)
def test_dense_texts_raise_no_false_alarm(text, tokens):
    assert reading(tokens, text)[0] == "ok"


def test_free_text_needs_no_json():
    with Scripted(lambda request: "anything") as model:
        assert model.complete([Request("s", (Message("user", "x"),))])[0].status == "ok"


def test_a_bug_in_the_script_is_raised_and_what_came_before_is_kept():
    def answer(request):
        if request.messages[0].text == "3":
            raise ZeroDivisionError
        return "fine"

    with Scripted(answer) as model:
        with pytest.raises(ZeroDivisionError):
            model.complete([Request("s", (Message("user", str(i)),)) for i in range(6)])
        assert model.spent.calls == 3


def test_image_type_is_told_from_its_bytes():
    from saywell.errors import InputError

    assert Image(b"\x89PNG\r\n\x1a\n rest").media_type == "image/png"
    with pytest.raises(InputError, match="PNG"):
        _ = Image(b"<svg>").media_type
    assert len(repr(Image(b"x" * 1000))) < 50
