"""A tiny chat checkpoint, made here, runs in process."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from pydantic import BaseModel

from saywell.errors import InputError
from saywell.language_models import Image, Message, Request, grammar, open_language_model

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</s>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)


class Score(BaseModel):
    score: int


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-chat")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({c: i for i, c in enumerate([*letters, "</s>"])}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="</s>", chat_template=TEMPLATE)
    tokenizer.save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def ask(text, **options):
    return Request("s", (Message("system", "be brief"), Message("user", text)), max_tokens=12, **options)


def test_the_same_request_gets_the_same_reply_whatever_runs_beside_it(checkpoint, tmp_path):
    requests = [ask(f"hello {i}") for i in range(3)] + [
        ask("hello 0", temperature=1.0, seed=s) for s in (1, 2)
    ]
    with open_language_model(f"hf:{checkpoint}", calls=tmp_path / "calls.sqlite") as model:
        together = model.complete(requests)
    with open_language_model(f"hf:{checkpoint}") as model:
        alone = [model.complete([request])[0] for request in reversed(requests)][::-1]
    assert [r.text for r in together] == [r.text for r in alone]
    assert {r.status for r in together} <= {"ok", "truncated", "empty"}
    assert together[3].text != together[4].text
    assert all(r.cost_usd == 0 and r.output_tokens and r.output_tokens <= 12 for r in together)
    assert any(r.status == "truncated" for r in together)
    with open_language_model(f"hf:{checkpoint}", calls=tmp_path / "calls.sqlite", replay=True) as model:
        assert [r.text for r in model.complete(requests)] == [r.text for r in together]


def test_the_reply_is_that_of_transformers_itself(checkpoint):
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    ids = tokenizer("<system>be brief</s><user>hi</s><assistant>", return_tensors="pt")["input_ids"]
    for _ in range(12):
        following = model(ids).logits[0, -1].argmax()
        ids = torch.cat([ids, following.reshape(1, 1)], dim=1)
        if following == tokenizer.eos_token_id:
            break
    start = len(tokenizer("<system>be brief</s><user>hi</s><assistant>")["input_ids"])
    expected = tokenizer.decode(ids[0, start:], skip_special_tokens=True)
    with open_language_model(f"hf:{checkpoint}") as ours:
        reply = ours.complete([ask("hi")])[0]
    assert reply.text == expected and reply.input_tokens == start


def test_an_answer_has_the_asked_form_where_there_is_a_grammar(checkpoint, monkeypatch):
    request = Request("s", (Message("user", "x"),), Score, max_tokens=24)
    sampled = replace(request, temperature=3.0, seed=1)
    with open_language_model(f"hf:{checkpoint}") as model:
        replies = model.complete([request, sampled])
    assert all(reply.status == "ok" and isinstance(reply.parsed, Score) for reply in replies)
    # A model that was made by chance writes no JSON by itself, and this is another reply than that.
    monkeypatch.setattr(grammar, "is_installed", lambda: False)
    with open_language_model(f"hf:{checkpoint}") as model:
        bare = model.complete([request])[0]
    assert bare.parsed is None and bare.status in ("truncated", "unparsed", "empty")
    assert bare.key != replies[0].key


def test_what_it_cannot_do_is_said(checkpoint, tmp_path):
    with open_language_model(f"hf:{checkpoint}") as model, pytest.raises(InputError, match="text only"):
        model.complete([Request("s", (Message("user", (Image(b"\x89PNG\r\n\x1a\n"), "x")),))])
    (tmp_path / "config.json").write_text("{}")
    with open_language_model(f"hf:{tmp_path}") as model, pytest.raises(InputError, match="cannot be loaded"):
        model.complete([ask("x")])
    settings = json.loads((checkpoint / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in checkpoint.iterdir():
        if file.name not in ("tokenizer_config.json", "chat_template.jinja"):
            (bare / file.name).write_bytes(file.read_bytes())
    (bare / "tokenizer_config.json").write_text(json.dumps(settings))
    with open_language_model(f"hf:{bare}") as model, pytest.raises(InputError, match="chat template"):
        model.complete([ask("x")])


def test_a_template_that_refuses_a_system_turn_reads_it_with_the_first_and_others_are_errors(checkpoint):
    def replies(template, *messages):
        with open_language_model(f"hf:{checkpoint}") as model:
            loaded, tokenizer = model._backend._load()
            tokenizer.chat_template = template
            model._backend._loaded = loaded, tokenizer
            return model.complete([Request("s", messages, max_tokens=12)])[0].text

    system, first, folded = (
        Message("system", "be brief"),
        Message("user", "hello"),
        Message("user", "be brief\n\nhello"),
    )
    refuses = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    assert replies(refuses + TEMPLATE, system, first) == replies(TEMPLATE, folded)
    assert replies(TEMPLATE, system, first) != replies(TEMPLATE, folded)
    for broken in ("{{ raise_exception('no ' + messages[-1]['role']) }}", "{% for %}"):
        with pytest.raises(InputError, match=r"chat template of hf:.* cannot be used here"):
            replies(broken, system, first)
