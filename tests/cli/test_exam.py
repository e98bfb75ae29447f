from __future__ import annotations

import json

import polars as pl
import pytest

from saywell.cli.exam import print_exam
from saywell.errors import InputError
from saywell.studies.exam import Exam, run_exam
from saywell.studies.exam.summary import summarize


@pytest.fixture
def result():
    """Two describers, a unit that one recovers, one whose rule a claim says, and one without a rule."""
    rows = [
        ("a [bold]describer[/]", "w", "word", "x", 0.2, 0.3, 0.1, "not verified", None, None),
        ("none", "w", "word", "", None, None, 0.0, "no description", None, None),
        ("a [bold]describer[/]", "u", "topic", "soup", 0.9, 1.0, 0.9, "verified", True, False),
        ("a [bold]describer[/]", "n", "noise", "x", 0.2, 0.3, None, "not verified", None, None),
        ("none", "u", "topic", "", None, None, 0.0, "no description", False, None),
        ("none", "n", "noise", "", None, None, None, "no description", None, None),
    ]
    columns = "describer unit kind text value stated rule_f1 status recovered off_rule".split()
    answers = pl.DataFrame(rows, schema=columns, orient="row").with_columns(
        reader=pl.lit("words"),
        localised=pl.when(describer="a [bold]describer[/]", kind="word").then(0.75),
        beyond=pl.when(pl.col("kind") != "noise").then(pl.col("kind") == "topic"),
        always_f1=pl.when(pl.col("kind") != "noise").then(0.1),
        readable=pl.when(pl.col("kind") != "noise").then(pl.col("kind") == "topic"),
    )
    costs = pl.DataFrame({"describer": ["none"], "calls": [0], "seconds": [0.1]})
    return Exam(pl.DataFrame(), answers, summarize(answers, 0), costs, pl.DataFrame())


def test_a_line_per_describer_in_80_columns(result, capsys):
    print_exam(result, json=False)
    out = capsys.readouterr().out
    assert "2 units with a known truth, 1 that follow no rule" in out
    assert (
        "100 (3–100)" in out
        and "1 of 2 true descriptions are verified by words" in out
        and "[bold]" in out
        and "+0.10" in out
    )
    assert "the words that a rule is about: a [bold]describer[/] 75 % " in " ".join(out.split())
    alone = "F1 of the 1 whose rule no claim says exactly: a [bold]describer[/] 0.90, none 0.00"
    assert alone in " ".join(out.split())
    assert max(map(len, out.splitlines())) <= 80


def test_json(result, capsys):
    print_exam(result, json=True)
    first, second = json.loads(capsys.readouterr().out)
    assert first["recovered"] == 1 and first["false"] == 0 and first["calls"] is None
    assert (first["beyond"], first["f1_beyond"], first["recovered_beyond"]) == (1, 0.9, 1.0)
    assert second["recovered"] == 0 and second["bias"] is None


def test_choices_that_do_not_go_together(tmp_path):
    with pytest.raises(InputError, match=r"give out \(--out FOLDER\)"):
        run_exam(llm="ollama:x")
    with pytest.raises(InputError, match="give one of them"):
        run_exam(tasks=tmp_path, texts="x")


@pytest.mark.parametrize(
    "given", [{"reader": "lexical"}, {"texts": "x"}, {"tags": "x"}, {"llm": "ollama:x"}, {"limit": 3}]
)
def test_what_is_for_texts_is_refused_with_images(given):
    ((name, value),) = given.items()
    with pytest.raises(InputError, match=rf"{name}=.*{value}.* \(--{name}\) is for exams of .*tasks|texts"):
        run_exam(images=True, **given)
