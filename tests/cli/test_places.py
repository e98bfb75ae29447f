"""What `saywell places` prints: every place of a model by all its names, layers that are alike as one."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from saywell.cli import app
from tiny_causal import letter_tokenizer, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = letter_tokenizer()
    config = tiny("llama", tokenizer).config
    config.num_hidden_layers = 3  # of which one has the number that heads have
    type(tiny("llama", tokenizer))(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def run(*words):
    return CliRunner().invoke(app, ["places", *map(str, words)])


def test_places_are_listed_by_all_their_names(folder):
    shown = run(folder).stdout.splitlines()
    assert max(map(len, shown)) <= 80
    at = shown.index("resid_post.L      blocks.L.hook_resid_post             layers_output[L]")
    assert shown[at + 1] == "  layers.L  16"
    assert "  layers.L.self_attn.o_proj:in  16  2 heads" in shown
    assert "  layers.L.mlp.down_proj:in  32" in shown and shown[-1].startswith("L is a layer, 0-2;")
    rows = json.loads(run(folder, "--json").stdout)
    last = next(row for row in rows if row["interp_engine"] == "resid_post.1")
    assert (last["of"], last["module"], last["side"], last["width"]) == ("text", "layers.1", "output", 16)


def test_a_model_without_words_or_pictures_is_refused(tmp_path):
    tiny("llama", letter_tokenizer()).save_pretrained(tmp_path)
    told = run(tmp_path)
    assert "has neither a tokenizer" in str(told.exception)
