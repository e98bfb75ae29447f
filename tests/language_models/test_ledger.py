from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path

import pytest
from fault_server import FaultServer
from pydantic import BaseModel

from saywell.language_models import (
    CacheMiss,
    Image,
    LedgerError,
    Message,
    Request,
    Scripted,
    open_language_model,
)
from saywell.language_models.ledger import Ledger, canonical_request
from saywell.language_models.structured import schema_text

PNG = b"\x89PNG\r\n\x1a\n"


class One(BaseModel):
    score: int


class Two(BaseModel):
    score: float


BASE = Request("step", (Message("system", "s"), Message("user", "u")), One, "hash", 0.0, 100, None)
WHERE = {"provider": "p", "url": "u", "model": "m"}


def key(request, identity=WHERE):
    return canonical_request(request, identity, schema_text(request.answer) if request.answer else None)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, messages=(Message("user", "s"), Message("user", "u"))),
        replace(BASE, messages=(Message("system", "s"), Message("user", "u "))),
        replace(BASE, messages=(Message("user", "su"),)),
        replace(BASE, messages=(*BASE.messages[:1], Message("user", ("u", Image(PNG))))),
        replace(BASE, messages=(*BASE.messages[:1], Message("user", ("u", Image(PNG + b"1"))))),
        replace(BASE, messages=(*BASE.messages[:1], Message("user", (Image(PNG), "u")))),
        replace(BASE, answer=Two),
        replace(BASE, answer=None),
        replace(BASE, temperature=0.5),
        replace(BASE, max_tokens=101),
        replace(BASE, seed=0),
        replace(BASE, seed=1),
    ],
)
def test_the_key_changes_with_everything_the_model_sees(other):
    keys = {key(BASE), key(other)}
    assert len(keys) == 2


@pytest.mark.parametrize("field", ["provider", "url", "model"])
def test_the_key_changes_with_who_is_asked(field):
    assert key(BASE) != key(BASE, {**WHERE, field: "other"})


def test_the_key_ignores_what_the_model_does_not_see():
    assert key(BASE) == key(replace(BASE, step="other", prompt_hash="other"))
    assert key(BASE) == key(replace(BASE, temperature=0))
    json.loads(key(BASE))


def test_a_reply_is_asked_once_and_survives_closing(tmp_path):
    asked = []

    def answer(request):
        asked.append(request)
        return '{"score": 1}'

    requests = [BASE, replace(BASE, step="again"), replace(BASE, seed=5), BASE]
    with Scripted(answer, calls=tmp_path / "calls.sqlite") as model:
        replies = model.complete(requests)
    assert len(asked) == 2 and [r.cached for r in replies] == [False, True, False, True]
    with Scripted(answer, calls=tmp_path / "calls.sqlite") as model:
        again = model.complete(requests)
    assert len(asked) == 2 and all(r.cached for r in again)
    assert [r.parsed for r in again] == [r.parsed for r in replies]
    with Scripted(answer, name="another", calls=tmp_path / "calls.sqlite") as model:
        model.complete(requests)
    assert len(asked) == 4


def test_a_reply_is_on_disk_before_the_next_is_asked(tmp_path):
    path = tmp_path / "calls.sqlite"
    counts = []

    def answer(request):
        with sqlite3.connect(path) as other:
            counts.append(other.execute("SELECT total(answered), count(*) FROM calls").fetchone())
        return '{"score": 1}'

    with Scripted(answer, calls=path) as model:
        model.complete([replace(BASE, seed=i) for i in range(5)])
    # The row of the request itself is there too: it counts should the process die now.
    assert counts == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


CHILD = """
    import sys
    from pathlib import Path
    from pydantic import BaseModel
    from saywell.language_models import Message, Request, open_language_model

    class Score(BaseModel):
        score: int

    requests = [
        Request("score", (Message("user", f"sentence {i} please"),), Score, max_tokens=50)
        for i in range(int(sys.argv[3]))
    ]
    with open_language_model(
        "openai-compatible:fake", url=sys.argv[1], calls=Path(sys.argv[2]), env={}, concurrency=16
    ) as model:
        replies = model.complete(requests)
    print([(r.status, r.parsed.score) for r in replies])
"""


def model(messages):
    return json.dumps({"score": int(messages[0]["content"].split()[1]) * 7 % 100})


def start(script, *arguments):
    source = Path(__file__).resolve().parents[2] / "src"
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(source)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def child(server, calls, count):
    return start(CHILD, server.url, calls, count)


def stored(calls):
    ledger = Ledger(calls, read_only=True)
    try:
        return {row.request: row.text for row in ledger.rows() if row.answered}
    finally:
        ledger.close()


