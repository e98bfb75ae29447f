"""The neuron study against a server that misbehaves: slower, and not a digit different."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import closing

import polars as pl
import pytest
from fault_server import PAID, UNPAID, FaultServer, first_try

from saywell.errors import SaywellError
from saywell.language_models import BudgetReached, DryRun, Limits, Retries, Scripted, open_language_model
from saywell.store.study import Study
from saywell.studies.audit import audit_study
from saywell.studies.neurons import describe_neurons, plan_neurons

# Out of the list: a redirect is refused at once, and a refusal or filter is a real answer.
MENDED = [
    f for f in (*UNPAID, *PAID) if f not in ("redirect", "refusal", "filtered", "deep-json", "wrong-model")
]
QUICK = Retries(attempts=6, first_wait=0.01, longest_wait=0.05)


def first_user(messages):
    return next(m["content"] for m in messages if m["role"] == "user")


@pytest.fixture(scope="module")
def model_of(knower):
    return lambda messages: knower(first_user(messages))


def single(payload) -> bool:
    return "Sentence 2:" not in first_user(payload["messages"])


def run(url, corpus, bert, tokenizer, encoder, out, **options):
    out.mkdir(exist_ok=True)
    with open_language_model(
        "openai-compatible:fake",
        calls=out / "calls.sqlite",
        url=url,
        env={},
        retries=QUICK,
        timeout=2.0,
        **options,
    ) as llm:
        return describe_neurons(
            corpus,
            bert,
            tokenizer=tokenizer,
            out=out,
            gold="topic",
            describer=["enrichment"],
            llm=llm,
            encoder=encoder,
            top=20,
        )


@pytest.fixture(scope="module")
def undisturbed(model_of, corpus, bert, tokenizer, encoder, tmp_path_factory):
    with FaultServer(model_of) as server:
        study = run(server.url, corpus, bert, tokenizer, encoder, tmp_path_factory.mktemp("calm") / "s")
        return study, server.url


def assert_same_tables(first: Study, second: Study):
    for name in first.manifest.tables:
        assert first.table(name).equals(second.table(name), null_equal=True), name
    assert first.headline() == second.headline()


def test_faults_change_no_table_and_no_question_is_paid_twice(
    undisturbed, model_of, corpus, bert, tokenizer, encoder, tmp_path
):
    with FaultServer(model_of, script=first_try(MENDED, spare=single)) as server:
        study = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
        once_more = server.paid.copy()
        again = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
    assert server.paid == once_more  # nothing is asked again
    assert_same_tables(undisturbed[0], study)
    assert_same_tables(study, again)


def test_refusals_leave_sentences_unanswered_with_the_reason(
    model_of, corpus, bert, tokenizer, encoder, tmp_path
):
    def refuse_a_word(messages):
        text = first_user(messages)
        if "rude" in text and "Sentence 2:" not in text:
            return "I cannot help with that."
        return "" if "rude" in text else model_of(messages)

    with FaultServer(refuse_a_word) as server:
        study = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
    rude = set(study.examples.filter(pl.col("text").str.contains(r"\brude\b"))["id"])
    lost = study.table("unanswered")
    assert set(lost["item"]) == rude
    assert not rude & set(study.table("tags")["example"])
    [note] = [note for note in study.manifest.notes if "got no tags" in note]
    assert note.startswith(f"{len(rude)} ") and "left out: " in note  # and why, as far as a line may say it
    assert any(reason in note for reason in lost.filter(step="tags")["reason"])


def test_a_dead_server_is_one_clear_error(corpus, bert, tokenizer, encoder, tmp_path):
    with (
        FaultServer(lambda messages: "", script=lambda number, payload: "500") as server,
        pytest.raises(SaywellError) as caught,
    ):
        run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
    assert "500" in str(caught.value)
    assert Study(tmp_path / "s").manifest.status == "stopped"


def test_a_budget_stops_cleanly_and_more_of_it_goes_on(
    undisturbed, model_of, corpus, bert, tokenizer, encoder, tmp_path
):
    with FaultServer(model_of) as server:
        with pytest.raises(BudgetReached, match="--max-calls"):
            run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s", limits=Limits(max_calls=10))
        assert 0 < server.paid.total() <= 10
        study = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
        assert max(server.paid.values()) == 1
    assert_same_tables(undisturbed[0], study)


def test_replay_needs_no_server(undisturbed, corpus, bert, tokenizer, encoder, tmp_path):
    done, url = undisturbed
    out = tmp_path / "s"
    out.mkdir()
    (out / "calls.sqlite").write_bytes((done.path / "calls.sqlite").read_bytes())
    study = run(url, corpus, bert, tokenizer, encoder, out, replay=True)
    assert_same_tables(done, study)


def test_a_dry_run_counts_and_sends_nothing(corpus, bert, tokenizer, tmp_path):
    with FaultServer(lambda messages: pytest.fail("asked")) as server:
        llm = open_language_model("openai-compatible:fake", url=server.url, env={}, replay=True)
        with closing(DryRun(llm)) as counting:
            of, plan = plan_neurons(
                corpus, bert, tokenizer=tokenizer, describer=["enrichment"], llm=counting, llm_units=3
            )
    steps = {step.step: step for step in plan}
    assert of.startswith("300 texts, ")
    calibration = 120  # of 300 sentences, 20 a request
    assert steps["candidates"].calls == calibration / 20 and steps["candidates"].guessed == 0
    assert steps["candidates"].input_tokens > 100
    assert steps["tags"].guessed == steps["tags"].calls == 300 / 20 * 2
    # Three units: their own description and another's, two splits, 60 sentences, one a request, and one to
    # find out whether the server tells probabilities; it is asked of ten at a time where it does not.
    assert steps["detection"].guessed == steps["detection"].calls == 3 * 2 * 2 * 60 + 1


KILLED = """
import sys, json, random
sys.path.insert(0, {tests!r})
import polars as pl
from pathlib import Path
from saywell.describers.descriptors.asking import ask_candidates
from saywell.language_models import load_prompt, open_language_model
texts = {{str(n): f"sentence {{n}} about food" for n in range(10000)}}
with open_language_model("openai-compatible:fake", calls=Path({calls!r}), url={url!r}, env={{}}) as llm:
    answers = ask_candidates(llm, texts, load_prompt("find_descriptors"))
