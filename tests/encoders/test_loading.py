"""A checkpoint opens whole and as it is, or not at all: one line, no code run, no number made up."""

from __future__ import annotations

import json
import logging
import os
import random
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from saywell.encoders import checkpoints
from saywell.encoders.checkpoints import find_checkpoint
from saywell.encoders.dual import open_dual_encoder
from saywell.encoders.fingerprints import model_fingerprint
from saywell.encoders.sentence import open_sentence_encoder
from saywell.encoders.vision import open_vision_encoder
from saywell.errors import InputError
from saywell.units.models import load_model

DOORS = {
    "bert": load_model,
    "roberta": load_model,
    "sentence": open_sentence_encoder,
    "clip": open_dual_encoder,
    "clip-vision": open_vision_encoder,
}


@pytest.fixture(scope="module")
def folders(save_models, tokenizer, tmp_path_factory):
    """One checkpoint a kind: with a head and without a pooler, two positions less than declared, ..."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from transformers import BertConfig, BertForMaskedLM, RobertaConfig, RobertaModel

    root = tmp_path_factory.mktemp("models")
    size = dict(
        vocab_size=len(tokenizer),
        hidden_size=16,
        num_hidden_layers=2,
        intermediate_size=24,
        num_attention_heads=2,
        max_position_embeddings=24,
    )
    torch.manual_seed(0)
    BertForMaskedLM(BertConfig(**size)).save_pretrained(root / "bert")
    RobertaModel(RobertaConfig(**size, pad_token_id=1)).save_pretrained(root / "roberta")
    for name in ("bert", "roberta"):
        tokenizer.save_pretrained(root / name)
    modules = [Transformer(str(root / "roberta")), Pooling(16), Dense(16, 8)]
    SentenceTransformer(modules=modules).save_pretrained(str(root / "sentence"))
    save_models["clip"](root / "clip")
    shutil.copytree(root / "clip", root / "clip-vision")
    return root


def without(pattern):
    def change(folder):
        weights = load_file(folder / "model.safetensors")
        kept = {name: w for name, w in weights.items() if not re.search(pattern, name)}
        assert len(kept) < len(weights)
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})

    return change


def settings(file, **new):
    def change(folder):
        path = folder / file
        path.write_text(json.dumps(json.loads(path.read_text()) | new))

    return change


def pickled(place):
    def change(folder):
        path = next(folder.glob(f"{place}model.safetensors"))
        torch.save(load_file(path), path.parent / "pytorch_model.bin")
        path.unlink()

    return change


def asks_to_run_code(folder):
    code = {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    settings("config.json", model_type="own", **code)(folder)
    (folder / "own.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")


def unknown_special_token(folder):
    """Of which the tokenizer's Rust takes for granted that it is there."""
    told = json.loads((folder / "tokenizer.json").read_text())
    told["post_processor"]["single"][0]["SpecialToken"]["id"] = "gone"
    (folder / "tokenizer.json").write_text(json.dumps(told))


def pipe_of_weights(folder):
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def remove(pattern):
    return lambda folder: [path.unlink() for path in folder.glob(pattern)]


def adapter(folder):
    (folder / "adapter_config.json").write_text("{}")


MISSING = r"cannot load .*: \d+ \(.*, \.\.\.\) of its weights are in none of its files"