def question(payload):
    return payload["messages"][0]["content"].split(" please")[0]


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_kill_9_in_500_calls_loses_and_repeats_nothing(tmp_path):
    calls = tmp_path / "calls.sqlite"
    expected = str([("ok", i * 7 % 100) for i in range(500)])
    with FaultServer(model, pace=0.002) as server:  # most of the time in the middle of replies
        for target in (150, 350):
            process = child(server, calls, 500)
            while len(server.requests) < target:
                assert process.poll() is None, process.communicate()
                time.sleep(0.005)
            process.send_signal(signal.SIGKILL)
            process.communicate()
            before = stored(calls)
            known = {question(json.loads(request)) for request in before}
            # All that the server had finished before the last 16 in flight is in the file.
            assert len(known) >= target - 2 * 16 - 16
            start = len(server.requests)
        process = child(server, calls, 500)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert out.strip() == expected
        later = {question(payload) for payload in server.requests[start:]}
        assert not later & known
        after = stored(calls)
        assert all(after[request] == text for request, text in before.items())
        assert len(after) == 500


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_ctrl_c_keeps_what_is_in_flight(tmp_path):
    calls = tmp_path / "calls.sqlite"
    with FaultServer(model, delay=0.3) as server:
        process = child(server, calls, 500)
        while len(server.requests) < 40:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode != 0 and "KeyboardInterrupt" in err
        assert "interrupted: waiting for" in err
        assert len(stored(calls)) == len(server.requests) == sum(server.paid.values())


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
def test_a_second_ctrl_c_leaves_the_server_which_then_stops(tmp_path):
    with FaultServer(lambda messages: "x" * 70_000, pace=0.01) as server:
        process = child(server, tmp_path / "calls.sqlite", 9)
        while not server.requests:
            assert process.poll() is None, process.communicate()
            time.sleep(0.005)
        for wait in (0.3, 0.0):
            process.send_signal(signal.SIGINT)
            time.sleep(wait)
        _, err = process.communicate(timeout=30)
        assert "interrupted: waiting for 1 calls in flight" in err
        until(lambda: server.left == 1 and server.active == 0)


def until(true, seconds=5.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


WRITER = """
    import sys
    from pathlib import Path
    from saywell.language_models import Message, Request, Scripted

    requests = [Request("s", (Message("user", f"question {i}"),)) for i in range(300)]
    with Scripted(lambda request: sys.argv[2], calls=Path(sys.argv[1])) as model:
        print([reply.text for reply in model.complete(requests)])
"""


def test_several_processes_share_a_file_and_agree(tmp_path):
    calls = tmp_path / "calls.sqlite"
    writers = [start(WRITER, calls, name) for name in "abc"]
    outputs = [writer.communicate(timeout=60) for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert len(stored(calls)) == 300


def test_a_file_that_is_no_ledger_is_refused(tmp_path):
    path = tmp_path / "calls.sqlite"
    path.write_text("something else, long enough to be no database " * 20)
    with pytest.raises(LedgerError, match=r"calls\.sqlite"):
        Ledger(path)
    with pytest.raises(LedgerError, match="there is no calls file"):
        Ledger(tmp_path / "none", read_only=True)
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerError, match="another version"):
        Ledger(newer)


def test_images_travel_as_data_and_are_stored_as_hashes(tmp_path):
    picture = Image(PNG + b"secret pixels")
    request = Request("look", (Message("user", ("what is this?", picture)),))
    calls = tmp_path / "calls.sqlite"
    with FaultServer(lambda messages: "a cat") as server:
        with open_language_model("openai-compatible:x", url=server.url, calls=calls, env={}) as model:
            assert model.complete([request])[0].text == "a cat"
        part = server.requests[0]["messages"][0]["content"][1]
        assert part["image_url"]["url"].startswith("data:image/png;base64,iVBORw0KGgp")
    assert picture.sha256 in next(iter(stored(calls)))
    assert b"secret pixels" not in calls.read_bytes()


def test_of_two_replies_to_one_key_the_first_counts_and_both_are_charged(tmp_path):
    path = tmp_path / "calls.sqlite"
    with Scripted(lambda request: "first", calls=path) as one:

        def slow(request):
            one.complete([request])  # another process is faster
            return "second"

        with Scripted(slow, calls=path) as two:
            reply = two.complete([Request("s", (Message("user", "x"),))])[0]
    assert reply.text == "first"
    ledger = Ledger(path, read_only=True)
    assert [(row.text, row.answered) for row in ledger.rows()] == [("second", False), ("first", True)]
    assert ledger.spent(None).calls == 2
    ledger.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", '{"score": 9}'),
        ("status", "refused"),
        ("finish", "length"),
        ("refusal", "no"),
        ("request", "{}"),
        ("model", "other"),
        ("input_tokens", 0),
        ("cost_usd", 0.5),
        ("estimated", 1),
        ("text", b"\xff\xfe\x00"),
        ("checksum", "0" * 64),
    ],
)
def test_a_reply_that_was_changed_is_asked_again_and_named_in_a_replay(column, value, tmp_path, caplog):
    path, asked = tmp_path / "calls.sqlite", []

    def answer(request):
        asked.append(request.seed)
        return '{"score": 1}'

    requests = [replace(BASE, seed=seed) for seed in range(3)]
    with Scripted(answer, calls=path) as model:
        key = model.complete(requests)[1].key
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE calls SET {column} = ? WHERE key = ?", [value, key])
    with (
        Scripted(answer, calls=path, replay=True) as model,
        pytest.raises(CacheMiss, match=f"{key}.*changed after it was stored; run without --replay") as error,
    ):
        model.complete(requests)
    assert "\n" not in str(error.value)
    assert "not used" in caplog.text
    for _ in range(2):  # once it has been asked again, all is well
        with Scripted(answer, calls=path) as model:
            assert [reply.parsed for reply in model.complete(requests)] == [One(score=1)] * 3
    assert asked == [0, 1, 2, 1]


