"""A paraphrase is kept where it says the same, and nowhere else."""

from __future__ import annotations

import json
import re

import pytest

from saywell.claims.english import english
from saywell.claims.language import parse
from saywell.claims.paraphrase import _FRAME, KEPT, OTHER, PARAPHRASE, Paraphrase, difference, paraphrases
from saywell.language_models import Scripted, load_prompt

OFF = 'the word "off" after any form of "turn"'
PAST = "verbs in the past tense at the start of a sentence"
HOW = 'question marks, but not in texts with the word "how"'


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        (OFF, '"off" preceded by any form of "turn"'),
        (OFF, "the word “off” right after any form of 'turn'"),
        (PAST, "past-tense verbs that begin a sentence"),
        (HOW, 'question marks, except in texts with the word "how"'),
        ('the word "in" before a year (like 1998)', 'the word "in" followed by a year'),
        ("texts of 30 words or more", "texts of at least 30 words"),
        ('the word "phone" in any form, after "my"', 'any form of the word "phone" after "my"'),
        ("content words said before in the same text", "content words used earlier in the same text"),
    ],
)
def test_other_words_for_the_same(sentence, said):
    assert difference(sentence, said) == ""


@pytest.mark.parametrize(
    ("sentence", "said", "wrong"),
    [
        (OFF, 'any form of "turn" after "off"', "it quotes"),
        (OFF, 'the word "off" or "on" after any form of "turn"', "it quotes"),
        (OFF, 'the word "off" before any form of "turn"', "leaves out after and adds before"),
        (OFF, 'the word "off" after "turn"', "leaves out anyform"),
        (PAST, "verbs in the past tense at the end of a sentence", "leaves out start and adds end"),
        (PAST, "verbs in the present tense at the start of a sentence", "leaves out past and adds present"),
        (PAST, "verbs in the past tense, often at the start of a sentence", "adds often"),
        (HOW, 'question marks in texts with the word "how"', "joins its parts otherwise"),
        ("question marks", "question marks (in complaints)", "adds  (in complaints)"),
        ("texts of 30 words or more", "texts of 30 words at most", "leaves out ormore and adds atmost"),
        ("texts of 30 words or more", "texts of 13 words or more", "leaves out 30 and adds 13"),
        (
            'question marks, or the word "so"',
            'question marks and the word "so"',
            "leaves out or and adds and",
        ),
        ("question marks", "question\x1b[31m marks", "holds '\\x1b'"),
        ("question marks", "", "empty"),
        ("question marks", "question marks " * 9, "too long"),
    ],
)
def test_words_for_something_else(sentence, said, wrong):
    assert wrong in difference(sentence, said)


@pytest.mark.parametrize(
    "claim",
    [
        'word("off", "on") & after(form("turn")) & place("sentence-first")',
        'class("past") & near(mark("?")) and not like("slow service", 0.4)',
        'suffix("ing", "ed") & earlier(word("not")) or class("number-word") & repeated()',
        'about("refund", "money back") and feels("negative") and long(5, 30) and not mark("!")',
        'letters(8) & before(before(piece("sh"))) and tagged("cold soup")',
    ],
)
def test_no_word_that_matters_can_be_left_out(claim):
    sentence = english(parse(claim))
    assert difference(sentence, sentence) == ""
    bare = re.sub(r"\([^()]*\)", lambda inside: " " * len(inside[0]), sentence)
    for found in re.finditer(r"""["'].*?["'](?= |,|;|$)|[\w-]+""", bare):
        without = sentence[: found.start()] + sentence[found.end() :]
        if found[0].rstrip("s") not in _FRAME | {"but", "same", "said", "more", "most", "least", "not"}:
            assert difference(sentence, without), found[0]


def test_what_a_model_says_is_kept_where_it_says_the_same():
    asked = []

    def answer(request):
        text = request.messages[-1].text
        items = re.findall(r"Description (\d+):\n<data-\w+>\n(.*)\n", text)
        asked.append(len(items))
        said = {OFF: 'the word "off"  right after any form of "turn".', PAST: "verbs", HOW: HOW}
        return json.dumps({"items": [{"item": int(n), "text": said.get(t, "I'm sorry")} for n, t in items]})

    with Scripted(answer) as model:
        found = paraphrases([OFF, PAST, "", OFF, HOW], model, load_prompt(PARAPHRASE))
    assert asked == [3]
    better = Paraphrase('the word "off" right after any form of "turn"', KEPT)
    assert found[0] == found[3] == better
    assert (found[1].text, found[1].status) == (PAST, OTHER) and "past" in found[1].detail
    assert found[2] == Paraphrase("", "empty")
    assert found[4] == Paraphrase(HOW, KEPT)


def test_a_model_without_an_answer_changes_nothing():
    with Scripted(lambda request: "I'm sorry, I cannot do that.") as model:
        (found,) = paraphrases([OFF], model, load_prompt(PARAPHRASE))
    assert (found.text, found.status) == (OFF, "refused")
