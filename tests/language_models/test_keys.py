"""Whatever a server, an exception or a user does with a key: no piece of it is to be read anywhere."""

from __future__ import annotations

import base64
import html
import json
import logging
import string
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from virtual import FakeProvider, good

from saywell.cli import main
from saywell.errors import InputError, SaywellError
from saywell.language_models import Message, Request, Retries, open_language_model
from saywell.language_models.blot import Blot

SPELLINGS: list[Callable[[str], str]] = [
    str,
    lambda key: f"Bearer {key}",
    lambda key: quote(key, safe=""),
    lambda key: quote(quote(key, safe=""), safe=""),
    lambda key: "".join(f"%{ord(c):02X}" for c in key),
    lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    lambda key: json.dumps(json.dumps(key)).replace("/", "\\/"),
    lambda key: html.escape(key),
    lambda key: "".join(f"&#{ord(c)};" for c in key),
    lambda key: base64.b64encode(key.encode()).decode(),
    lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    lambda key: base64.urlsafe_b64encode(f"x:{key}".encode()).decode(),
    lambda key: key.encode().hex(),
]
# What keys are made of, and of so many kinds of characters that a piece cannot be an ordinary word.
KEYS = st.text(string.ascii_letters + string.digits + "-_+/=.:%&\\'\"~", min_size=20, max_size=60).filter(
    lambda key: any(c.isdigit() for c in key) and len(set(key)) > 8
)


class Score(BaseModel):
    score: int


def pieces(key: str) -> set[str]:
    return {key[i : i + 8] for i in range(len(key) - 7)}


def leaks(key: str, text: str) -> list[str]:
    """Pieces of the key, plain or in base64, that the text holds."""
    forms = [
        key,
        key.encode().hex(),
        *(base64.b64encode(b" " * n + key.encode()).decode()[4:-4] for n in range(3)),
    ]
    return sorted({piece for form in forms for piece in pieces(form) if piece in text})


@settings(max_examples=100, deadline=None)
@given(KEYS, st.sampled_from(SPELLINGS), st.integers(0, 100), st.integers(0, 400), st.text(max_size=20))
def test_no_piece_survives_however_it_is_spelled_and_cut(key, spell, first, last, around):
    text = f"{around} {spell(key)[first : first + last]} {around}"
    assert not leaks(key, Blot(key)(text))


@pytest.mark.parametrize("key", ["EMPTY", "sk-no-key-required", "ollama", "x", "", "not-needed"])
def test_what_is_no_secret_does_not_spoil_replies(key):
    text = "required, needed: an EMPTY line about ollama, no key; x"
    assert Blot(key)(text) == text
    assert "key" not in repr(Blot("k3y-k3y-k3y-k3y"))


def test_text_without_the_key_stays_as_it_is():
    blot = Blot("sk-abcdef0123456789")
    text = 'A \\"quoted\\" 50 % of &amp; \\u00e9 sk-abcd ' * 200
    assert blot(text) == text


def ask(number: int = 1) -> Request:
    return Request("score", (Message("user", f"sentence {number} please"),), Score, max_tokens=50)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(KEYS, st.sampled_from(SPELLINGS), st.integers(0, 30), st.data())
def test_a_server_that_repeats_the_key_anywhere(tmp_path_factory, key, spell, first, data):
    said = spell(key)[first:]
    filler = "x" * data.draw(st.integers(0, 320))  # so that the key lies across any place of cutting
    ways = {
        "reply": good(f'{{"score": 1}} {said}'),
        "model": good(model=f"m{filler}{said}"),
        "finish": (200, {"choices": [{"finish_reason": said, "message": {"content": '{"score": 1}'}}]}),
        "refusal": (200, {"choices": [{"message": {"content": None, "refusal": filler + said}}]}),
        "400": (400, {"error": {"message": filler + said, "param": said, "code": said}}),
        "500 page": (500, f"<html>{filler}<b>{said}</b></html>".encode()),
        "200 page": (200, (filler + said).encode()),
        "401": (401, {"detail": [{"input": {"headers": {"authorization": filler + said}}}]}),
        "redirect": (302, b"", {"Location": f"https://u:{quote(key)}@{quote(said)}.test/?k={quote(key)}"}),
        "exception": httpx2.ReadError(filler + said),
        "refused": httpx2.ConnectError(f"{filler}http://u:{said}@proxy"),
        "packing": (200, b"x", {"Content-Encoding": quote(said)}),
    }
    answer = ways[data.draw(st.sampled_from(sorted(ways)))]
    provider = FakeProvider(lambda *_: answer)
    calls = tmp_path_factory.mktemp("calls") / "calls.sqlite"
    seen: list[str] = []
    logged = logging.Handler()
    logged.emit = lambda record: seen.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("saywell").addHandler(logged)
    try:
        with provider.client(calls, key=key, retries=Retries(attempts=2)) as model:
            for number in range(3):
                try:
                    # Its seconds, 0.10000000000002, would leak a key of noughts.
                    seen += [repr(replace(reply, seconds=0.0)) for reply in model.complete([ask(number)])]
                except SaywellError as error:
                    seen.append(str(error))
            seen += [repr(vars(model)), repr(vars(model._backend))]
    finally:
        logging.getLogger("saywell").removeHandler(logged)
    assert provider.headers[0]["Authorization"] == f"Bearer {key}"
    stored = [path.read_bytes().decode("latin-1") for path in calls.parent.iterdir()]
    assert not [leak for text in [*seen, *stored] for leak in leaks(key, text)]


SECRET = "sk-Very5ecret-0123456789abcdef"


def test_a_key_in_the_name_or_the_address_of_a_model_is_refused_and_not_repeated():
    env = {"SAYWELL_LLM_KEY": SECRET}
    for name, url in [
        (f"openai-compatible:{SECRET}", "http://127.0.0.1:9/v1"),
        ("openai-compatible:m", f"http://127.0.0.1:9/{SECRET}/v1"),
        ("openai-compatible:m", f"http://127.0.0.1:9/v1/{quote(SECRET[:20])}"),
        ("openai-compatible:m", f"http://u:{SECRET}@127.0.0.1:9/v1"),
        ("openai-compatible:m", f"http://127.0.0.1:{SECRET}/v1"),
        ("openai-compatible:m", f"http://[{SECRET}/v1"),
    ]:
        with pytest.raises(InputError) as error:
            open_language_model(name, url=url, env=env)
        assert not leaks(SECRET, str(error.value))


@pytest.mark.parametrize("llm", ["extractive", "openai-compatible:m"])
def test_a_command_with_a_password_leaves_it_nowhere(llm, tmp_path, monkeypatch, capfd):
    texts = tmp_path / "texts.txt"
    texts.write_text("one\ntwo\n")
    out = tmp_path / "study"
    url = f"http://user:{SECRET}@127.0.0.1:9/v1"
    command = ["saywell", "neurons", str(texts), "--model", "m", "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--llm", llm, "--llm-url", url])
    with pytest.raises(SystemExit):
        main()
    said = "".join(capfd.readouterr())
    assert "--llm-url" in said and not leaks(SECRET, said)
    assert not [p for p in Path(out).rglob("*") if SECRET.encode() in p.read_bytes()]
