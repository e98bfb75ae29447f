"""`saywell plot`, `saywell audit` and `saywell verify` on a study made here."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from saywell.cli import app
from saywell.store.study import Study
from saywell.studies.audit import agrees, audit_study, compare_tables

HOSTILE = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return {
        "neurons": HOSTILE["write_neurons"](folder / "n"),
        "classes": HOSTILE["write_classes"](folder / "c"),
    }


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.parametrize("kind", ["neurons", "classes"])
def test_every_plot_that_is_listed_can_be_saved(studies, kind, tmp_path):
    names = run("plot", studies[kind]).stdout.splitlines()
    assert "headline" in names
    for number, name in enumerate(names):
        for suffix, starts in ((".svg", b"<svg"), (".png", b"\x89PNG")):
            path = tmp_path / f"{number}{suffix}"
            assert run("plot", studies[kind], name, "--out", path).exit_code == 0
            assert path.read_bytes().startswith(starts)
        drawn = (tmp_path / f"{number}.svg").read_text("utf-8")
        assert "<script" not in drawn and "currentColor" not in drawn


def test_an_unknown_plot_or_ending_is_refused(studies, tmp_path):
    wrong = run("plot", studies["neurons"], "nonsense")
    assert "no plot 'nonsense'" in str(wrong.exception)
    wrong = run("plot", studies["neurons"], "headline", "--out", tmp_path / "x.pdf")
    assert "must end in .svg or .png" in str(wrong.exception)


def test_a_changed_file_fails_the_audit(studies, tmp_path):
    path = HOSTILE["write_classes"](tmp_path / "c")
    study = Study(path)
    name = next(iter(study.manifest.tables))
    before = audit_study(study).filter(check=f"file {name}.parquet")
    assert before["status"].to_list() == ["ok"]
    study.table(name).head(1).write_parquet(path / f"{name}.parquet")
    after = audit_study(study).filter(check=f"file {name}.parquet")
    assert after["status"].to_list() == ["failed"]
    ran = run("audit", path, "--json")
    assert ran.exit_code == 1
    assert any(row["status"] == "failed" for row in json.loads(ran.stdout))


def test_tables_agree_up_to_rounding_and_order():
    stored = pl.DataFrame({"unit": ["a", "b"], "value": [0.1 + 0.2, None]})
    again = pl.DataFrame({"value": [None, 0.3], "unit": ["b", "a"]})
    assert compare_tables("t", stored, again, ("unit",))[1] == "ok"
    other = again.with_columns(value=pl.Series([None, 0.31]))
    _, status, detail = compare_tables("t", stored, other, ("unit",))
    assert (status, "a: value is" in detail) == ("failed", True)
    assert compare_tables("t", stored, again.head(1), ("unit",))[1] == "failed"
    assert agrees(float("nan"), float("nan")) and not agrees(1.0, None)
