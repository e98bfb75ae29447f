"""One of a few words: probabilities from tokens, whoever shows them, and what happens where nobody does."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
import sqlite3

import numpy as np
import pytest
from test_local import checkpoint  # noqa: F401
from virtual import FakeProvider, good

from saywell.errors import InputError
from saywell.language_models import CacheMiss, Message, Request, Scripted, open_language_model
from saywell.language_models.choices import along, by_tokens, chosen, one_token, spellings
from saywell.language_models.ledger import Ledger, canonical_request

YES_NO = ("yes", "no")
ASK = Request("s", (Message("user", "Is it? Answer yes or no."),), choices=YES_NO, max_tokens=16)


def step(**shares):
    """A place of a reply: the token taken (the first) and all that stood there."""
    tokens = [(token.replace("_", " "), share) for token, share in shares.items()]
    return tokens[0], tokens


@pytest.mark.parametrize(
    ("choices", "steps", "expected"),
    [
        (YES_NO, [step(yes=0.6, no=0.2)], [0.75, 0.25]),
        # Every spelling counts, and what is no choice does not.
        (YES_NO, [step(The=0.4, Yes=0.1, _yes=0.1, YES=0.1, No=0.05, _no=0.05)], [0.75, 0.25]),
        (YES_NO, [step(ye=0.6, n=0.2, Not=0.2)], [0.75, 0.25]),
        (YES_NO, [step(yes=0.9, The=0.1)], [1, 0]),
        (YES_NO, [(("yes", 0.3), [("yes", 0.3), ("yes", 0.3), ("no", 0.2)])], [0.75, 0.25]),
        (YES_NO, [(("yes", 0.6), [("No", 0.1), ("no", 0.1)])], [0.75, 0.25]),
        # A reply may begin with space.
        (YES_NO, [step(_=0.5, yes=0.1, no=0.1), step(no=0.8, yes=0.2)], [0.2 / 0.7, 0.5 / 0.7]),
        # A token that two choices begin with is followed to where they part.
        (("no", "not sure"), [step(no=0.8, The=0.2), step(t=0.75, x=0.1)], [0.25, 0.75]),
        (("no", "not sure"), [step(no=0.8, The=0.2), step(**{"": 0.6, "t": 0.4})], [0.6, 0.4]),
        (("left ear", "left eye"), [step(left=1), step(_e=1), step(ye=0.9, ar=0.1)], [0.1, 0.9]),
        # Case tells apart where nothing else does.
        (("US", "us"), [step(US=0.6, us=0.2, _us=0.2)], [0.6, 0.4]),
        (("US", "us"), [step(US=0.5, Us=0.5)], None),
        # Not known to which it belongs; next to nothing for any; nothing said.
        (("no", "not sure"), [step(not_sure=0.9, no=0.1)], None),
        (YES_NO, [step(The=0.99, yes=0.004, no=0.004)], None),
        (YES_NO, [], None),
    ],
)
def test_probabilities_along_a_reply(choices, steps, expected):
    found = along(steps, choices)
    assert (found and list(found)) == (expected and list(choices))
    assert found is None or list(found.values()) == pytest.approx(expected)
    assert found is None or sum(found.values()) == pytest.approx(1)


TOKENS = ["yes", "Yes", " yes", "ye", "s", "no", "No", " no", "t", " sure", "t sure", ".", "The", ""]


def toy(seed, spread=2):
    """A language model: the distribution of the next token after the tokens so far."""

    def following(said):
        logits = np.random.default_rng([seed, len(said), *said]).normal(0, spread, len(TOKENS))
        if not said:
            logits[TOKENS.index("")] = -9
        return np.exp(logits) / np.exp(logits).sum()

    return following


def by_every_path(following, choices, said=(), text="", probability=1.0):
    """Mass of each choice, by walking all replies until they are settled."""
    mass = dict.fromkeys(choices, 0.0)
    for token, share in enumerate(following(said)):
        longer = text + TOKENS[token]
        open_ = [c for c in choices if c.startswith(longer.strip().lower())] if longer.strip() else []
        if TOKENS[token] == "":
            open_ = [c for c in choices if c == text.strip().lower()]
        elif not open_ and text.strip().lower() in choices:
            open_ = [text.strip().lower()]
        if len(open_) == 1:
            mass[open_[0]] += probability * share
        elif len(open_) > 1 and len(said) < 4:
            deeper = by_every_path(following, choices, (*said, token), longer, probability * share)
            mass = {c: mass[c] + deeper[c] for c in choices}
    return mass


@pytest.mark.parametrize("choices", [YES_NO, ("yes", "no", "not sure")])
def test_one_reply_tells_what_walking_all_replies_tells(choices):
    told = 0
    for seed in range(40):
        following, said, steps = toy(seed, 2 if choices == YES_NO else 6), (), []
        for _ in range(1 if one_token(choices) else 6):
            shares = following(said)
            best = int(shares.argmax())
            steps.append(((TOKENS[best], shares[best]), list(zip(TOKENS, shares, strict=True))))
            said = (*said, best)
            if not TOKENS[best]:
                break
        found, truth = along(steps, choices), by_every_path(following, choices)
        if found is not None:
            told += 1
            total = sum(truth.values())
            assert found == pytest.approx({c: truth[c] / total for c in choices}, abs=0.011)
    assert told >= (30 if choices == YES_NO else 5)


def encode(text):
    """Longest tokens first."""
    if not text:
        return []
    best = max((t for t in TOKENS if t and text.startswith(t)), key=len)
    return [TOKENS.index(best), *encode(text[len(best) :])]


def test_a_model_at_hand_tells_the_same():
    known = {"yes", "Yes", " yes", "no", "No", " no"}
    for seed in range(20):

        def following(said, seed=seed):
            whole = np.array(
                [share * (TOKENS[n] in known or n > 8) for n, share in enumerate(toy(seed)(said))]
            )
            return whole / whole.sum()

        shares = following(())
        best = int(shares.argmax())
        place = ((TOKENS[best], shares[best]), list(zip(TOKENS, shares, strict=True)))
        letters = lambda text: encode(text) if text in TOKENS else []  # noqa: E731
        assert by_tokens(YES_NO, letters, following) == pytest.approx(along([place], YES_NO))


def test_what_begins_alike_is_counted_once():
    # "no" and "not sure" by letters: "no" is what does not go on to "not sure".
    letters = {letter: number for number, letter in enumerate("not sure?")}

    def following(said):
        shares = np.zeros(10)
        if spell("not sure")[: len(said)] == list(said):
            shares[letters["not sure"[len(said)]]] = 1.0 if len(said) != 2 else 0.3
        shares[9] = 1 - shares.sum()
        return shares

    def spell(text):
        return [letters.get(c, 9) for c in text]

    found = by_tokens(("no", "not sure"), spell, following)
    assert found == pytest.approx({"no": 0.7, "not sure": 0.3})
    # A tokenizer that knows no case cannot tell these apart.
    assert by_tokens(("us", "US"), lambda text: [len(text.lower())], following) is None
    assert set(spellings("us", ("us", "US"))) == {"us", " us"}


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("yes", "yes"),
        (' "No."\n', "no"),
        ("**Yes**, because it is", "yes"),
        ("<think>no, or no</think>\nyes", "yes"),
        ("No answer is possible", None),
        ("yes and no", None),
        ("", None),
        ("maybe", None),
    ],
)
def test_a_choice_in_words(said, expected):
    assert chosen(said, YES_NO) == expected


@pytest.mark.parametrize("choices", [("yes",), ("a", "a"), ("a", " b"), ("a", "")])
def test_impossible_choices_are_refused(choices):
    with pytest.raises(InputError, match="choices="):
        Request("s", (), choices=choices)


def logprobs(**shares):
    top = [{"token": token.replace("_", " "), "logprob": math.log(share)} for token, share in shares.items()]
    return {"content": [{**top[0], "top_logprobs": top}]}


def with_logprobs(content, told):
    status, body = good(content)
    body["choices"][0] |= {"logprobs": told, "finish_reason": "length"}
    return status, body


def test_a_server_is_asked_for_one_token_and_its_alternatives(tmp_path):
    provider = FakeProvider(lambda *_: with_logprobs("Yes", logprobs(Yes=0.6, no=0.2)))
    with provider.client(tmp_path / "calls.sqlite") as model:
        assert model.gives_probabilities is None
        reply = model.complete([ASK])[0]
        other = model.complete([Request("s", ASK.messages, choices=("no", "not sure"), max_tokens=9)])[0]
    first, second = provider.requests
    assert first["logprobs"] is True and first["top_logprobs"] == 20 and first["max_tokens"] == 1
    assert second["max_tokens"] == 9  # its choices may begin with the same token
    assert reply.status == "ok" and reply.text == "yes"
    assert reply.probabilities == pytest.approx({"yes": 0.75, "no": 0.25})
    assert other.status == "unparsed" and "'not sure'" in other.error
    with provider.client(tmp_path / "calls.sqlite", replay=True) as model:
        again = model.complete([ASK])[0]
        assert again.cached and again.probabilities == reply.probabilities and again.text == "yes"
        with pytest.raises(CacheMiss):
            model.complete([Request("s", ASK.messages, max_tokens=16)])


@pytest.mark.parametrize("refuses", [True, False])
def test_a_server_without_them_is_noticed_once(refuses):
    def reply(number, payload, time):
        if refuses and "top_logprobs" in payload:
            return 400, {"error": {"message": "unknown field", "param": "top_logprobs"}}
        return good("Yes." if "logprobs" not in payload else "Yes")

    provider = FakeProvider(reply)
    with provider.client() as model:
        replies = model.complete([ASK, *(Request("s", ASK.messages, choices=YES_NO, seed=n) for n in (1, 2))])
        assert model.gives_probabilities is False
    assert [("logprobs" in sent, sent["max_tokens"] > 1) for sent in provider.requests] == [
        (True, False),
        *[(False, True)] * 3,
    ]
    assert [(r.status, r.text, r.probabilities) for r in replies] == [("ok", "yes", None)] * 3


@pytest.mark.parametrize(
    "told",
    [
        {"content": [{"token": "no", "logprob": -1.0, "top_logprobs": []}]},
        {"content": [{"token": "no", "logprob": -1.0, "top_logprobs": [{"token": "no", "logprob": -1.0}]}]},
        {"content": None},
        {"content": [{"token": 4}]},
        {"content": [{"token": "a", "logprob": "x"}]},
        {"content": [{"token": "a", "logprob": 10**400}]},
        7,
    ],
)
def test_what_is_no_list_of_logprobs_is_none(told):
    provider = FakeProvider(lambda number, payload, time: with_logprobs("no", told))
    with provider.client() as model:
        reply = model.complete([ASK])[0]
    assert (reply.text, reply.probabilities) == ("no", None)


def test_a_script_gives_them_or_says_a_word(tmp_path):
    def answer(request):
        return {"yes": 3, "no": 1} if "Is it" in request.messages[0].text else "No, never"

    other = Request("s", (Message("user", "?"),), choices=YES_NO)
    with Scripted(answer, calls=tmp_path / "c.sqlite", gives_probabilities=True) as model:
        told, said = model.complete([ASK, other])
        assert model.gives_probabilities is True
    assert told.probabilities == {"yes": 0.75, "no": 0.25} and told.text == "yes"
    assert said.probabilities is None and said.text == "no" and said.status == "ok"
    with sqlite3.connect(tmp_path / "c.sqlite") as file:
        file.execute(
            "UPDATE calls SET probabilities = '{\"yes\": 0.1, \"no\": 0.9}' WHERE probabilities != ''"
        )
    with Scripted(answer, calls=tmp_path / "c.sqlite", replay=True) as model, pytest.raises(CacheMiss):
        model.complete([ASK])  # an edit is noticed


def test_keys_of_requests_without_choices_are_as_they_were():
    where = {"provider": "p", "url": "u", "model": "m"}
    plain = Request("s", (Message("user", "x"),))
    assert canonical_request(plain, where, None) == (
        '{"max_tokens":1024,"messages":[{"content":"x","role":"user"}],"model":"m","provider":"p",'
        '"schema":null,"seed":null,"temperature":0.0,"url":"u"}'
    )
    keys = {
        canonical_request(Request("s", plain.messages, choices=choices), where, None)
        for choices in (None, YES_NO, YES_NO[::-1])
    }
    assert len(keys) == 3


@pytest.mark.parametrize("read_only", [True, False])
def test_a_calls_file_of_before_is_read(tmp_path, read_only):
    path = tmp_path / "calls.sqlite"
    with Scripted(lambda request: "hello", calls=path) as model:
        key = model.complete([Request("s", ASK.messages)])[0].key
    with sqlite3.connect(path) as file:
        (table,) = file.execute("SELECT sql FROM sqlite_master WHERE name = 'calls'").fetchone()
        columns = [name for _, name, *_ in file.execute("PRAGMA table_info(calls)")][:-1]
        file.execute("ALTER TABLE calls RENAME TO newer")
        # As layout 2 wrote it, with a comment behind its last column.
        file.execute(re.sub(r",( +-- [^\n]*\n) +probabilities TEXT [^\n]*\n", r"\1", table))
        file.execute(f"INSERT INTO calls SELECT {','.join(columns)} FROM newer")
        file.execute("DROP TABLE newer")
        file.execute("PRAGMA user_version = 2")
        *row, checksum = file.execute(f"SELECT {','.join(columns[1:])} FROM calls").fetchone()
        assert checksum == hashlib.sha256(json.dumps(row, separators=(",", ":")).encode()).hexdigest()
    before = path.read_bytes()
    ledger = Ledger(path, read_only=read_only)
    assert ledger.find([key])[key].text == "hello" and ledger.rows()[0].probabilities is None
    ledger.close()
    assert not read_only or path.read_bytes() == before
    with Scripted(lambda request: {"yes": 1, "no": 1}, calls=path) as model:
        assert model.complete([ASK])[0].probabilities == {"yes": 0.5, "no": 0.5}


def test_a_checkpoint_tells_them_from_its_logits(checkpoint):  # noqa: F811
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer, model = (
        AutoTokenizer.from_pretrained(checkpoint),
        AutoModelForCausalLM.from_pretrained(checkpoint),
    )
    prompt = f"<user>{ASK.messages[0].text}</s><assistant>"

    def joint(text):
        ids = tokenizer(prompt + text, return_tensors="pt")["input_ids"]
        start = len(tokenizer(prompt)["input_ids"])
        shares = model(ids).logits[0].log_softmax(-1)
        return math.exp(sum(float(shares[n - 1, ids[0, n]]) for n in range(start, ids.shape[1])))

    # Untrained, by letters: the words themselves are next to impossible, single letters are not.
    choices = ("a", "b", "ab")
    with torch.no_grad():
        a = sum(joint(text) for text in ("a", "A", " a", " A"))
        ab = sum(joint(text) for text in ("ab", "AB", "Ab", " ab", " AB", " Ab"))
        b = sum(joint(text) for text in ("b", "B", " b", " B"))
    with open_language_model(f"hf:{checkpoint}") as ours:
        assert ours.gives_probabilities is True
        reply = ours.complete([Request("s", ASK.messages, choices=choices)])[0]
        word = ours.complete([ASK])[0]
    assert reply.probabilities == pytest.approx(
        {"a": (a - ab) / (a + b), "b": b / (a + b), "ab": ab / (a + b)}, rel=1e-4
    )
    assert reply.status == "ok" and reply.text == max(reply.probabilities, key=reply.probabilities.get)
    assert word.probabilities is None and word.status in ("unparsed", "empty")


def test_the_order_of_tokens_does_not_matter():
    shares = {"Yes": 0.3, " yes": 0.1, "no": 0.2, "The": 0.4}
    found = set()
    for seed in range(5):
        others = list(shares.items())
        random.Random(seed).shuffle(others)
        found.add(round(along([(("The", 0.4), others)], YES_NO)["yes"], 12))
    assert found == {round(4 / 6, 12)}
