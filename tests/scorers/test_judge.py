"""The judge: blind, turned around, and its agreement with itself."""

from __future__ import annotations

import json
import re

import pytest
from PIL import Image

from saywell.language_models import load_prompt
from saywell.language_models.scripted import Scripted
from saywell.scorers.judge import AGAIN, JUDGE, TURNED, judge_descriptions, self_agreement, share_best

SOURCES = {f"class {n}": {"ours": ["it is red"], "theirs": ["it is old"]} for n in range(12)}


def ask(answer, sources=SOURCES):
    model = Scripted(lambda request: answer("\n".join(m.text for m in request.messages)))
    return judge_descriptions(sources, lambda name: [Image.new("RGB", (9, 9))], model, load_prompt(JUDGE))


def ranking(order):
    return json.dumps({"helpful": order, "informative": order, "relevant": order})


def sees(text):
    red = re.search(r"Description (\d):\n<data-\w+>\n- it is red", text)
    assert red
    return ranking([int(red[1]), 3 - int(red[1])])


def test_a_judge_that_reads_is_consistent():
    found = ask(sees)
    assert share_best(found, "ours", "helpful").value == 1
    assert share_best(found, "theirs", "relevant").value == 0
    assert self_agreement(found, TURNED).value == self_agreement(found, AGAIN).value == 1
    first = found.filter(repeat="first", criterion="helpful")["order"].to_list()
    assert ["ours", "theirs"] in first and ["theirs", "ours"] in first


def test_a_judge_that_takes_the_first_betrays_itself():
    found = ask(lambda text: ranking([1, 2]))
    assert self_agreement(found, TURNED).value == 0 and self_agreement(found, AGAIN).value == 1
    assert 0 < share_best(found, "ours", "helpful").value < 1


@pytest.mark.parametrize("reply", [ranking([1, 1]), ranking([1]), ranking([1, 2, 3]), "hm"])
def test_no_answer_is_not_counted(reply):
    found = ask(lambda text: reply)
    assert found["ranking"].null_count() == found.height == 108
    assert "ok" not in found["status"].to_list()
    assert share_best(found, "ours", "helpful").n == 0


def test_the_judge_is_blind_and_equal_texts_are_shown_once():
    prompts = []

    def answer(text):
        prompts.append(text)
        return sees(text)

    both = {"a": SOURCES["class 0"] | {"copy": ["it is red"]}, "b": {"ours": ["x"], "copy": ["x"]}}
    found = ask(answer, both)
    assert found["class"].unique().to_list() == ["a"]
    assert set(found["order"][0]) == {"ours", "theirs"}
    assert not any("ours" in p or "theirs" in p for p in prompts)
