"""The study folder: whole or not there, checked on write and read, one writer at a time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pytest

from saywell.data.examples import REJECTED as TABLE
from saywell.errors import SchemaError, StudyError
from saywell.store.study import STUDY_VERSION, Metric, Study, write_study
from saywell.store.table import Table
from saywell.studies.audit import audit_study

REJECTED = pl.DataFrame({"row": [1, 2], "reason": ["empty", "duplicate"], "detail": ["", "of 0"]})
RUN = dict(kind="neurons", config={"seed": 0, "top": 50}, inputs={"texts": "abc"})


def test_a_finished_step_is_read_and_not_made_again(tmp_path):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLE, lambda: REJECTED)
    with write_study(tmp_path / "s", **RUN) as study:
        assert study.table(TABLE, lambda: pytest.fail("made again")).equals(REJECTED)
    assert Study(tmp_path / "s").manifest.status == "complete"


def test_a_stopped_run_keeps_its_finished_steps(tmp_path):
    with pytest.raises(KeyboardInterrupt), write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLE, lambda: REJECTED)
        raise KeyboardInterrupt
    stopped = Study(tmp_path / "s")
    assert stopped.manifest.status == "stopped"
    assert stopped.table("rejected").equals(REJECTED)


def test_other_inputs_are_refused_and_both_are_shown(tmp_path):
    with write_study(tmp_path / "s", **RUN):
        pass
    other = {**RUN, "config": {"seed": 1, "top": 50}, "inputs": {"texts": "xyz"}}
    with pytest.raises(StudyError) as caught, write_study(tmp_path / "s", **other):
        pass
    message = str(caught.value)
    assert "seed: the study has 0, this run has 1" in message
    assert "texts: the study has 'abc', this run has 'xyz'" in message
    assert "top" not in message
    assert Study(tmp_path / "s").manifest.inputs == {"texts": "abc"}


@pytest.mark.parametrize(
    ("name", "said"), [("a.npy", "units: not the same content"), ("b.npy", "this run has 'b.npy'")]
)
def test_what_differs_is_said_once_and_no_fingerprint_is_shown(name, said, tmp_path):
    with write_study(tmp_path / "s", kind="units", config={"units": "a.npy"}, inputs={"units": "0" * 32}):
        pass
    other = dict(kind="units", config={"units": name}, inputs={"units": "1" * 32})
    with pytest.raises(StudyError, match=said) as caught, write_study(tmp_path / "s", **other):
        pass
    assert str(caught.value).count("units:") == 1 and "0" * 32 not in str(caught.value)


def test_a_folder_with_other_files_is_not_written_into(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StudyError, match="holds files but no study"), write_study(tmp_path, **RUN):
        pass
    with pytest.raises(StudyError, match="is a file"), write_study(tmp_path / "thesis.tex", **RUN):
        pass


def _hold(folder, held, release):
    with write_study(folder, **RUN):
        held.set()
        release.wait(30)


def test_two_processes_cannot_write_one_study(tmp_path):
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "s", held, release))
    other.start()
    assert held.wait(30)
    with pytest.raises(StudyError, match="another process is writing"), write_study(tmp_path / "s", **RUN):
        pass
    release.set()
    other.join(30)
    with write_study(tmp_path / "s", **RUN):
        pass


def test_a_killed_writer_leaves_no_lock_and_no_half_table(tmp_path):
    script = (
        "import os, signal, polars as pl\n"
        "from saywell.data.examples import REJECTED\nfrom saywell.store.study import write_study\n"
        f"with write_study({str(tmp_path / 's')!r}, kind='neurons', config={RUN['config']!r},"
        f" inputs={RUN['inputs']!r}) as study:\n"
        "    study.table(REJECTED, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    killed = subprocess.run([sys.executable, "-c", script], check=False, timeout=60)
    assert killed.returncode == -9
    with write_study(tmp_path / "s", **RUN) as study:
        assert study.table(TABLE, lambda: REJECTED).equals(REJECTED)
    assert not list((tmp_path / "s").glob("*.part"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (REJECTED.drop("reason"), "lacks the column 'reason'"),
        (REJECTED.with_columns(extra=1), "has a column 'extra'"),
        (REJECTED.cast({"row": pl.Int32}), "'row' of table 'rejected' is Int32, not Int64"),
        (pl.concat([REJECTED, REJECTED]), "more than one row for {'row': 1}"),
        (REJECTED.with_columns(row=pl.lit(None, dtype=pl.Int64)), "'row' of table 'rejected' has empty"),
    ],
)
def test_what_does_not_fit_the_schema_is_refused(tmp_path, table, message):
    with pytest.raises(SchemaError, match=message):
        TABLE.check(table)
    with pytest.raises(SchemaError), write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLE, lambda: table)
    assert not (tmp_path / "s" / "rejected.parquet").exists()


def test_rows_that_are_asked_for_are_those_of_the_whole_table_and_checked_like_it(tmp_path):
    whole, odd = tmp_path / "s [a-b] *", tmp_path / "s a x"  # a pattern, and what it would stand for
    with write_study(odd, **RUN) as study:
        study.table(TABLE, lambda: REJECTED.clear())
    with write_study(whole, **RUN) as study:
        study.table(TABLE, lambda: REJECTED)
    for asked in (TABLE, "rejected"):
        found = Study(whole).scan(asked).filter(pl.col("reason") == "duplicate").collect()
        assert found.equals(Study(whole).table(asked).filter(reason="duplicate")) and found.height == 1
    with pytest.raises(SchemaError, match="lacks the column 'colour'"):
        Study(whole).scan(replace(TABLE, columns={**TABLE.columns, "colour": pl.String}))
    with pytest.raises(SchemaError, match="has version 1"):
        Study(whole).scan(replace(TABLE, version=9))
    REJECTED.with_columns(row=7).write_parquet(whole / "rejected.parquet")
    with pytest.raises(StudyError, match="not what the study wrote"):
        Study(whole).scan("rejected")


def test_a_tampered_table_is_refused_on_read(tmp_path):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLE, lambda: REJECTED)
    REJECTED.drop("detail").write_parquet(tmp_path / "s" / "rejected.parquet")
    with pytest.raises(StudyError, match="is not what the study wrote"):
        Study(tmp_path / "s").table("rejected")


HOSTILE = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))
TABLES = HOSTILE["every_table"]()


@pytest.mark.parametrize("name", TABLES)
def test_every_table_opens_in_pandas_and_duckdb(tmp_path, name):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLES[name], TABLES[name].empty)
    path = tmp_path / "s" / f"{name}.parquet"
    columns = list(TABLES[name].columns)
    assert list(pd.read_parquet(path).columns) == columns
    assert duckdb.sql(f"select * from '{path}'").columns == columns


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: None, "has no study.json, so it is not a study"),
        (lambda folder: (folder / "study.json").write_text("{"), "is not a manifest"),
    ],
)
def test_what_is_no_study_says_so(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(StudyError, match=message):
        Study(tmp_path)


def test_a_study_of_a_later_format_is_not_misread(tmp_path):
    with write_study(tmp_path / "s", **RUN):
        pass
    manifest = (tmp_path / "s" / "study.json").read_text()
    (tmp_path / "s" / "study.json").write_text(
        manifest.replace(f'"schema_version": {STUDY_VERSION}', '"schema_version": 9', 1)
    )
    with pytest.raises(StudyError, match="has format 9"):
        Study(tmp_path / "s")


def test_figures_come_back_as_they_were_and_show_in_a_notebook(tmp_path):
    figures = [
        Metric(name="a <b>", value=0.5, ci_low=0.4, ci_high=0.6, n=3, of="texts", controls={"c": 0.1}),
        Metric(name="none", value=None, ci_low=None, ci_high=None, n=0, of="texts"),
    ]
    with write_study(tmp_path / "s", **RUN) as study:
        study.write_metrics(figures)
    stored = Study(tmp_path / "s")
    assert stored.headline() == figures
    assert stored.metrics["value"].to_list() == [0.5, None]
    card = stored._repr_html_()
    assert "a &lt;b&gt;" in card and "0.500 [0.400, 0.600]" in card and "no answer" in card


def test_a_manifest_without_end_and_a_pipe_for_a_table_are_told_at_once(tmp_path):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(TABLE, lambda: TABLE.empty())
    (tmp_path / "s" / "rejected.parquet").unlink()
    os.mkfifo(tmp_path / "s" / "rejected.parquet")
    with pytest.raises(StudyError, match=r"rejected\.parquet' is missing"):
        Study(tmp_path / "s").table("rejected")
    found = audit_study(Study(tmp_path / "s")).filter(status="failed")
    assert "file rejected.parquet" in found["check"].to_list()
    os.truncate(tmp_path / "s" / "study.json", 2**40)
    with pytest.raises(StudyError, match="is too large"):
        Study(tmp_path / "s")


@pytest.mark.parametrize("content", ["1", "[" * 100_000, "[3]", "no JSON"])
def test_figures_that_are_none_are_named_though_the_hash_is_theirs(tmp_path, content):
    with write_study(tmp_path / "s", **RUN) as study:
        study.again("metrics.json", lambda path: path.write_text(content))
    with pytest.raises(StudyError, match="does not hold the figures of a study"):
        Study(tmp_path / "s").headline()


MINE = Table(
    "mine", {"who": pl.String, "n": pl.Int64, "more": pl.List(pl.String)}, ("who",), frozenset({"more"})
)


def test_whoever_makes_a_table_declares_it_and_the_study_says_what_it_holds(tmp_path):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(MINE, lambda: MINE.frame([("a", 1, None), ("b", 2, ["x"])]).drop("more"))
        with pytest.raises(SchemaError, match="'n' of table 'mine' is String, not Int64"):
            study.step("again", lambda: (pl.DataFrame({"who": ["a"], "n": ["1"]}),), tables=(MINE,))
    with write_study(tmp_path / "s", **RUN) as study:
        assert study.table(MINE, lambda: pytest.fail("made again"))["n"].to_list() == [1, 2]
    stored = Study(tmp_path / "s").manifest.tables["mine"]
    assert (stored.columns, stored.key) == ({"who": "String", "n": "Int64"}, ["who"])
    assert Study(tmp_path / "s").table("mine").equals(Study(tmp_path / "s").table(MINE))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pl.DataFrame({"who": ["a"]}), "lacks the column 'n'"),
        (pl.DataFrame({"who": ["a"], "n": [1], "of": [1]}), "has a column 'of'"),
        (pl.DataFrame({"who": ["a", "a"], "n": [1, 2]}), "more than one row for {'who': 'a'}"),
        (pl.DataFrame({"who": [b"a"], "n": [1]}), "'who' of table 'mine' is Binary, not String"),
    ],
)
def test_a_study_that_is_whole_and_odd_is_one_error_to_whoever_relies_on_the_table(
    tmp_path, put_tables, table, message
):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(MINE, MINE.empty)
    put_tables(tmp_path / "s", mine=table)
    with pytest.raises(SchemaError, match=message):
        Study(tmp_path / "s").table(MINE)


def test_a_manifest_that_misnames_columns_or_keys_is_one_error(tmp_path):
    for key, columns in ((["where"], {"who": "String", "n": "Int64"}), (["who"], {"who": "Int64"})):
        with write_study(tmp_path / key[0], **RUN) as study:
            study.table(MINE, lambda: MINE.empty().drop("more"))
            study.manifest.tables["mine"].key = key
            study.manifest.tables["mine"].columns = columns
        with pytest.raises(SchemaError, match=r"lacks the column .where.|study\.json says"):
            Study(tmp_path / key[0]).table("mine")


def test_a_table_of_another_version_is_not_misread(tmp_path):
    with write_study(tmp_path / "s", **RUN) as study:
        study.table(MINE, MINE.empty)
    with pytest.raises(SchemaError, match="has version 1, this saywell reads 2"):
        Study(tmp_path / "s").table(replace(MINE, version=2))
