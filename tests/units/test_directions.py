"""Directions at a place of a language model, and the neurons of one as a source."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from safetensors.torch import save_file

from saywell.data.examples import Examples
from saywell.data.parts import PARTS
from saywell.data.splits import content_ids
from saywell.errors import InputError
from saywell.resources import Resources
from saywell.units.activations import Activations
from saywell.units.directions import Directions
from saywell.units.exemplars import exemplar_table
from saywell.units.models import wrap_model
from saywell.units.neurons import Neurons
from saywell.units.sites import find_sites
from saywell.units.source import Prepares
from saywell.units.statistics import unit_table

LAYER = "encoder.layer.1"


@pytest.fixture
def examples(sentences):
    texts = [*sentences, "\t"]
    table = pl.DataFrame(
        {
            "id": content_ids(texts),
            "part": [PARTS[n % 3] for n in range(len(texts))],
            "row": pl.Series(range(len(texts)), dtype=pl.Int64),
            "text": texts,
        }
    )
    rejected = pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String, "detail": pl.String})
    return Examples(table, "text", "0" * 32, rejected, len(texts))


def by_hand(bert, tokenizer, text, path):
    """What a module gives for one text alone, without special tokens."""
    seen = {}
    hook = bert.get_submodule(path).register_forward_hook(
        lambda m, args, out: seen.update(x=out if isinstance(out, torch.Tensor) else out[0])
    )
    encoded = tokenizer(text, return_tensors="pt", return_special_tokens_mask=True)
    special = encoded.pop("special_tokens_mask")[0].bool()
    encoded.pop("token_type_ids", None)
    with torch.no_grad():
        bert(**encoded)
    hook.remove()
    return seen["x"][0][~special].numpy()


@pytest.mark.parametrize("pool", ["max", "mean"])
def test_a_direction_responds_with_its_dot_product(pool, bert, tokenizer, sentences, examples, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(3, 16))
    source = Directions.of(wrap_model(bert, tokenizer), LAYER, vectors, pool=pool, top=4)
    assert isinstance(source, Prepares)
    stored = source.collect(examples, tmp_path, Resources())
    for row in range(0, 60, 7):
        along = by_hand(bert, tokenizer, sentences[row], LAYER) @ vectors.T
        expected = along.max(0) if pool == "max" else along.mean(0)
        np.testing.assert_allclose(
            stored.read(np.array([row]), np.arange(3))[0], expected, rtol=1e-4, atol=1e-4
        )
    assert np.isnan(stored.read(np.array([60]), np.arange(3))).all()  # a text without tokens
    units = unit_table(source.units(), stored, source.firing, examples.parts.describe)
    assert units["id"].to_list() == ["direction/0", "direction/1", "direction/2"]
    found = exemplar_table(
        Activations(stored, units, source.firing),
        examples.ids,
        {"describe": examples.parts.describe},
        4,
        source.locate(examples),
    )
    for unit, example, start, end in found.select("unit", "example", "span_start", "span_end").iter_rows():
        text = examples.texts[examples.ids.index(example)]
        along = by_hand(bert, tokenizer, text, LAYER) @ vectors[int(unit[-1])]
        said = along[text.split().index(text[start:end])]
        assert said == pytest.approx(along.max(), rel=0.01) or text.split().count(text[start:end]) > 1
    control = source.control(1)
    assert control.units().drop("model").equals(source.units().drop("model"))
    assert control.model.fingerprint != source.model.fingerprint


@pytest.mark.parametrize("kind", ["names", "one array", "half", "npy"])
def test_files_of_directions(kind, bert, tokenizer, tmp_path):
    vectors = torch.arange(32.0).view(2, 16)
    path = tmp_path / "v.safetensors"
    names = ["direction/0", "direction/1"]
    if kind == "npy":
        path = tmp_path / "v.npy"
        np.save(path, vectors.numpy())
    elif kind == "names":
        names = ["cold", "warm"]
        save_file({"cold": vectors[0].clone(), "warm": vectors[1].clone()}, path)
    else:
        save_file({"w": vectors.bfloat16() if kind == "half" else vectors}, path)
    source = Directions.of(wrap_model(bert, tokenizer), LAYER, path)
    assert source.units()["id"].to_list() == names
    np.testing.assert_array_equal(source.vectors, vectors)


@pytest.mark.parametrize(
    ("module", "vectors", "told"),
    [
        (
            LAYER,
            np.zeros((3, 32)),
            r"gives 16 values, and the directions have 32; they would fit encoder\.layer\.0\.",
        ),
        (LAYER, np.zeros((16, 5)), "there are 16 of them, so they may be given the other way round"),
        (LAYER, np.zeros((2, 999)), "fit no module of this model"),
        ("encoder.layer.9", np.zeros((2, 16)), "no module 'encoder.layer.9'; some that it has: embeddings"),
        (LAYER, {"a": np.zeros(16), "b": np.zeros(15)}, "vectors of one width"),
        (LAYER, np.full((2, 16), np.nan), "'direction/0' is not finite"),
        (LAYER, "nowhere.npy", "no file 'nowhere.npy'"),
        (LAYER, {"polite": np.ones(4) * 1j}, "polite has complex numbers"),
        (LAYER, np.ma.masked_equal(np.eye(4), 1), "'direction/0' is not finite"),
    ],
)
def test_directions_that_do_not_fit_are_refused(module, vectors, told, bert, tokenizer):
    with pytest.raises(InputError, match=told):
        Directions.of(wrap_model(bert, tokenizer), module, vectors)


def test_neurons_as_a_source(bert, tokenizer, sentences, examples, tmp_path):
    loaded = wrap_model(bert, tokenizer)
    source = Neurons(loaded, tuple(find_sites(bert)), top=5)
    ready = source.prepare(examples)
    assert len(ready) == 60 and ready.table.schema["tokens"] == pl.Int32
    assert ready.rejected.rows() == [(60, "no tokens", "\t")]
    stored = source.collect(ready, tmp_path, Resources())
    units = unit_table(source.units(), stored, source.firing, ready.parts.describe)
    activations = Activations(stored, units, source.firing)
    assert units["id"][55] == "layer.1/23" and units["id"][64] == "layer.0/0-"
    low, high = activations.of(["layer.1/7-", "layer.1/7"], np.array([11]))[:, 0]
    seen = {}
    hook = bert.encoder.layer[1].output.dense.register_forward_pre_hook(
        lambda m, args: seen.update(x=args[0])
    )
    with torch.no_grad():
        bert(
            **{
                k: v
                for k, v in tokenizer(sentences[11], return_tensors="pt").items()
                if k != "token_type_ids"
            }
        )
    hook.remove()
    inside = seen["x"][0][1:-1, 7]
    assert (low, high) == pytest.approx((-inside.min().item(), inside.max().item()), rel=1e-4, abs=1e-6)
    assert all((stored.top(part.rows, 5).positions > 0).all() for part in ready.parts)
    control = source.control(3)
    assert control.units()["id"].equals(source.units()["id"]) and control.name == "random weights"
