"""Relations and the output side in whole studies, and units matched between two of them: all of it planted."""

import json

import numpy as np
import polars as pl
import pytest
import torch
from scipy import stats
from typer.testing import CliRunner

from saywell.cli import app
from saywell.errors import InputError
from saywell.language_models import Scripted
from saywell.store.study import Study
from saywell.studies.audit import audit_study
from saywell.studies.check import check_descriptions
from saywell.studies.features import describe_features
from saywell.studies.features.outputs import CLAMPED, direction_of, with_p, works_table
from saywell.studies.features.relations import word_starts
from saywell.studies.match import match_studies
from saywell.units.dictionaries.dictionary import Dictionary, Scaling
from saywell.units.dictionaries.rules import Codes, ReLU
from saywell.units.tokens import tokenize

WIDTH = 48
FIRES_AT = [
    *(
        [word]
        for word in "battery charger phone food soup waiter room bed clean dirty the good staff".split()
    ),
    ["battery", "charger", "phone"],
    ["food"],
]
"""The words at which each latent fires. The last but one is split, the last is nearly latent 3."""
WHOLE, COPY, SAYS = 13, 14, 7
"""Latent SAYS points to the token `WORD`."""
WORD = "waiter"
OPTIONS = {"at": "resid_pre.0", "reader": ["claims"], "context": None, "output_units": 20, "control": False}
OPTIONS |= {"tags": "topic"}


