"""The study of a dictionary's latents: whole, resumable, told of what does not fit."""

import numpy as np
import polars as pl
import pytest
import torch
from PIL import Image

from saywell.data.texts import load_texts
from saywell.errors import InputError
from saywell.studies.again import stored_run
from saywell.studies.audit import audit_study
from saywell.studies.features import _Brought, _load_pictures, describe_features, plan_features
from saywell.studies.features.dictionary import _fitted
from saywell.studies.questions import own_of
from saywell.studies.settings import FeatureSettings
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.fit import measure
from saywell.units.dictionaries.rules import TopK
from saywell.units.hook_points import find_hook
from saywell.units.latents import AtHook, Latents, Moments, OfExamples, chosen_latents, drawn, lengths
from saywell.units.models import wrap_model

OPTIONS = {
    "at": "encoder.layer.1",
    "seed": 3,
    "top": 8,
    "reader": ["claims", "lexical"],
    "context": None,
    "tags": "topic",
}


@pytest.fixture(scope="module")
def asked(corpus, bert, tokenizer, encoder):
    """What every study here is asked for."""
    return {"examples": corpus, "model": bert, "tokenizer": tokenizer, "encoder": encoder}


@pytest.fixture(scope="module")
def study(asked, tmp_path_factory):
    return describe_features(
        out=tmp_path_factory.mktemp("features") / "study", train="topk:24:3", **asked, **OPTIONS
    )


def test_a_latent_responds_as_its_dictionary_does_to_each_token(study, asked):
    """Brute force: the model's own hidden state of each token, encoded one by one."""
    dictionary = Dictionary.load(study.file("arrays/dictionary/dictionary.safetensors"))
    run = stored_run(study, *own_of(study))
    rows = np.arange(0, len(run.examples), 17)
    units = study.units["id"].to_list()
    found = run.subject.activations.of(units, rows)
    for column, row in enumerate(rows):
        ids = asked["tokenizer"](
            run.examples.texts[row], return_special_tokens_mask=True, return_tensors="pt"
        )
        special = ids.pop("special_tokens_mask")[0].bool()
        with torch.inference_mode():
            hidden = asked["model"](**ids, output_hidden_states=True).hidden_states[2][0]
        codes = dictionary.encode(hidden[~special])
        dense = torch.zeros(int((~special).sum()), dictionary.latents)
        dense[codes.rows, codes.latents] = codes.values
        np.testing.assert_allclose(found[:, column], dense.amax(0).numpy(), rtol=1e-3, atol=1e-5)


def test_every_table_and_figure_follows_from_what_is_stored(study):
    found = audit_study(study)
    assert found.filter(status="failed").is_empty(), found.filter(status="failed")
    figures = {metric.name: metric for metric in study.headline()}
    assert 0 < figures["variance explained"].value <= 1
    assert figures["variance explained"].value > figures["variance explained"].controls["turned by chance"]
    assert figures["active latents"].value == 3
    assert study.units["kind"].unique().to_list() == ["latent"]
    assert study.units["layer"].unique().to_list() == [1]
    peaks = study.exemplars.filter(pl.col("span_end") > pl.col("span_start"))
    assert peaks.height == study.exemplars.height > 0
    ranges, near = study.table("ranges"), study.table("near_misses")
    assert set(ranges["part"]) == set(near["part"]) == {"describe", "score"}
    assert set(near["why"]) == {"same token"}  # no encoder is asked where tags are given
    assert ranges["span_end"].null_count() == 0
    of_part = study.examples.select(example="id", own="part")
    for table in (ranges, near):
        assert table.join(of_part, on="example").filter(pl.col("part") != pl.col("own")).is_empty()