print(answers.table.hash_rows().sum())
"""


@pytest.mark.slow
def test_kill_9_in_the_middle_of_500_calls_asks_nothing_again(tmp_path):
    def answer(messages):
        time.sleep(0.01)
        found = [line for line in first_user(messages).splitlines() if line.startswith("Sentence ")]
        items = [{"item": n + 1, "descriptors": ["food"]} for n in range(len(found))]
        return json.dumps({"items": items})

    with FaultServer(answer) as server:
        script = KILLED.format(tests=str(tmp_path), calls=str(tmp_path / "calls.sqlite"), url=server.url)
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL)
        while server.paid.total() < 200:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        # At most what was on the wire when it was killed is asked again.
        assert server.paid.total() - len(server.paid) <= 16
        calm = script.replace(str(tmp_path / "calls.sqlite"), str(tmp_path / "other.sqlite"))
        expected = subprocess.run([sys.executable, "-c", calm], capture_output=True, text=True, check=True)
    assert finished.stdout == expected.stdout


def test_an_outage_is_asked_again_and_leaves_the_tables_of_a_calm_run(
    undisturbed, model_of, corpus, bert, tokenizer, encoder, tmp_path
):
    """Whatever step was down, and nothing that was answered is asked twice."""

    seen: dict[str, int] = {}

    def down(number, payload):
        place = seen.setdefault(first_user(payload["messages"]), len(seen))
        return "500" if place % 3 == 1 else None

    with FaultServer(model_of, script=down) as server:
        first = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
        failed = first.table("unanswered").filter(status="failed")
        assert {"candidates", "tags"} == set(failed["step"]) and failed.height == first.manifest.failed
        assert any("the same command asks them again" in note for note in first.manifest.notes)
        paid = server.paid.copy()
        server.script = lambda number, payload: None
        again = run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
        # What was not answered is asked, and nothing else but what then is another question.
        assert max(server.paid.values()) == 1 and server.paid.total() > paid.total()
        before = server.paid.total()
        run(server.url, corpus, bert, tokenizer, encoder, tmp_path / "s")
        assert server.paid.total() == before
    assert again.manifest.failed == 0 and again.table("unanswered").is_empty()
    assert_same_tables(undisturbed[0], again)
    assert again.manifest.notes == undisturbed[0].manifest.notes


def test_a_language_model_that_finds_no_descriptors_ends_no_study(corpus, bert, tokenizer, encoder, tmp_path):
    def nothing(request):
        items = [{"item": number, "descriptors": []} for number in range(1, request.items + 1)]
        return json.dumps({"items": items})

    with Scripted(nothing) as model:
        study = describe_neurons(
            corpus,
            bert,
            tokenizer=tokenizer,
            encoder=encoder,
            out=tmp_path / "s",
            llm=model,
            reader="lexical",
            random_control=False,
        )
    assert study.manifest.status == "complete"
    assert study.table("descriptors").is_empty() and study.table("curves").is_empty()
    assert audit_study(study).filter(pl.col("status") != "ok").rows() == []