@pytest.fixture(scope="module")
def model(tokenizer):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    size = {"hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(tokenizer), initializer_range=0.3, pad_token_id=0, **size)
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def dictionary(model, tokenizer):
    """What enters the first block is the vector of a word, and of that word alone the product with it is 1."""
    single = torch.linalg.pinv(model.model.embed_tokens.weight.detach()).T
    number = tokenizer.convert_tokens_to_ids
    encoder = torch.stack([sum(single[number(word)] for word in words) for words in FIRES_AT])
    encoder[COPY] *= 1.1
    decoder = torch.randn((len(FIRES_AT), WIDTH), generator=torch.Generator().manual_seed(1))
    decoder[COPY] = decoder[3] + 0.05 * decoder[4]
    decoder[SAYS] = (model.lm_head.weight[number(WORD)] * model.model.norm.weight).detach() * 5
    bias = torch.full((len(FIRES_AT),), -0.5)
    return Dictionary(encoder, bias, decoder, torch.zeros(WIDTH), ReLU(), subtracts=False)


@pytest.fixture(scope="module")
def asked(corpus, model, tokenizer, encoder):
    return {"examples": corpus, "model": model, "tokenizer": tokenizer, "encoder": encoder}


@pytest.fixture(scope="module")
def study(asked, dictionary, tmp_path_factory):
    return describe_features(
        out=tmp_path_factory.mktemp("relations") / "study", dictionary=dictionary, **asked, **OPTIONS
    )


def test_the_copy_is_the_one_duplicate_and_the_whole_is_split(study):
    table = study.table("relations")
    found = table.filter(relation="duplicate")
    pair = [(f"latent/{COPY}", "latent/3"), ("latent/3", f"latent/{COPY}")]
    assert found.select("unit", "other").rows() == pair
    assert found["cosine"].min() > 0.99
    assert found["jaccard"].to_list() == [1, 1]
    split = table.filter(relation="part")
    assert split["unit"].unique().to_list() == [f"latent/{WHOLE}"]
    assert split["other"].to_list() == ["latent/0", "latent/1", "latent/2"]
    assert split["inside"].to_list() == [1, 1, 1]
    assert split["covers"].sum() == pytest.approx(1)
    back = table.filter(relation="whole").sort("unit")
    assert back["covers"].to_list() == split["inside"].to_list()
    assert back.select("unit", "other").rows() == [(part, f"latent/{WHOLE}") for part in split["other"]]
    figures = {metric.name: metric for metric in study.headline()}
    assert figures["near duplicates"].value == pytest.approx(2 / len(FIRES_AT))
    assert figures["split latents"].value == pytest.approx(1 / len(FIRES_AT))
    assert figures["split latents"].controls == {"tokens shuffled": 0}


def test_what_is_stored_gives_the_same_again(study):
    found = audit_study(study)
    assert found.filter(status="failed").is_empty(), found.filter(status="failed")
    tables = (f"table {name} derived again" for name in ("relations", "compared", "absorption", "works"))
    assert {*tables, "figure near duplicates"} <= set(found["check"])


def test_the_planted_latent_promotes_its_token_and_what_was_held_is_told(study):
    up = study.table("promoted").filter(unit=f"latent/{SAYS}", sign=1)
    assert up["token"][0] == WORD
    assert up["rank"].to_list() == list(range(1, 11))
    assert up["value"].is_sorted(descending=True)
    down = study.table("promoted").filter(unit=f"latent/{SAYS}", sign=-1)
    assert (down["value"] < 0).all()
    works = study.table("works")
    assert works.height == study.table("clamped")["unit"].n_unique()
    verified = set(study.scores.filter("decides", status="verified")["unit"])
    for unit, acts, said in works.select("unit", "acts", "works").iter_rows():
        assert (
            said
            == {(1, 1): "both", (1, 0): "input", (0, 1): "output", (0, 0): "neither"}[unit in verified, acts]
        )


def clamped(**of):
    """Units by how far each stands above random directions, in promoted tokens when strengthened."""
    random, rows = np.random.default_rng(0), []
    drawn = lambda: random.standard_normal(20).tolist()  # noqa: E731
    for unit, above in of.items():
        rows.append((unit, "strengthened", 2.0, 8, 99, *[None] * 5, above, 0.0, above, above, drawn()))
        quiet = np.exp(random.standard_normal(21)).tolist()
        rows.append((unit, "silenced", 0.0, 8, 9, quiet[0], 1.0, 0.0, 0.0, quiet[1:], *[None] * 5))
    told = [name for name in CLAMPED.columns if not name.endswith("_p")]
    return with_p(pl.DataFrame(rows, schema={name: CLAMPED.columns[name] for name in told}, orient="row"))


def test_a_unit_acts_if_it_stands_above_random_directions():
    held = clamped(a=30.0, b=0.0, c=25.0, d=-30.0)
    table = works_table(held, {"a", "b"})
    assert table["works"].to_list() == ["both", "input", "output", "neither"]
    assert table["acts"].to_list() == [True, False, True, False]
    assert (table["q_random"] > 0.05).all()
    loud = held.with_columns(divergence=pl.col("divergence") * pl.when(unit="b").then(1e4).otherwise(1.0))
    assert works_table(loud, {"a", "b"})["works"].to_list() == ["both", "both", "output", "neither"]
    strong = held.filter(way="strengthened")
    assert strong["promoted_p"].to_list()[0::2] == pytest.approx([1 / 81, 1 / 81])
    assert strong["promoted_p"].to_list()[3] == 1
    assert strong["divergence_p"].null_count() == 4
    for row in held.filter(way="silenced").iter_rows(named=True):
        drawn = np.log(row["divergence_drawn"])
        t = (np.log(row["divergence"]) - drawn.mean()) / (drawn.std(ddof=1) * (1 + 1 / 20) ** 0.5)
        assert row["divergence_p"] == pytest.approx(stats.t.sf(t, 19))
    assert works_table(CLAMPED.empty(), set()).is_empty()


def test_there_is_no_output_side_without_a_head(asked, dictionary, tmp_path):
    rest = {**asked, "model": asked["model"].model}
    study = describe_features(out=tmp_path / "study", dictionary=dictionary, latents="3", **rest, **OPTIONS)
    for table in ("promoted", "clamped", "works"):
        assert study.table(table).is_empty()
    assert any("no output side" in note for note in study.manifest.notes)


def test_what_is_not_of_the_stream_promotes_nothing_directly(asked, tmp_path):
    options = {**OPTIONS, "at": "mlp_act.0", "output_units": 1}
    study = describe_features(out=tmp_path / "study", train="neurons:128:4", **asked, **options)
    assert study.table("promoted").is_empty()
    held = study.table("clamped")
    assert held["promoted"].null_count() == held.height > 0
    assert (held["divergence"] > 0).any()
    assert any("no tokens directly" in note for note in study.manifest.notes)


@pytest.fixture(scope="module")
def permuted(asked, dictionary, tmp_path_factory):
    """A study of the same latents in another order."""
    order = np.random.default_rng(4).permutation(len(FIRES_AT))
    other = Dictionary(
        dictionary.encoder[order],
        dictionary.bias[order],
        dictionary.decoder[order],
        dictionary.centre,
        ReLU(),
    )
    out = tmp_path_factory.mktemp("relations") / "other"
    return order, describe_features(out=out, dictionary=other, **asked, **{**OPTIONS, "output_units": 0})


@pytest.mark.parametrize("by", ["firing", "decoder"])
def test_the_same_latents_in_another_order_are_matched(study, permuted, by):
    order, other = permuted
    found = match_studies(study, other, by=by).filter("matched")
    assert found.height >= 10
    for unit, partner, correlation, cosine in found.select(
        "unit", "other", "correlation", "cosine"
    ).iter_rows():
        place = int(unit.removeprefix("latent/")), int(order[int(partner.removeprefix("latent/"))])
        assert place[0] == place[1] or set(place) == {3, COPY}
        assert cosine == pytest.approx(1, abs=0.01)
        assert correlation is None or correlation > 0.95
    split = found.filter(pl.col("parts").list.len() > 0)
    place = {f"latent/{old}": f"latent/{new}" for new, old in enumerate(order)}
    assert split["unit"].to_list() == [f"latent/{WHOLE}"]
    assert set(split["parts"][0]) == {place[f"latent/{part}"] for part in range(3)}
    said = dict(other.descriptions.filter("selected").select("unit", "text").iter_rows())
    assert found["text"].to_list() == [said.get(partner) for partner in found["other"]]


def test_what_the_other_study_says_is_put_to_the_test(study, permuted, encoder, tmp_path):
    table = match_studies(study, permuted[1])
    checked = check_descriptions(table, study, out=tmp_path / "check", encoder=encoder)
    given, own = (checked.scores.filter(describer=name) for name in ("given", "own"))
    assert given.height > 5
    both = given.join(own, on=["unit", "reader"], suffix="_own")
    assert both["value"].to_list() == pytest.approx(both["value_own"].to_list(), abs=0.15)
    words, at_home = checked.table("token_scores"), study.table("token_scores")
    mine = words.filter(describer="own").join(at_home, on="unit", suffix="_home")
    assert mine.height == at_home.height > 0
    assert mine["f1"].to_list() == mine["f1_home"].to_list()
    audited = audit_study(checked).filter(pl.col("check").str.contains("token_scores"), status="failed")
    assert audited.is_empty(), audited


def test_matches_are_written_and_shown_at_the_command_line(study, permuted, tmp_path):
    ran = CliRunner().invoke(
        app, ["match", str(study.path), str(permuted[1].path), "--out", str(tmp_path / "m.parquet")]
    )
    assert ran.exit_code == 0, ran.output
    written = pl.read_parquet(tmp_path / "m.parquet")
    assert written.equals(match_studies(study, permuted[1]))
    assert f"{written.filter('matched').height} of {written.height} pairs are above chance" in ran.output
    wrong = CliRunner().invoke(app, ["match", str(study.path), str(study.path), "--by", "name"])
    assert isinstance(wrong.exception, InputError) and "firing or decoder" in str(wrong.exception)


def test_studies_that_share_nothing_are_refused(study, asked, dictionary, tmp_path):
    rest = {**asked, "examples": asked["examples"].with_columns(text=pl.col("text") + " bed")}
    options = {**OPTIONS, "output_units": 0}
    other = describe_features(out=tmp_path / "study", dictionary=dictionary, latents="3", **rest, **options)
    with pytest.raises(InputError, match="no examples in common"):
        match_studies(study, other)
    with pytest.raises(InputError, match="not finished"):
        match_studies(study, _unfinished(other))


def _unfinished(study: Study) -> Study:
    study.manifest.status = "running"
    return study


def test_words_start_where_a_token_does(tokenizer):
    texts = ["the waiter, never-again bed x", "42bed"]
    tokens = tokenize(tokenizer, texts, max_tokens=64)
    found = word_starts(texts, tokens, np.arange(2))
    assert found["piece"].to_list() == ["the", "waiter", "never", "again", "bed"]
    for row, position, piece in found.iter_rows():
        begin, end = tokens.spans[tokens.starts[row] + position]
        assert texts[row][begin:end] == piece


def test_who_explains_latents_is_told_what_they_promote(asked, dictionary, tmp_path):
    heard = []

    def answer(request):
        heard.append(request.messages[-1].text)
        return json.dumps({"description": "none"})

    with Scripted(answer) as llm:
        options = {**OPTIONS, "describer": "llm", "latents": str(SAYS), "output_units": 0, "control": False}
        describe_features(out=tmp_path / "study", dictionary=dictionary, llm=llm, **asked, **options)
    assert len(heard) == 1
    assert f'"{WORD}"' in heard[0]


@pytest.mark.parametrize(
    "scaling", [None, Scaling("layer_norm"), Scaling("constant_norm"), Scaling("layer_norm", False)]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_direction_is_what_one_more_of_the_activation_decodes_to(scaling, sign):
    torch.manual_seed(0)
    encoder, decoder, x = torch.randn(5, 8), torch.randn(5, 8), 3 * torch.randn(4, 8) + 1
    made = Dictionary(encoder, torch.zeros(5), decoder, torch.randn(8), ReLU(), scaling=scaling)
    codes, more = made.encode(x), torch.zeros(4, 5)
    more[codes.rows, codes.latents] = codes.values
    more[:, 2] += sign
    rows, latents = more.nonzero(as_tuple=True)
    change = made.decode(Codes(rows, latents, more[rows, latents]), x) - made.decode(codes, x)
    torch.testing.assert_close(direction_of(made, 2, sign)(x), change, rtol=1e-4, atol=1e-4)
