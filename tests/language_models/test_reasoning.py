"""What stands before, inside or around reasoning is no answer, whatever the reasoning's marks."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from saywell.language_models import Message, Request, Scripted
from saywell.language_models.reasoning import final_text
from saywell.language_models.structured import Unreadable, read_answer


class Score(BaseModel):
    score: int


DRAFT, ANSWER = '{"score": 2}', '{"score": 7}'
NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_:-]{0,14}", fullmatch=True)
PAIRS = st.sampled_from(
    [
        "<{}> </{}>",
        "[{}] [/{}]",
        "<|{}|> <|/{}|>",
        "◁{}▷ ◁/{}▷",
        "⟨{}⟩ ⟨/{}⟩",
        "{{{}}} {{/{}}}",
        "【{}】 【/{}】",
        "[[{}]] [[/{}]]",
        "<{} kind='x'> </{}>",
        "<|begin_of_{}|> <|end_of_{}|>",
        "<start_{}> <stop_{}>",
        "<{}1> <{}2>",
    ]
)
DRAFTS = st.sampled_from(
    [
        "Perhaps " + DRAFT + ".",
        "I try:\n```json\n" + DRAFT + "\n```\nToo low.",
        DRAFT,
        '{"score": 2',
        "no draft at all",
        "either " + DRAFT + ' or {"score": 3}',
        '{"score": true}',
        "a list [1, 2] and a tag <b>bold</b> and List<int> [sic]\n\n" + DRAFT,
        "",
    ]
)
LAYOUTS = st.sampled_from(["{}", "\n\n{}", "\n```json\n{}\n```\n", "The answer is {}", "**{}**."])


def score(text, **options):
    try:
        return read_answer(text, Score, **options).score
    except Unreadable:
        return None


@given(PAIRS, NAMES, DRAFTS, DRAFTS, LAYOUTS, st.booleans())
@example("<{}> </{}>", "I", "List<int> " + DRAFT, DRAFT, "{}", True)
@example("<{}> </{}>", "I", "List<int> " + DRAFT, DRAFT, "{}", False)
@settings(max_examples=150, deadline=None)
def test_the_answer_after_a_section_counts_whatever_its_marks(pair, name, draft, second, layout, opened):
    assume(name.casefold() != "int")  # which a draft leaves open
    first, last = _split(pair, name)
    closing = "/" in last
    answer = layout.format(ANSWER)
    if opened or not closing:
        assert score(f"{first}{draft}{last}{answer}") == 7
        assert score(f"{first}{draft}{last}\n{first}{second}{last}{answer}") == 7
        assert final_text(f"{first}{draft}{last}\nHello.") == "Hello."
    else:  # the mark that opens it was part of the question
        assert score(f"{draft}{last}{answer}") == 7
        assert final_text(f"{draft}\n{last}\nHello.") == "Hello."
    assert score(f"{first}{draft}{last}") in (None, *([2] if draft == DRAFT else []))


@given(PAIRS, NAMES, DRAFTS.filter(lambda draft: draft != ""))
@settings(max_examples=100, deadline=None)
def test_a_section_that_is_not_closed_holds_no_answer(pair, name, draft):
    first, last = _split(pair, name)
    assume(first[0] in "<[◁⟨")  # other brackets are those of prose until a slash closes them
    for text in (f"{first}{draft}", f"{first}\nhm\n{draft}", f"{first}a{last}\n{first}{draft}"):
        assert score(text) is None, text
    assert final_text(f"{first} hm") == ""


def _split(pair, name):
    first, last = pair.rsplit(" ", 1)
    return first.format(name), last.format(name)


@given(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=3, unique=True), NAMES, DRAFTS)
@settings(max_examples=60, deadline=None)
def test_the_last_message_under_a_label_of_its_own_is_the_answer(marks, label, draft):
    channel, message, end = (f"<|{name}x|>" for name in marks)
    assume(label != "final")
    thought = f"{channel}{label}{message}{draft}"
    assert score(f"{thought}{end}{channel}final{message}{ANSWER}") == 7
    assert score(f"{thought}{end}{channel}final{message}{ANSWER}<|return|>") == 7
    assert score(thought) is None and score(f"{thought}{end}{thought}") is None
    assert final_text(f"{thought}{end}{channel}final{message}Hello.<|return|>") == "Hello."


@given(st.dictionaries(st.just("score"), st.integers(0, 9), min_size=1), st.text(max_size=40))
@example({"score": 1}, "</think>")
@example({"score": 1}, "<think>[THINK]<|channel|>")
def test_marks_inside_a_json_text_are_data(value, words):
    class Noted(BaseModel):
        score: int
        note: str

    text = json.dumps({**value, "note": words}, ensure_ascii=False)
    for reply in (text, f"So: {text}", f"<a>hm</a>\n```json\n{text}\n```", f"thought\n</t>{text}"):
        read = read_answer(reply, Noted)
        assert read.note == words and read.score == value["score"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Where nobody can tell which one is meant, there is none.
        (f"```json\n{DRAFT}\n```\nToo low.\n\n{ANSWER}", None),
        (f"{ANSWER}\n\nAn example of a bad text.\n```json\n{DRAFT}\n```", None),
        (f"I rejected the second.\n{ANSWER}\n\nIt is too low.\n\n{DRAFT}", None),
        (f"{ANSWER}<|end_x|>\n<|start_x|>user\nNext<|end_x|>\n<|start_x|>me\n{DRAFT}", None),
        (f"<|a|>final<|b|>{ANSWER}<|e|><|a|>note<|b|>One of 2 gets {DRAFT}", None),
        (f"either {DRAFT} or {ANSWER}", None),
        (f"{DRAFT}\n{ANSWER}", None),
        (f"Option 1:\n{DRAFT}\n\nOption 2:\n{ANSWER}", None),
        (f"{ANSWER}\n\nFor example:\n{DRAFT}", None),
        (f"{ANSWER}\n\nA bad one would get {DRAFT}.", None),
        (f"{DRAFT} <check>hm, too low</check>", None),
        (f"{DRAFT}\n<think>hm, too low", None),
        # One that was begun and is broken or does not fit says that the earlier one is not meant.
        (f'{DRAFT}\nBetter:\n{{"score": ', None),
        (f'{DRAFT}\nBetter:\n{{"score": "high"}}', None),
        # What the server or the model wraps around an answer and nothing else.
        (f"<answer>\n{ANSWER}\n</answer>", 7),
        (f"<think>hm {DRAFT}</think><answer>{ANSWER}</answer>", 7),
        (f"<reply><json>{ANSWER}</json></reply>", 7),
        (f"{ANSWER}</s>", 7),
        (f"{ANSWER}<|im_end|>", 7),
        (f"<answer>It is {ANSWER}.</answer>", None),
        (f"<think>a <b>{DRAFT}</b>", None),
        (f"The text [sic] has 3 < 4, {{or not}}, [1] and (a): {ANSWER}.", 7),
    ],
)
def test_which_of_several_is_meant(text, expected):
    assert score(text) == expected


LAST_WORDS = st.sampled_from(
    [
        "Wait: the score should be 7.",
        "不过最终答案是七",
        "{'score': 7}",
        "score = 7",
        "<score>7</score>",
        '{"Score": 7}',
        "{score: 7}",
        "{“score”: 7}",
        '"{\\"score\\": 7}"',
        '{/* so */ "score": 7',
        '[SEND]{"send": {"score": 7}}',
        "```json\n{",
        '{"why": "it is good", "score": 7',
        "\\boxed{7}",
        "%END% seven",
        "Now let me check",
        "[{",
    ]
)


@given(st.sampled_from(["{} ", "I say {}. But ", "{}\n\n", "```\n{}\n```\nNow\n"]), LAST_WORDS)
def test_an_answer_that_words_follow_is_asked_again(layout, words):
    said = layout.format(DRAFT) + words
    assert score(said) is None

    def seen(*replies):
        rest = iter(replies)
        with Scripted(lambda request: next(rest)) as model:
            reply = model.complete([Request("s", (Message("user", "x"),), Score)])[0]
        return reply.parsed and reply.parsed.score, reply.attempts

    assert seen(said, ANSWER) == (7, 2)
    # Some always explain themselves; but what looks like another answer is none of that.
    assert seen(said, f"{ANSWER}\n\nThat is it: a score out of 10.") == (7, 2)
    if re.search(r"[{[<=]|score:", words):
        assert seen(said, said) == (None, 2)


def test_only_a_whole_answer_counts_in_a_reply_that_was_cut_off():
    assert score(f"<think>hm</think>\n{ANSWER}", whole=True) == 7
    for text in (f"<think>hm {DRAFT}", f"Perhaps {DRAFT}, or", f"<think>{DRAFT}</think> So"):
        assert score(text, whole=True) is None


def test_free_text_is_handed_over_without_its_reasoning():
    replies = {
        "<zork>It may be {this}.</zork>\n\nUse <b>bold</b>.": "Use <b>bold</b>.",
        "it may be this\n</zork>\nUse <br> here": "Use <br> here",
        "[Ponder]hm[/Ponder] fine": "fine",
        "plain [sic] words": "plain [sic] words",
    }
    for raw, text in replies.items():
        with Scripted(lambda request, raw=raw: raw) as model:
            reply = model.complete([Request("s", (Message("user", "x"),))])[0]
        assert (reply.status, reply.text) == ("ok", text)
    with Scripted(lambda request: "<zork>It may be") as model:
        reply = model.complete([Request("s", (Message("user", "x"),))])[0]
    assert reply.status == "empty" and reply.error == "the reply has no text but its reasoning"


@pytest.mark.parametrize(
    "text",
    [
        '{"a' * 60_000,
        "{" * 200_000,
        "[" * 200_000,
        "<a" * 100_000,
        "<a>" * 60_000,
        "</a>" * 60_000,
        "(a) " * 60_000,
        '{"score": ' * 20_000,
        "<a " + " " * 200_000 + ">",
        "<a b=" * 40_000,
        "[a b c d e " * 20_000,
    ],
)
def test_a_hostile_reply_takes_little_time(text):
    import time

    began = time.process_time()
    assert score(text) is None
    final_text(text)
    assert time.process_time() - began < 3