def test_a_dictionary_is_measured_on_vectors_that_it_was_not_trained_on(study, asked):
    dictionary = Dictionary.load(study.file("arrays/dictionary/dictionary.safetensors"))
    examples = stored_run(study, *own_of(study)).examples
    held = []
    for row in examples.parts.select.rows:
        ids = asked["tokenizer"](
            examples.texts[row], return_special_tokens_mask=True, return_tensors="pt", truncation=True
        )
        special = ids.pop("special_tokens_mask")[0].bool()
        with torch.inference_mode():
            held.append(asked["model"](**ids, output_hidden_states=True).hidden_states[2][0][~special])
    row = study.table("fit").row(0, named=True)
    assert row["vectors"] == sum(map(len, held))
    assert row["explained"] == pytest.approx(measure(dictionary, held).explained, abs=1e-4)
    assert row["explained_low"] < row["explained"] < row["explained_high"]


def test_of_few_vectors_there_is_no_interval_and_alike_ones_are_refused():
    dictionary = Dictionary(torch.eye(3), torch.zeros(3), torch.eye(3), torch.zeros(3), TopK(2))
    vectors, turned = np.eye(3, dtype=np.float32), (torch.zeros(3), torch.eye(3))
    assert _fitted(dictionary, vectors, None, turned)[:3] == (1, None, None)
    ends = np.repeat(vectors, 30, axis=0)  # within most blocks nothing varies
    assert _fitted(dictionary, ends, None, turned)[:3] == (1, None, None)
    with pytest.raises(InputError, match=r"30 vectors .* are all the same"):
        _fitted(dictionary, ends[:30], None, turned)


def test_a_run_that_was_stopped_ends_with_the_same_tables(study, asked, tmp_path, monkeypatch):
    from saywell.studies.features import dictionary as step

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(step, "_fitted", stop)
    with pytest.raises(KeyboardInterrupt):
        describe_features(out=tmp_path / "study", train="topk:24:3", **asked, **OPTIONS)
    monkeypatch.undo()
    again = describe_features(out=tmp_path / "study", train="topk:24:3", **asked, **OPTIONS)
    for table in ("fit", "units", "exemplars", "descriptions", "scores"):
        assert again.table(table).equals(study.table(table)), table
    assert not (tmp_path / "study" / "arrays" / "dictionary" / "making").exists()


def test_a_dictionary_that_is_brought_gives_what_it_gave_where_it_was_trained(study, asked, tmp_path):
    trained = study.file("arrays/dictionary/dictionary.safetensors")
    again = describe_features(
        out=tmp_path / "study", dictionary=str(trained), latents="3,5-7", **asked, **OPTIONS
    )
    assert again.units["id"].to_list() == ["latent/3", "latent/5", "latent/6", "latent/7"]
    strongest = describe_features(
        out=tmp_path / "top", dictionary=str(trained), latents="3", firing="top:0.1", **asked, **OPTIONS
    )
    assert strongest.units["fires"][0] == pytest.approx(0.1, abs=0.03)
    mine = study.units.filter(pl.col("id").is_in(again.units["id"].to_list()))
    assert again.units.drop("place").equals(mine.drop("place"))


def test_vectors_of_whole_examples_have_latents_too(asked, tmp_path):
    rest = {"examples": asked["examples"], "encoder": asked["encoder"]}
    study = describe_features(
        out=tmp_path / "study",
        on="embeddings",
        train="topk:8:2",
        seed=1,
        reader=["claims", "lexical"],
        **rest,
    )
    assert study.units.height == 8
    assert study.descriptions.filter(status="described").height
    assert study.exemplars["span_start"].null_count() == study.exemplars.height
    assert study.units["layer"].null_count() == 8
    # The encoder cannot be opened again, and without tags it says which units are alike.
    assert audit_study(study).filter(status="failed").is_empty()
    assert not any("tags were given" in note for note in study.manifest.notes)
    assert set(study.table("near_misses")["why"]) == {"nearest"}