@pytest.mark.parametrize(
    ("kind", "change", "message"),
    [
        ("bert", without("."), MISSING),
        ("bert", without(r"layer\.1\."), MISSING),
        ("sentence", without(r"layer\.1\."), MISSING),
        ("sentence", without("word_embeddings"), "1 .*word_embeddings.* in none of its files"),
        ("clip", without("text_projection"), r"1 \(text_projection.weight\) of its weights are in none"),
        ("clip-vision", without("vision_model.*layers.0"), MISSING),
        ("bert", settings("config.json", num_hidden_layers=1), "belong to layers that its config.json"),
        ("bert", settings("config.json", num_hidden_layers=0), "belong to layers that its config.json"),
        ("sentence", settings("config.json", num_hidden_layers=1), "belong to layers"),
        ("bert", settings("config.json", intermediate_size=8), r"6 \(.*have another shape than its"),
        ("sentence", settings("config.json", intermediate_size=8), "have another shape than its config"),
        ("bert", pickled(""), r"pytorch_model\.bin, a pickle.*save_pretrained"),
        ("sentence", pickled("2_*/"), r"2_Dense'? has its weights in pytorch_model\.bin, a pickle"),
        ("bert", adapter, "holds an adapter"),
        *[(kind, asks_to_run_code, r"code of its own \(auto_map") for kind in ("bert", "sentence", "clip")],
        *[(kind, remove("tokenizer*"), "cannot load") for kind in ("bert", "sentence", "clip")],
        *[(kind, unknown_special_token, "cannot load") for kind in ("bert", "sentence")],
        *[(kind, pipe_of_weights, "a pipe, no regular file") for kind in ("bert", "sentence", "clip")],
        *[
            (kind, settings("preprocessor_config.json", do_center_crop=False), "high and a wide picture")
            for kind in ("clip", "clip-vision")
        ],
        ("clip-vision", remove("prep*"), r"preprocessor_config\.json"),
        ("clip", settings("preprocessor_config.json", image_std=[0, 1, 1]), "NaN or infinite"),
        ("bert", settings("config.json", attn_implementation="some/kernel"), "attention kernel"),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_what_is_wrong_is_told(folders, tmp_path, kind, change, message, monkeypatch):
    folder = shutil.copytree(folders / kind, tmp_path / "model")
    change(folder)
    monkeypatch.setattr("builtins.input", lambda *asked: "y")  # whoever asks hears yes
    with pytest.raises(InputError, match=message) as caught:
        DOORS[kind](str(folder))
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert not (folder / "ran").exists()


def test_what_is_not_used_may_be_missing_and_is_nothing(folders, tmp_path):
    """BERT's pooler makes no hidden state, and a picture no text."""
    once, again = (load_model(str(folders / "bert")) for _ in range(2))
    assert torch.isnan(once.model.pooler.dense.weight).all()
    assert once.fingerprint == again.fingerprint
    folder = shutil.copytree(folders / "clip-vision", tmp_path / "model")
    without("text_model|logit_scale")(folder)
    assert np.isfinite(open_vision_encoder(str(folder))([Image.new("RGB", (40, 40))])).all()


@pytest.mark.parametrize("kind", sorted(DOORS))
def test_what_opens_well_opens_without_a_word(folders, kind):
    """Neither of weights that are not used nor of those that a plan for several devices leaves out."""
    told, library = [], logging.getLogger("transformers")
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    library.addHandler(handler)
    try:
        DOORS[kind](str(folders / kind))
    finally:
        library.removeHandler(handler)
    assert told == []


def test_half_precision_checkpoints_are_computed_in_full(folders, tmp_path):
    folder = shutil.copytree(folders / "sentence", tmp_path / "model")
    halves = {name: w.half() for name, w in load_file(folder / "model.safetensors").items()}
    save_file(halves, folder / "model.safetensors", metadata={"format": "pt"})
    settings("config.json", dtype="float16")(folder)
    inner = open_sentence_encoder(str(folder))._model
    assert {p.dtype for p in inner.parameters()} == {torch.float32}


def test_a_sentence_encoder_reads_as_many_tokens_as_it_has_positions(folders):
    encoder = open_sentence_encoder(str(folders / "sentence"))
    assert encoder._model.max_seq_length == 22  # 24 rows, of which two are never used
    assert np.isfinite(encoder(["good " * 60])).all()
    other = open_sentence_encoder(str(folders / "sentence"))
    assert other.fingerprint == encoder.fingerprint != model_fingerprint(encoder._model)


def spoil(path, chooser):
    content = path.read_bytes()
    kind = chooser.choice(["cut", "empty", "flip", "list", "value", "value"])
    if kind == "cut":
        path.write_bytes(content[: chooser.randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "flip" or path.suffix != ".json":
        place = chooser.randrange(min(len(content), 400))
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x5A]) + content[place + 1 :])
    elif kind == "list" or not isinstance(json.loads(content), dict):
        path.write_text(chooser.choice(["[]", "null", "{}", '"x"', "[" * 100_000]))
    else:
        read = json.loads(content)
        values = [None, -1, 0, 2**40, "x", "../../x", [], {"a": 1}, True]
        read[chooser.choice(sorted(read))] = chooser.choice(values)
        path.write_text(json.dumps(read))


@pytest.mark.parametrize("seed", range(20))
def test_damaged_folders_open_or_are_told_in_one_line(folders, tmp_path, seed):
    chooser = random.Random(seed)
    kind = list(DOORS)[seed % len(DOORS)]
    folder = shutil.copytree(folders / kind, tmp_path / "model")
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in (".json", ".safetensors")]
    spoil(chooser.choice(files), chooser)
    try:
        DOORS[kind](str(folder))
    except InputError as error:
        assert str(folder) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a/b/c", "there is no such folder"),
        ("./nothing", "there is no such folder"),
        ("my model", "there is no such folder"),
        ("minlm", r"no folder 'minlm' here \(did you mean 'minilm'\?\)"),
        ("no-such/model", "there is no folder 'no-such/model' here, and no such model could be got"),
    ],
)
def test_names_that_are_none(name, message, monkeypatch):
    import huggingface_hub

    asked = []

    def unreachable(repo, **options):
        asked.append(repo)
        raise OSError("Got: ConnectError: no route\nand more")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", unreachable)
    with pytest.raises(InputError, match=message) as caught:
        find_checkpoint(name)
    with pytest.raises(InputError, match="is not a model: it is a file; give a folder"):
        find_checkpoint(__file__)
    assert "\n" not in str(caught.value)
    assert asked == ([name] if name in ("no-such/model", "minlm") else [])  # once, and never for a path


def test_of_a_hub_model_the_parts_that_are_read_are_fetched(monkeypatch, tmp_path):
    import fnmatch

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **more: str(tmp_path))
    assert find_checkpoint("some/model") == str(tmp_path)

    def fetched(file):
        wanted, left = checkpoints._READ, checkpoints._IGNORED
        hit = any(fnmatch.fnmatch(file, one) for one in wanted)
        return hit and not any(fnmatch.fnmatch(file, one) for one in left)

    for file in (
        "config.json",
        "model.safetensors",
        "model-00001-of-00002.safetensors",
        "vocab.txt",
        "model.safetensors.index.json",
        "2_Dense/model.safetensors",
        "1_Pooling/config.json",
        "spiece.model",
        "0_Transformer/model.safetensors",
    ):
        assert fetched(file), file
    for file in (
        "pytorch_model.bin",
        "own.py",
        "onnx/model.onnx",
        "consolidated.safetensors",
        "original/params.json",
        "model.fp16.safetensors",
        "README.md",
    ):
        assert not fetched(file), file
