"""A tiny GGUF file, made here, runs in process through llama.cpp."""

from __future__ import annotations

import asyncio
import importlib.util
import random
from typing import Literal

import pytest
import tiny_gguf
from pydantic import BaseModel, ConfigDict

from saywell.errors import InputError, MissingPackage
from saywell.language_models import Image, Message, Request, load_prompt, open_language_model
from saywell.language_models.gguf import PIECE, GgufBackend
from saywell.language_models.gguf_file import GgufFile
from saywell.language_models.items import ask_items
from saywell.language_models.structured import schema_text, strict_schema, tight_schema

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("xllamacpp", "gguf")),
    reason="needs llama.cpp: pip install 'saywell[local]'",
)


class Verdict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    item: int
    holds: Literal["yes", "no"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tiny_gguf.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def model(path):
    with open_language_model(f"gguf:{path}", threads=1) as opened:
        yield opened


def ask(text, system="be brief", **options):
    return Request("s", (Message("system", system), Message("user", text)), **{"max_tokens": 12} | options)


LETTERS = tuple("abcdefghijklmnopqrstuvwxyz")  # tokens of the tiny model


def choose(text, **options):
    return ask(text, choices=LETTERS, **options)


def run(backend, *requests):
    async def every():
        return [await backend.send(request) for request in requests]

    return asyncio.run(every())


def requests_that_share_beginnings():
    letters = random.Random(0)
    word = lambda: "".join(letters.choices("abcdefgh ", k=PIECE // 2 + letters.randrange(PIECE)))  # noqa: E731
    stem = [word() for _ in range(4)]
    return [choose("".join(stem[: n % 5]) + word(), system=stem[0]) for n in range(12)]


def test_a_reply_is_the_same_whatever_was_asked_before(path):
    """Probabilities to the last digit, compared with those of a model that remembers nothing."""
    requests = requests_that_share_beginnings()
    fresh = []
    backend = GgufBackend(str(path), threads=1)
    for request in requests:
        fresh += run(backend, request)
        backend._engine._held = []
    everything = backend._engine.read
    backend._engine.read = 0
    order = list(range(len(requests))) * 2
    random.Random(1).shuffle(order)
    for place, sent in zip(order, run(backend, *(requests[n] for n in order)), strict=True):
        assert sent == fresh[place] and sent.probabilities is not None
    assert backend._engine.read < 0.8 * 2 * everything
    # Going on from a reply, as a request for repair does, reads the reply anew.
    text = "x" * (-asyncio.run(backend.count(ask(""))) % PIECE)
    first = ask(text, choices=("abcdefgh", "ijklmnop"))
    sent = run(backend, first)[0]
    before = backend._engine.read
    turns = (*first.messages, Message("assistant", sent.text), Message("user", "again"))
    after = run(backend, Request("s", turns, choices=LETTERS))[0]
    assert sent.input_tokens % PIECE == 0
    assert backend._engine.read - before == after.input_tokens - sent.input_tokens + 1
    asyncio.run(backend.close())


def test_the_fixed_part_of_prompts_is_read_once(model):
    engine = lambda: model._backend._engine.read  # noqa: E731
    system = "this part is always alike " * 8
    model.complete([ask("first", system=system)])
    before = engine()
    replies = model.complete([ask(f"number {n}", system=system) for n in range(5)])
    rest = sum(reply.input_tokens - len(system) for reply in replies)
    assert engine() - before <= rest + 5 * (PIECE + 1) < 5 * len(system)


def test_an_answer_always_has_the_form_that_was_asked_for(model):
    """The weights are random, so only the grammar can have made these answers."""
    replies = ask_items(
        model,
        {f"e{n}": f"text {n}" for n in range(6)},
        load_prompt("detect_examples"),
        Verdict,
        step="d",
        batch_size=3,
        data={"description": "anything"},
    )
    assert [reply.status for reply in replies.values()] == ["ok"] * 6
    assert all(reply.row.holds in ("yes", "no") for reply in replies.values())


def test_a_choice_is_one_of_the_words_and_has_probabilities(model):
    for reply in model.complete([choose(f"is {n} even?", max_tokens=5) for n in range(4)]):
        assert reply.status == "ok" and reply.text == max(LETTERS, key=reply.probabilities.get)
        assert sum(reply.probabilities.values()) == pytest.approx(1)
    odd = model.complete([ask("x", choices=('a "quoted" one', "back\\slash", "naïve"), max_tokens=40)])[0]
    assert odd.status == "ok" and odd.text in ('a "quoted" one', "back\\slash", "naïve")


def test_transformers_reads_the_same_file_and_says_the_same(path, model, capfd):
    import torch

    torch.set_num_threads(1)
    requests = [ask("hello there"), *(choose(f"is {n} even, and the others?") for n in range(2))]
    by_llama_cpp = model.complete(requests)
    with open_language_model(f"hf:{path}") as other:
        by_transformers = other.complete(requests)
    for one, same in zip(by_llama_cpp, by_transformers, strict=True):
        assert (one.text, one.input_tokens, one.status) == (same.text, same.input_tokens, same.status)
    for letter, share in by_llama_cpp[1].probabilities.items():
        assert share == pytest.approx(by_transformers[1].probabilities[letter], abs=0.02)
    assert capfd.readouterr().err == ""


def test_an_answer_that_was_cut_off_is_truncated(model, path):
    with open_language_model(f"gguf:{path}", threads=1, most_reply_tokens=5) as short:
        reply = short.complete([ask("x", answer=Verdict, max_tokens=5)])[0]
    assert reply.status == "truncated" and reply.text.startswith('{"it')


def test_schemas_for_grammars_are_tight_and_others_stay_as_they_were(path):
    class Plain(BaseModel):
        title: str = "a field of this name"
        n: int

    assert tight_schema(Plain)["required"] == ["title", "n"]
    assert "x-tighter" not in schema_text(Plain) and "default" not in str(tight_schema(Plain))
    seen = {}

    class Spy:
        name = "spy"

        def complete(self, requests, *, progress=None):
            seen["answer"] = requests[0].answer
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ask_items(
            Spy(),
            {"a": "x", "b": "y"},
            load_prompt("detect_examples"),
            Verdict,
            step="d",
            data={"description": ""},
        )
    rows = tight_schema(seen["answer"])["properties"]["items"]
    assert [row["properties"]["item"] for row in rows["prefixItems"]] == [{"const": 1}, {"const": 2}]
    assert rows["minItems"] == rows["maxItems"] == 2 and "items" not in rows
    assert "prefixItems" not in schema_text(seen["answer"]) + str(strict_schema(seen["answer"]))


def test_what_is_too_long_or_a_picture_is_said(model):
    reply = model.complete([ask("x" * 2 * tiny_gguf.CONTEXT)])[0]
    assert reply.status == "failed" and reply.rejected and "--llm-context" in reply.error
    assert model.complete([ask("x" * (tiny_gguf.CONTEXT - 60), max_tokens=500)])[0].status in (
        "ok",
        "truncated",
    )
    picture = Message("user", (Image(b"GIF89a"), "what is it?"))
    with pytest.raises(InputError, match="text only"):
        model.complete([Request("s", (picture,))])


def test_a_reply_tells_how_far_it_is_and_stops_when_given_up(path):
    backend = GgufBackend(str(path), threads=1)
    told = []

    async def give_up():
        sending = asyncio.ensure_future(
            backend.send(ask("x", answer=Long, max_tokens=3900), told=told.append)
        )
        while len(told) < 5:
            await asyncio.sleep(0.001)
        sending.cancel()
        return await backend.send(ask("y"))

    class Long(BaseModel):
        text: str

    after = asyncio.run(give_up())
    assert told == list(range(1, len(told) + 1)) and len(told) < 3000
    backend._engine._held = []
    assert run(backend, ask("y"))[0] == after
    asyncio.run(backend.close())


def test_the_name_of_the_file_is_not_what_counts(path, tmp_path, model):
    other = tmp_path / "other name.gguf"
    other.write_bytes(path.read_bytes())
    calls = tmp_path / "calls.sqlite"
    with open_language_model(f"gguf:{path}", calls=calls, threads=1) as first:
        reply = first.complete([ask("hello")])[0]
    with open_language_model(f"gguf:{other}", calls=calls, replay=True) as again:
        assert again.complete([ask("hello")])[0].text == reply.text
    assert str(path.parent) not in str(GgufBackend(str(path)).identity)
    third = tiny_gguf.write(tmp_path / "third.gguf", seed=1)
    assert GgufBackend(str(third)).identity != GgufBackend(str(path)).identity


def test_files_that_cannot_be_are_refused_in_a_line(path, tmp_path, capfd):
    whole = path.read_bytes()

    def refused(name, content, match, **options):
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InputError, match=match) as error:
            GgufBackend(str(file), **options)
        assert "\n" not in str(error.value)

    refused("nothing.gguf", None, "does not exist")
    refused("text.gguf", b"hello", "is not a GGUF file")
    refused("short.gguf", whole[:200], "cut off")
    refused("old.gguf", whole[:4] + b"\x01" + whole[5:], "version 1")
    for cut in (5, 30, 100, 1000):
        refused("cut.gguf", whole[:cut], "cut off|damaged")
    refused("long.gguf", whole, "to read 4096", context=5000)
    tiny_gguf.write(tmp_path / "base.gguf", template=None)
    refused("base.gguf", None, "chat template")
    refused("piece-00001-of-00002.gguf", _split(whole), "piece-00002-of-00002.gguf")
    (tmp_path / "half.gguf").write_bytes(whole[:-5000])
    with (
        open_language_model(f"gguf:{tmp_path / 'half.gguf'}", threads=1) as half,
        pytest.raises(InputError, match="cannot load"),
    ):
        half.complete([ask("hello")])
    tiny_gguf.write(tmp_path / "mute.gguf", template="{{ nothing.at.all }}")
    with (
        open_language_model(f"gguf:{tmp_path / 'mute.gguf'}", threads=1) as mute,
        pytest.raises(InputError, match="chat template makes no text"),
    ):
        mute.complete([ask("hello")])
    assert capfd.readouterr() == ("", "")


def _split(whole):
    import struct

    count = struct.unpack_from("<Q", whole, 16)[0]
    pair = struct.pack("<Q", 11) + b"split.count" + struct.pack("<IH", 2, 2)
    return whole[:16] + struct.pack("<Q", count + 1) + pair + whole[24:]


def test_the_header_of_a_hostile_file_is_read_without_harm(path, tmp_path):
    """A byte of its beginning turned over: an InputError or a header, at once."""
    whole = bytearray(path.read_bytes()[:4000])
    file = tmp_path / "turned.gguf"
    kinds = whole.index(b"token_type") + len("token_type")  # the bytes of an array of numbers follow
    for place in (*range(0, 700, 7), *range(kinds, kinds + 16)):
        turned = bytearray(whole)
        turned[place] ^= 0xFF
        file.write_bytes(turned)
        try:
            assert GgufFile.read(file).header is not None
        except InputError as error:
            assert str(file) in str(error)


def test_without_the_package_there_is_one_line(path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "xllamacpp" else find(name))
    with pytest.raises(MissingPackage, match=r"pip install 'saywell\[local\]'"):
        open_language_model(f"gguf:{path}")
    open_language_model(f"gguf:{path}", replay=True).close()
    with pytest.raises(InputError, match="--llm-threads"):
        open_language_model("openai-compatible:x", url="http://127.0.0.1:1/v1", threads=2)