def test_a_damaged_calls_file_is_one_line(tmp_path):
    path = tmp_path / "calls.sqlite"
    requests = [replace(BASE, seed=seed) for seed in range(200)]
    with Scripted(lambda request: '{"score": 1}' + " " * 500, calls=path) as model:
        model.complete(requests)
    whole = path.read_bytes()
    for length in (1, 50, 1000, 5000, len(whole) // 2, len(whole) - 4096):
        for damage in (whole[:length], whole[:length] + b"\x00" * (len(whole) - length)):
            path.write_bytes(damage)
            for suffix in ("-wal", "-shm"):
                (tmp_path / f"calls.sqlite{suffix}").unlink(missing_ok=True)
            try:
                with Scripted(lambda request: '{"score": 1}', calls=path) as model:
                    replies = model.complete(requests)
            except LedgerError as error:
                assert "\n" not in str(error) and "calls.sqlite" in str(error)
            else:
                assert [reply.parsed for reply in replies] == [One(score=1)] * 200


OLD = """
CREATE TABLE calls (
  id INTEGER PRIMARY KEY, key TEXT NOT NULL, step TEXT NOT NULL, prompt_hash TEXT, model TEXT NOT NULL,
  request TEXT NOT NULL, answered INTEGER NOT NULL, status TEXT NOT NULL, text TEXT NOT NULL, finish TEXT,
  refusal TEXT, replied_model TEXT, input_tokens INTEGER, output_tokens INTEGER, cost_usd REAL, price TEXT,
  error TEXT, faults TEXT NOT NULL, attempts INTEGER NOT NULL, started REAL NOT NULL, seconds REAL NOT NULL
);
CREATE UNIQUE INDEX answered_once ON calls (key) WHERE answered = 1;
PRAGMA user_version = 1;
"""


def test_a_file_of_the_layout_before_keeps_its_replies_and_counts_what_was_not(tmp_path):
    path = tmp_path / "calls.sqlite"
    requests = [replace(BASE, seed=seed) for seed in range(3)]
    with Scripted(lambda request: "", calls=tmp_path / "other") as model:
        keys = [model._key(request) for request in requests]
    with sqlite3.connect(path) as old:
        old.executescript(OLD)
        for number, (text, key) in enumerate(keys):
            counts = [(20, 5, 0.5), (None, None, None), (None, None, None)][number]
            faults = ["HTTP 500", "HTTP 500"] if number == 1 else []
            answered = number < 2
            old.execute(
                f"INSERT INTO calls VALUES (NULL{', ?' * 20})",
                [
                    key,
                    "step",
                    None,
                    "scripted",
                    text,
                    answered,
                    "ok" if answered else "failed",
                    '{"score": 4}' if answered else "",
                    "stop",
                    None,
                    "m",
                    *counts,
                    "2026-01-01",
                    None if answered else "HTTP 500",
                    json.dumps(faults),
                    len(faults) + 1,
                    1.0,
                    1,
                ],
            )
    before = path.read_bytes()
    ledger = Ledger(path, read_only=True)  # does not touch the file
    assert len(ledger.rows()) == 5 and path.read_bytes() == before
    ledger.close()
    for _ in range(2):
        asked = []
        with Scripted(lambda r, asked=asked: asked.append(r) or '{"score": 4}', calls=path) as model:
            assert model.spent.calls == 5 + (_ > 0)
            # The second reply had no usage: its whole limit of 100 tokens counts, and its question.
            assert model.spent.estimated == 1 and model.spent.tokens > 25 + 100
            assert [reply.parsed for reply in model.complete(requests)] == [One(score=4)] * 3
        assert len(asked) == (1 if _ == 0 else 0)
