"""The whole study on small real and tiny made models: right, resumable, honest about bad input."""

from __future__ import annotations

import copy
import json
import shutil

import polars as pl
import pytest
import torch

from saywell.errors import InputError, StudyError
from saywell.language_models import Scripted
from saywell.store.study import Study
from saywell.studies.audit import audit_study, verify_unit
from saywell.studies.neurons import describe_neurons


@pytest.fixture(scope="module")
def study(corpus, bert, tokenizer, encoder, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "s"
    return describe_neurons(
        corpus,
        bert,
        tokenizer=tokenizer,
        out=out,
        tags="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )


def tables(study: Study) -> dict[str, pl.DataFrame]:
    return {name: study.table(name) for name in study.manifest.tables}


def assert_same(first: Study, second: Study) -> None:
    assert first.manifest.tables.keys() == second.manifest.tables.keys()
    for name, table in tables(first).items():
        assert table.equals(second.table(name), null_equal=True), name
    assert first.headline() == second.headline()


def test_the_study_finds_what_the_neurons_respond_to(study):
    calibrated = next(m for m in study.headline() if m.name == "precision@2, enrichment, calibrated")
    assert calibrated.value > calibrated.controls["shuffled exemplars"]
    assert calibrated.value > calibrated.controls["most frequent"]
    assert set(calibrated.controls) == {"most frequent", "shuffled exemplars", "random weights"}
    assert calibrated.ceiling["best possible"] == pytest.approx(0.5)  # one gold topic each
    verified = study.scores.filter(status="verified")
    assert verified.height > 0
    assert (verified["skill_low"] > 0).all() and (verified["q"] <= 0.05).all()


def test_every_side_of_every_neuron_has_a_description_or_a_reason(study):
    assert study.descriptions.height == study.units.height == 2 * 64
    empty = study.descriptions.filter(selected=False)
    assert empty["status"].str.starts_with("no description: ").all()
    assert study.descriptions.filter(selected=True)["text"].str.len_chars().min() > 0


def test_evidence_is_an_exemplar_that_carries_the_descriptor(study):
    row = study.descriptions.filter(selected=True).row(0, named=True)
    tags = study.table("tags")
    own = study.exemplars.filter(unit=row["unit"], part="describe")["example"].to_list()
    for example in row["sources"]:
        assert example in own
        carried = tags.filter(example=example)["descriptor"].to_list()
        assert set(carried) & set(row["descriptors"])


def test_exemplars_fire_and_are_ranked(study):
    joined = study.exemplars.join(
        study.units.select("id", "sign", "threshold"), left_on="unit", right_on="id"
    )
    assert (joined["activation"] * joined["sign"] >= joined["threshold"] - 1e-6).all()
    first = study.exemplars.filter(unit="layer.0/0", part="describe").sort("rank")
    assert first["activation"].is_sorted(descending=True)
    splits = study.examples.select(example="id", actual="part")
    assert (
        study.exemplars.join(splits, on="example").select((pl.col("part") == pl.col("actual")).all()).item()
    )


def test_nothing_is_scored_on_what_it_was_described_on(study):
    described = set(study.exemplars.filter(part="describe")["example"])
    assert not described & set(study.examples.filter(part="score")["id"])
    assert study.scores["part"].unique().to_list() == ["score"]


def test_row_order_and_batch_size_change_nothing(study, corpus, bert, tokenizer, encoder, tmp_path):
    shuffled = corpus.sample(fraction=1.0, shuffle=True, seed=3)
    other = describe_neurons(
        shuffled,
        bert,
        tokenizer=tokenizer,
        out=tmp_path / "s",
        tags="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )
    for name in (
        "units",
        "exemplars",
        "associations",
        "descriptions",
        "scores",
        "floors",
        "contrasts",
        "counterexamples",
        "curves",
    ):
        assert study.table(name).equals(other.table(name), null_equal=True), name


STEPS = [
    "units.neurons.tokenize",
    "describers.descriptors.taggers.gold_tags",
    "units.neurons.run_pass",
    "studies.spine.unit_table",
    "studies.spine.strongest_of",
    "studies.spine.contrast_table",
    "studies.spine.evaluate",
    "studies.spine.description_table",
    "studies.spine.control_scores",
    "studies.neurons.curves.prediction_curves",
    "studies.spine.note_run",
    "studies.spine.write_report",
]


@pytest.mark.parametrize("steps", [STEPS[::2], STEPS[1::2]], ids=["even", "odd"])
def test_a_run_stopped_at_one_step_after_another_ends_with_the_same_tables(
    study, corpus, bert, tokenizer, encoder, tmp_path, monkeypatch, steps
):
    def stop(*arguments, **named):
        raise KeyboardInterrupt

    run = dict(
        tokenizer=tokenizer,
        out=tmp_path / "s",
        tags="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )
    for step in steps:
        with monkeypatch.context() as patched:
            patched.setattr(f"saywell.{step}", stop)
            with pytest.raises(KeyboardInterrupt):
                describe_neurons(corpus, bert, **run)
        if step != "units.neurons.tokenize":
            assert Study(tmp_path / "s").manifest.status == "stopped", step
    assert_same(study, describe_neurons(corpus, bert, **run))


def test_a_finished_study_is_not_computed_again(study, corpus, bert, tokenizer, encoder, monkeypatch):
    before = {path: path.stat().st_mtime_ns for path in study.path.glob("*.parquet")}
    again = describe_neurons(
        corpus,
        bert,
        tokenizer=tokenizer,
        out=study.path,
        tags="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )
    assert before == {path: path.stat().st_mtime_ns for path in study.path.glob("*.parquet")}
    assert_same(study, again)


def test_another_model_is_refused(study, corpus, bert, tokenizer, encoder, tmp_path):
    import copy

    other = copy.deepcopy(bert)
    with torch.no_grad():
        other.encoder.layer[0].output.dense.bias += 1
    with pytest.raises(StudyError, match="model: not the same content"):
        describe_neurons(
            corpus,
            other,
            tokenizer=tokenizer,
            out=study.path,
            tags="topic",
            describer=["enrichment"],
            encoder=encoder,
            top=20,
        )


def test_the_extractive_path_finds_planted_descriptors(corpus, bert, tokenizer, encoder, tmp_path):
    study = describe_neurons(
        corpus,
        bert,
        tokenizer=tokenizer,
        out=tmp_path / "s",
        gold="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )
    recovered = study.table("recovered")
    assert recovered["gold"].to_list() == ["battery", "food", "room"]
    assert recovered["found"].all()
    # Every sentence says its topic, so the encoder has nothing to add here.
    assert study.table("tags")["source"].unique().to_list() == ["lexical"]


def test_an_llm_goes_through_the_same_steps(corpus, bert, tokenizer, encoder, knower, tmp_path):
    (tmp_path / "s").mkdir()
    with Scripted(
        lambda request: knower(request.messages[-1].text), calls=tmp_path / "s" / "calls.sqlite"
    ) as llm:
        study = describe_neurons(
            corpus,
            bert,
            tokenizer=tokenizer,
            out=tmp_path / "s",
            gold="topic",
            describer=["enrichment"],
            llm=llm,
            llm_units=5,
            encoder=encoder,
            top=20,
        )
    assert sorted(study.table("descriptors")["text"]) == ["battery", "food", "room"]
    read = study.scores.filter(reader="detection")
    # This model reads as the tagger tags, so what it read of a sample estimates the score by tags.
    whole = study.scores.filter(reader="tags").join(read, on="unit", suffix="_read")
    assert whole.height == 5 and (whole["n_read"] == 60).all()
    assert ((whole["ci_low_read"] <= whole["value"]) & (whole["value"] <= whole["ci_high_read"])).all()
    assert set(study.table("floors").filter(reader="detection")["floor"]) == {
        "another unit",
        "always",
        "never",
    }
    assert (study.table("recovered")["value"] == 1).all()
    assert study.descriptions["llm"].unique().to_list() == ["scripted"]
    assert study.table("unanswered").height == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(text="txt"), "txt"),
        (dict(tags="labels"), "labels"),
        (dict(pool="median"), "pool='median' is not one of max, mean, cls, last"),
        (dict(threshold=0.0), "threshold=0.0 must be above 0"),
        (dict(top=1), "top=1 must be 3 or more"),
        (dict(tokenizer=None), "needs its tokenizer"),
        (dict(kind="mlp"), "kind='mlp' is not one of ffn, residual, attention-head"),
        (dict(layers=[5]), "no layer 5"),
        (dict(gold="topic"), "use one"),
    ],
)
def test_bad_options_are_one_clear_error_and_leave_no_study(
    corpus, bert, tokenizer, encoder, tmp_path, change, message
):
    run = dict(
        tokenizer=tokenizer, out=tmp_path / "s", tags="topic", describer=["enrichment"], encoder=encoder
    )
    with pytest.raises(InputError, match=message):
        describe_neurons(corpus, bert, **{**run, **change})
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("texts", [["one sentence"], ["the same"] * 50, []])
def test_too_few_texts_say_how_many_there_were(bert, tokenizer, encoder, tmp_path, texts):
    with pytest.raises(InputError, match="row"):
        describe_neurons(texts, bert, tokenizer=tokenizer, out=tmp_path / "s", encoder=encoder)


def test_a_folder_that_is_no_model_says_so(corpus, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="is not a model"):
        describe_neurons(corpus, str(tmp_path / "empty"), out=tmp_path / "s")
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot load"):
        describe_neurons(corpus, str(tmp_path / "empty"), out=tmp_path / "s")
    with pytest.raises(InputError, match="no such folder"):
        describe_neurons(corpus, "./nowhere", out=tmp_path / "s")


def test_a_model_with_nan_weights_names_the_sentence_and_keeps_what_was_done(
    corpus, bert, tokenizer, encoder, tmp_path
):
    import copy

    broken = copy.deepcopy(bert)
    with torch.no_grad():
        broken.embeddings.word_embeddings.weight[tokenizer.convert_tokens_to_ids("soup")] = torch.nan
    run = dict(
        tokenizer=tokenizer,
        out=tmp_path / "s",
        tags="topic",
        describer=["enrichment"],
        encoder=encoder,
        top=20,
    )
    with pytest.raises(InputError, match=r"NaN or infinite.*soup"):
        describe_neurons(corpus, broken, **run)
    assert Study(tmp_path / "s").examples.height == 300


@pytest.mark.slow
def test_stories_model_end_to_end(shared, tmp_path):
    texts = pl.read_parquet(shared / "data" / "restaurants.parquet").head(600)
    study = describe_neurons(
        texts, str(shared / "models" / "stories260k"), out=tmp_path / "s", tags="categories", top=20
    )
    assert study.units.height == 2 * 5 * 172
    assert study.manifest.status == "complete"
    for kind, units in (("residual", 5 * 64), ("attention-head", 5 * 8)):
        other = describe_neurons(
            texts,
            str(shared / "models" / "stories260k"),
            out=tmp_path / kind,
            tags="categories",
            kind=kind,
            top=20,
            random_control=False,
        )
        assert other.units.height == 2 * units


@pytest.mark.slow
def test_gold_tags_on_real_sentences_beat_every_control(shared, tmp_path):
    study = describe_neurons(
        str(shared / "data" / "restaurants.parquet"), "minilm", out=tmp_path / "s", tags="categories"
    )
    for figure in (
        "precision@2, enrichment, calibrated",
        "recall@2, enrichment, calibrated",
        "Jaccard, enrichment",
    ):
        m = next(m for m in study.headline() if m.name == figure)
        assert m.ci_low > max(m.controls.values()), figure
    shutil.rmtree(tmp_path / "s")


def test_the_audit_derives_every_figure_again(study, tmp_path):
    found = audit_study(study)
    assert found.filter(status="failed").is_empty(), found.filter(status="failed").rows()
    checks = set(found["check"])
    assert {f"figure {metric.name}" for metric in study.headline()} <= checks
    assert {"table scores derived again", "table exemplars derived again"} <= checks


def test_the_audit_notices_a_figure_a_score_and_a_leak_that_are_wrong(study, tmp_path):
    shutil.copytree(study.path, tmp_path / "s")
    path = tmp_path / "s"
    metrics = json.loads((path / "metrics.json").read_text())
    metrics[0]["value"] += 0.01
    (path / "metrics.json").write_text(json.dumps(metrics))
    scores = study.scores.with_columns(value=pl.col("value") + 0.01)
    scores.write_parquet(path / "scores.parquet")
    held_out = study.examples.filter(part="score")["id"][0]
    leaking = study.descriptions.with_columns(sources=pl.lit([held_out], dtype=pl.List(pl.String)))
    leaking.write_parquet(path / "descriptions.parquet")
    found = audit_study(Study(path)).filter(status="failed")
    assert {
        "file scores.parquet",
        "file descriptions.parquet",
        f"figure {metrics[0]['name']}",
        "table scores derived again",
        "sources of descriptions",
    } <= set(found["check"])


def test_one_unit_is_verified_claim_by_claim(study):
    unit = study.scores.filter("verifies")["unit"][0]
    found = verify_unit(study, unit)
    assert set(found["status"]) == {"ok"}
    claims = {"units, threshold", "exemplars", "associations", "scores, tags, skill"}
    assert claims <= set(found["claim"])
    with pytest.raises(InputError, match=r"no unit .layer\.9/9."):
        verify_unit(study, "layer.9/9")


def test_counterexamples_and_contrasts_are_what_they_say(study):
    units = {row["id"]: row for row in study.units.iter_rows(named=True)}
    split = dict(study.examples.select("id", "part").iter_rows())
    for name, part in (("counterexamples", "score"), ("contrasts", "describe")):
        rows = study.table(name)
        assert rows.height
        for row in rows.iter_rows(named=True):
            unit = units[row["unit"]]
            fires = unit["sign"] * row["activation"] >= unit["threshold"]
            assert fires == (row.get("kind") == "unforeseen")
            assert split[row["example"]] == part


def test_a_model_whose_units_never_change_is_a_finished_study(corpus, bert, tokenizer, tmp_path):
    constant = copy.deepcopy(bert)
    reads = constant.embeddings  # which sees the same in every token at every place
    for seen in (reads.word_embeddings, reads.position_embeddings, reads.token_type_embeddings):
        torch.nn.init.zeros_(seen.weight)
    torch.nn.init.normal_(reads.LayerNorm.bias)
    study = describe_neurons(
        corpus.head(120),
        constant,
        tokenizer=tokenizer,
        out=tmp_path / "s",
        tags="topic",
        describer=["enrichment"],
        top=20,
        random_control=False,
    )
    assert study.manifest.status == "complete"
    # Batches of other shapes round otherwise, so not every unit has one value to the last bit.
    states = set(study.units["state"])
    assert "constant" in states and "ok" not in states
    assert study.exemplars.is_empty() and study.scores.is_empty()
    told = study.descriptions.join(study.units.select(unit="id", state="state"), on="unit")
    assert all("same value" in s for s in told.filter(state="constant")["status"])
    assert all(s.startswith("no description") for s in told["status"])
