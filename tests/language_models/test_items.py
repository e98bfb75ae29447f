from __future__ import annotations

import json

import pytest
from fault_server import FaultServer, PlainServer, first_try
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from saywell.errors import InputError
from saywell.language_models import DryRun, ProviderError, Scripted, ask_items, open_language_model
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
    return [line[1:].split("] ") for line in text.split("\n\n")[0].splitlines() if line.startswith("[")]


def gold(text):
    return json.dumps({"items": [{"item": int(n), "tag": t.upper()} for n, t in numbered(text)]})


def items(count):
    return {f"id{i}": f"text {i}" for i in range(count)}


def test_every_item_is_answered_once():
    done = []
    with Scripted(lambda request: gold(request.messages[0].text)) as model:
        result = ask_items(model, items(47), PROMPT, Row, step="tag", batch_size=10, progress=done.append)
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
        with open_language_model("openai-compatible:x", url=server.url, env={}, concurrency=1) as model:
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
        # One good batch; the other one, and the same shown what is wrong; its halves, the one with the
        # item twice; and this one's items, the same.
        assert model.spent.calls == 1 + 2 + (2 + 1) + (2 + 1)
    assert result["id3"].row is None and result["id3"].status == "unparsed"
    assert "1 not in the reply" in result["id3"].error
    assert sum(r.row is not None for r in result.values()) == 5


@pytest.mark.parametrize(
    "renumber",
    [
        lambda number: number - 1,
        lambda number: number + 1,
        lambda number: number + 100,
        lambda number: -number,
        lambda number: 2 * number,
        lambda number: number if number < 3 else number - 1,
    ],
)
@pytest.mark.parametrize("dropped", [None, 0, -1])
def test_a_model_that_counts_otherwise_gives_no_item_the_row_of_its_neighbour(renumber, dropped):
    def answer(request):
        rows = json.loads(gold(request.messages[0].text))["items"]
        if dropped is not None and len(rows) > 1:
            del rows[dropped]
        return json.dumps({"items": [{**row, "item": renumber(row["item"])} for row in rows]})

    with Scripted(answer) as model:
        result = ask_items(model, items(8), PROMPT, Row, step="tag")
    for id, reply in result.items():
        assert reply.row is None or reply.row.tag == f"TEXT {id[2:]}"
    if renumber(1) == 0:  # alone, an item is known even by the number 0
        assert all(reply.row is not None for reply in result.values())


def test_a_row_with_the_number_0_is_the_answer_to_nothing_but_a_single_item():
    def answer(request):
        return json.dumps({"items": [{"item": 0, "tag": "A"}]})

    with Scripted(answer) as model:
        assert len(ask_items(model, items(1), PROMPT, Row, step="tag")) == 1
        result = ask_items(model, items(3), PROMPT, Row, step="tag", batch_size=3)
        # Shown once what is wrong, then one by one; the first of them is the item asked alone above.
        assert model.spent.calls == 1 + 2 + 2
    assert all(reply.row is not None for reply in result.values())


def test_a_dry_run_counts_the_larger_limit_that_comes_next(tmp_path):
    def answer(payload):
        if payload.get("max_tokens", 10**9) > 250:
            return 400, {}
        return 200, chat('{"items": [', finish="length")

    with PlainServer(answer) as server:
        options = {"url": server.url, "env": {}, "calls": tmp_path / "calls.sqlite"}
        with open_language_model("vllm:x", **options) as model:
            result = ask_items(model, items(1), PROMPT, Row, step="tag", max_tokens_per_item=200)
            assert result["id0"].status == "truncated"
        asked = len(server.requests)
        with open_language_model("vllm:x", replay=True, **options) as model:
            dry = DryRun(model)
            ask_items(dry, items(1), PROMPT, Row, step="tag", max_tokens_per_item=200)
            (step,) = dry.plan()
        assert (step.calls, step.cached, step.output_tokens) == (1, 0, 1000)
        assert len(server.requests) == asked


