"""Studies that are read by how surprised a causal language model is."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

from saywell.errors import InputError
from saywell.studies.exam import run_exam
from saywell.studies.neurons import describe_neurons, plan_neurons
from saywell.studies.units import describe_units

sys.path.append(str(Path(__file__).parents[1]))
from tiny_causal import letter_tokenizer, tiny


@pytest.fixture(scope="module")
def letters():
    return letter_tokenizer()


def test_neurons_of_a_causal_model_are_read_by_itself_which_only_supports(
    letters, corpus, encoder, tmp_path, bert, tokenizer
):
    options = {"reader": ["lexical", "surprisal"], "llm_units": 2, "describer": ["extractive"], "layers": [0]}
    options |= {"top": 5, "random_control": False, "encoder": encoder}
    gpt, corpus = tiny("gpt2", letters), corpus.head(120)
    study = describe_neurons(corpus, gpt, tokenizer=letters, out=tmp_path / "s", **options)
    read = study.table("scores").filter(reader="surprisal")
    assert 1 <= read["unit"].n_unique() <= 2 and not read["decides"].any()
    config = study.manifest.config
    assert config["surprisal_model"] == "GPT2LMHeadModel" and config["shared"] == ["surprisal"]
    # An encoder has to name another, and nothing was begun.
    with pytest.raises(InputError, match="--surprisal-model"):
        describe_neurons(corpus, bert, tokenizer=tokenizer, out=tmp_path / "b", **options)
    assert not (tmp_path / "b" / "study.json").exists()
    with pytest.raises(InputError, match="--llm-units"):
        describe_neurons(corpus, gpt, tokenizer=letters, out=tmp_path / "n", **{**options, "llm_units": 0})
    with pytest.raises(InputError, match="nobody asks"):
        plan_neurons(corpus, gpt, tokenizer=letters, surprisal_model="x")


def test_units_of_ones_own_and_an_exam_are_read_by_a_model_that_is_named(letters, corpus, encoder, tmp_path):
    tiny("llama", letters).save_pretrained(tmp_path / "llama")
    letters.save_pretrained(tmp_path / "llama")
    named = {"surprisal_model": str(tmp_path / "llama"), "reader": ["surprisal"], "describer": ["extractive"]}
    table = corpus.select("text", z=pl.col("text").str.contains("soup").cast(pl.Float64))
    study = describe_units(
        table, column="z", out=tmp_path / "u", llm_units=1, control=False, encoder=encoder, **named
    )
    assert study.table("scores").filter(reader="surprisal")["decides"].all()
    with pytest.raises(InputError, match="--surprisal-model"):
        describe_units(
            table, column="z", out=tmp_path / "v", llm_units=1, reader=["surprisal"], encoder=encoder
        )
    rows = [
        (
            f"{'zzzz' if n % 2 else 'soup'} {'abcdefgh'[n % 8]} {n * 7919}",
            n % 2,
            ("train", "val", "test")[n % 3],
        )
        for n in range(60)
    ]
    task = pl.DataFrame(rows, schema=["text", "label", "split"], orient="row")
    task = task.with_columns(task=pl.lit("z"), gold_description=pl.lit("zzzz"))
    task.write_parquet(tmp_path / "tasks.parquet")
    exam = run_exam(tasks=tmp_path / "tasks.parquet", encoder=encoder, **named)
    assert exam.summary.filter(reader="surprisal")["describer"].to_list() == [
        "true-description",
        "extractive",
    ]
