from __future__ import annotations

import json

import pytest
from fault_server import FaultServer, first_try
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from saywell.errors import InputError
from saywell.language_models import Scripted, ask_items, open_language_model
from saywell.language_models.prompts import parse_prompt

PROMPT = parse_prompt(
    "tag",
    "{# version 1: tag #}\n{% block user %}{% for number, text in items %}"
    "[{{ number }}] {{ text }}\n{% endfor %}{% endblock %}",
)


class Row(BaseModel):
    item: int
    tag: str


def numbered(text):
    return [
        line[1:].split("] ") for line in text.split("\n\n")[0].splitlines() if line.startswith("[")
    ]


def gold(text):
    return json.dumps({"items": [{"item": int(n), "tag": t.upper()} for n, t in numbered(text)]})


def items(count):
    return {f"id{i}": f"text {i}" for i in range(count)}


def test_every_item_is_answered_once():
    done = []
    with Scripted(lambda request: gold(request.messages[0].text)) as model:
        result = ask_items(
            model, items(47), PROMPT, Row, step="tag", batch_size=10, progress=done.append
        )
        assert model.spent.calls == 5
    assert list(result) == list(items(47)) and done[-1] == 47
    assert all(r.row and r.row.tag == f"TEXT {id[2:]}" for id, r in result.items())


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        ("duplicated-items", 2),  # shown to the model
        ("missing-items", 2),
        ("invented-items", 2),
        ("wrong-json", 2),
        ("truncated", 2),  # with a larger limit
        ("refusal", 1 + 10),
    ],
)
def test_a_spoilt_batch_is_mended_by_asking_again(fault, calls):
    with FaultServer(lambda messages: gold(messages[0]["content"]), [fault]) as server:
        with open_language_model(
            "openai-compatible:x", url=server.url, env={}, concurrency=1
        ) as model:
            result = ask_items(model, items(10), PROMPT, Row, step="tag", batch_size=10)
        assert {r.status for r in result.values()} == {"ok"}
        assert all(r.row and r.row.tag == f"TEXT {id[2:]}" for id, r in result.items())
        assert len(server.requests) == calls


def test_an_item_never_answered_is_unscored_with_the_reason():
    def answer(request):
        rows = json.loads(gold(request.messages[0].text))["items"]
        return json.dumps({"items": [row for row in rows if row["tag"] != "TEXT 3"]})

    with Scripted(answer) as model:
        result = ask_items(model, items(6), PROMPT, Row, step="tag", batch_size=3)
        # One good batch; the other one, the same shown what is wrong, and its three items, one of
        # them twice.
        assert model.spent.calls == 1 + 2 + 4
    assert result["id3"].row is None and result["id3"].status == "unparsed"
    assert "1 not in the reply" in result["id3"].error
    assert sum(r.row is not None for r in result.values()) == 5


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_whatever_the_model_does_no_item_gets_another_items_row(count, batch_size, randomness):
    def answer(request):
        rows = json.loads(gold(request.messages[0].text))["items"]
        randomness.shuffle(rows)
        rows = rows[: randomness.randint(0, len(rows))]
        return json.dumps({"items": rows + rows[: randomness.randint(0, 2)]})

    with Scripted(answer) as model:
        result = ask_items(model, items(count), PROMPT, Row, step="tag", batch_size=batch_size)
    assert list(result) == list(items(count))
    for id, reply in result.items():
        assert (reply.row is None) == (reply.status != "ok") == (reply.error is not None)
        assert reply.row is None or reply.row.tag == f"TEXT {id[2:]}"


def test_faults_on_every_batch_change_no_row():
    faults = [
        "duplicated-items",
        "missing-items",
        "json-in-prose",
        "429",
        "wrong-json",
        "cut",
        None,
    ]

    def single(payload):
        return len(numbered(payload["messages"][0]["content"])) == 1

    script = first_try(faults, spare=single)
    with FaultServer(lambda m: gold(m[0]["content"]), script) as server:
        with open_language_model("openai-compatible:x", url=server.url, env={}) as model:
            result = ask_items(model, items(100), PROMPT, Row, step="tag", batch_size=5)
        assert set(server.paid.values()) == {1}
    assert all(r.row and r.row.tag == f"TEXT {id[2:]}" for id, r in result.items())


def test_wrong_use_is_named():
    class NoNumber(BaseModel):
        tag: str

    with Scripted(lambda request: "") as model:
        with pytest.raises(InputError, match="item"):
            ask_items(model, items(1), PROMPT, NoNumber, step="tag")
        with pytest.raises(InputError, match="batch_size"):
            ask_items(model, items(1), PROMPT, Row, step="tag", batch_size=0)
        assert ask_items(model, {}, PROMPT, Row, step="tag") == {}