def test_what_does_not_go_together_is_refused_before_anything_is_stored(asked, tmp_path):
    wide = Dictionary(torch.eye(5), torch.zeros(5), torch.eye(5), torch.zeros(5), TopK(2))
    cases = [
        ({}, "latents are of one dictionary, and there are none"),
        ({"dictionary": wide, "train": "topk:8:2"}, "there are both"),
        ({"train": "topk:8:2", "at": None}, "saywell places"),
        ({"train": "topk:8:2", "on": "embeddings"}, "place in a model"),
        ({"train": "topk:8:2", "model": None}, "whose vectors"),
        ({"dictionary": wide}, "reads 5 numbers"),
        ({"train": "topk:8:2", "at": "encoder.layer.9"}, "encoder.layer.9"),
        ({"train": "topk:8:2", "stride": 9, "context": 4}, "would leave tokens out"),
        ({"train": "topk:8:2", "latents": "3,8"}, "no latent 8"),
    ]
    for options, words in cases:
        with pytest.raises(InputError, match=words):
            plan_features(out=tmp_path / "study", **{**asked, **OPTIONS, **options})
    assert not (tmp_path / "study").exists()


def test_turned_vectors_keep_mean_and_covariance_and_nothing_else():
    random = np.random.default_rng(0)
    vectors = (random.standard_normal((4000, 6)) @ random.standard_normal((6, 6)) + 3).astype(np.float32)
    vectors[:, 5] = vectors[:, 4]  # a direction without spread
    shift, turn = Moments.of(vectors).turned(4)
    turned = (torch.from_numpy(vectors) @ turn + shift).numpy()
    np.testing.assert_allclose(turned.mean(0), vectors.mean(0), atol=1e-3)
    np.testing.assert_allclose(np.cov(turned.T), np.cov(vectors.T), rtol=1e-3, atol=1e-3)
    likeness = np.corrcoef(turned[:, 0], vectors[:, 0])[0, 1]
    assert abs(likeness) < 0.95
    again, other = (Moments.of(vectors).turned(seed)[1] for seed in (4, 5))
    assert torch.equal(turn, again)
    assert not torch.allclose(turn, other)


def test_a_place_that_is_read_by_a_module_is_not_called_like_what_it_gives(bert, tokenizer):
    model = wrap_model(bert, tokenizer)
    points = [find_hook(model, name) for name in ("encoder.layer.1", "encoder.layer.1:in")]
    names = [AtHook(model, point).module for point in points]
    assert names == ["encoder.layer.1", "encoder.layer.1:in"]
    assert [find_hook(model, name).side for name in names] == ["output", "input"]


def test_latents_are_chosen_by_number_or_by_chance():
    assert chosen_latents(10, None, None, 0) is None
    assert chosen_latents(10, [7, 2, 2], None, 0) == (2, 7)
    drawn = chosen_latents(100, None, 5, 1)
    assert drawn == chosen_latents(100, None, 5, 1) != chosen_latents(100, None, 5, 2)
    assert len(drawn) == 5
    with pytest.raises(InputError, match="no latent 10"):
        chosen_latents(10, [3, 10], None, 0)


def test_nothing_fires_at_vectors_that_stand_for_a_place():
    dictionary = Dictionary(torch.eye(4), torch.zeros(4), torch.eye(4), torch.zeros(4), TopK(2))
    vectors = np.abs(np.random.default_rng(0).standard_normal((50, 4))).astype(np.float32)
    vectors[7] *= 1000
    moments = Moments.of(vectors, 10 * float(np.median(lengths(vectors))))
    codes = Latents(OfExamples("made", ""), dictionary, moments)._encoder()(torch.from_numpy(vectors))
    assert set(codes.rows.tolist()) == set(range(50)) - {7}
    whole = dictionary.encode(torch.from_numpy(vectors))
    assert torch.equal(codes.values, whole.values[whole.rows != 7])


def test_pictures_need_no_classes(tmp_path):
    for number in range(4):
        Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(tmp_path / f"{number}.png")
    brought = _Brought(str(tmp_path), None, None, None, None, ())
    assert len(_load_pictures(brought, FeatureSettings())) == 4


def test_examples_are_drawn_by_what_they_say(asked):
    examples, rows = load_texts(asked["examples"]), np.arange(20)
    some = drawn(examples, rows, 5, seed=1)
    assert len(some) == 5 and list(some) == sorted(set(some.tolist()))
    assert some.tolist() != drawn(examples, rows, 5, seed=2).tolist()
    assert drawn(examples, rows, 20, seed=1).tolist() == rows.tolist()