def sizes(server):
    return [len(numbered(p["messages"][0]["content"])) for p in server.requests]


@pytest.mark.parametrize("status", [400, 413, 422])
@pytest.mark.parametrize("says", ["too many tokens for the context", "bad request", "錯誤", None])
def test_a_batch_that_the_server_rejects_is_asked_in_halves(status, says):
    def answer(payload):
        count = len(numbered(payload["messages"][0]["content"]))
        if count > 3:
            return status, {} if says is None else {"error": {"message": says}}
        return 200, chat(gold(payload["messages"][0]["content"]))

    with PlainServer(answer) as server:
        with open_language_model("vllm:x", url=server.url, env={}) as model:
            result = ask_items(model, items(50), PROMPT, Row, step="tag", batch_size=10)
        assert all(r.row and r.row.tag == f"TEXT {id[2:]}" for id, r in result.items())
        # Five batches of 10, ten of 5, twenty of 2 or 3; and tries without an option or two.
        assert sorted(set(sizes(server))) == [2, 3, 5, 10] and len(server.requests) <= 35 + 20


def test_one_item_that_is_rejected_costs_no_other_its_answer():
    def answer(payload):
        text = payload["messages"][0]["content"]
        if "text 13\n" in text + "\n":
            return 400, {"error": {"message": "no"}}
        return 200, chat(gold(text))

    with PlainServer(answer) as server, open_language_model("vllm:x", url=server.url, env={}) as model:
        result = ask_items(model, items(20), PROMPT, Row, step="tag")
    assert [id for id, r in result.items() if r.row is None] == ["id13"]
    assert result["id13"].status == "failed" and "HTTP 400: no" in (result["id13"].error or "")


def test_a_server_that_cuts_questions_is_found_out(caplog):
    long = {f"id{i}": f"text {i} " + "word " * 500 for i in range(20)}

    def answer(payload):
        text = payload["messages"][0]["content"]
        rows = [{"item": int(n), "tag": t.split()[1]} for n, t in numbered(text)]
        usage = {"prompt_tokens": min(2048, len(text) // 5), "completion_tokens": 9}
        return 200, chat(json.dumps({"items": rows}), usage=usage)

    with PlainServer(answer) as server, open_language_model("ollama:x", url=server.url, env={}) as model:
        result = ask_items(model, long, PROMPT, Row, step="tag", batch_size=20)
        assert all(r.row and r.row.tag == id[2:] for id, r in result.items())
        assert sorted(set(sizes(server)), reverse=True) == [20, 10, 5]
        huge = ask_items(model, {"a": "word " * 9000}, PROMPT, Row, step="tag")
    assert huge["a"].status == "overflow" and "read 2,048 tokens" in (huge["a"].error or "")
    assert len([r for r in caplog.records if "larger context" in r.getMessage()]) == 1


def test_a_model_that_thinks_gets_more_room_and_no_more_than_that():
    """It thinks for 3,000 tokens; a limit below that brings nothing."""
    limits = []

    def answer(payload):
        limits.append(payload["max_tokens"])
        text = payload["messages"][0]["content"]
        if payload["max_tokens"] < 3000:
            return 200, chat("<think>hm", finish="length")
        return 200, chat(f"<think>hm</think>{gold(text)}")

    with PlainServer(answer) as server:
        options = {"url": server.url, "env": {}, "concurrency": 1}
        with open_language_model("vllm:x", **options) as model:
            result = ask_items(model, items(10), PROMPT, Row, step="tag")
            assert {r.status for r in result.values()} == {"ok"} and limits == [1050, 4200]
        limits.clear()
        with (
            open_language_model("vllm:x", most_reply_tokens=2000, **options) as model,
            pytest.raises(ProviderError, match=r"1,050, then 2,000 tokens.*--llm-reply"),
        ):
            ask_items(model, items(60), PROMPT, Row, step="tag", batch_size=10)
        assert limits == [1050, 2000] * 3


def test_a_smaller_batch_never_gets_less_room():
    limits = []

    def answer(payload):
        text = payload["messages"][0]["content"]
        count = len(numbered(text))
        limits.append((count, payload["max_tokens"]))
        if count > 2 or "text 5" in text:
            return 200, chat('{"items": [', finish="length")
        return 200, chat(gold(text))

    with (
        PlainServer(answer) as server,
        open_language_model("vllm:x", url=server.url, env={}, concurrency=1, most_reply_tokens=1000) as model,
    ):
        ask_items(model, items(2), PROMPT, Row, step="tag")
        limits.clear()
        result = ask_items(model, items(8), PROMPT, Row, step="tag", max_tokens_per_item=50)
    assert limits[:2] == [(8, 450), (8, 1000)]
    assert all(limit == 1000 for _, limit in limits[2:])
    assert [id for id, r in result.items() if r.row is None] == ["id5"]
    assert result["id5"].status == "truncated" and "--llm-effort" in (result["id5"].error or "")


def test_a_reply_that_goes_round_in_circles_is_given_no_more_room():
    seen = []

    def answer(payload):
        seen.append(payload["max_tokens"])
        return 200, chat('{"items": [' + "and so on " * 500, finish="length")

    with PlainServer(answer) as server, open_language_model("vllm:x", url=server.url, env={}) as model:
        result = ask_items(model, items(1), PROMPT, Row, step="tag")
    assert seen == [150] and result["id0"].status == "truncated"


@pytest.mark.parametrize("place", ["reasoning_content", "reasoning"])
@pytest.mark.parametrize(
    ("said", "status", "calls"),
    [
        ("{}", "ok", 1),
        ("\n```json\n{}\n```\n", "ok", 1),
        ('hm {{"items": []}}</reason>{}', "ok", 1),
        ("I think of {}, or so.", "unparsed", 2),
        ("hm", "unparsed", 2),
    ],
)
def test_an_answer_in_the_place_of_reasoning(place, said, status, calls):
    def answer(payload):
        text = said.replace("{{", "{").replace("}}", "}") if "{{" in said else said
        filled = text.replace("{}", gold(payload["messages"][0]["content"]))
        return 200, chat(None, **{place: filled})

    with PlainServer(answer) as server:
        with open_language_model("vllm:x", url=server.url, env={}) as model:
            result = ask_items(model, items(1), PROMPT, Row, step="tag")
        assert result["id0"].status == status and len(server.requests) == calls


def chat(content, finish="stop", usage=None, **message):
    message = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    usage = usage or {"prompt_tokens": 20, "completion_tokens": 5}
    return {"model": "x", "choices": [choice], "usage": usage}


@pytest.mark.parametrize("understands", [True, False])
def test_llama_cpp_gets_the_bounds_that_its_grammar_enforces_and_no_others(understands):
    def answer(payload):
        schema = payload["response_format"]["json_schema"]["schema"]
        seen.append("prefixItems" in str(schema))
        assert schema["properties"]["items"].get("items") is not False  # its server takes no such schema
        if seen[-1] and not understands:
            return 400, {"error": {"message": "JSON schema error at #/properties/items: no"}}
        return 200, chat(gold(payload["messages"][0]["content"]))

    for slots, expected in ((4, [True, True] if understands else [True, False, False]), (None, [False] * 2)):
        seen: list[bool] = []
        with PlainServer(answer) as server:
            server.facts = {"/props": {"total_slots": slots}}
            with open_language_model("openai-compatible:x", url=server.url, env={}) as model:
                for start in (0, 3):
                    some = dict(list(items(6).items())[start : start + 3])
                    assert all(r.row for r in ask_items(model, some, PROMPT, Row, step="tag").values())
        assert seen == expected


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
    faults = ["duplicated-items", "missing-items", "json-in-prose", "429", "wrong-json", "cut", None]

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
