"""What a person types first: `show`, `neuron`, `export`, `--help`, and typing errors."""

from __future__ import annotations

import errno
import json
import runpy
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import polars as pl
import pytest

from saywell import __version__
from saywell.cli import app, main
from saywell.cli.llm import print_plan
from saywell.data.examples import REJECTED
from saywell.exports.forms import FORMS
from saywell.exports.tables import as_csv
from saywell.report.formats import two
from saywell.scorers.skill import FALSE_DISCOVERY_RATE
from saywell.store.study import Study, write_study

HOSTILE = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    folder = tmp_path_factory.mktemp("studies")
    return {
        "neurons": HOSTILE["write_neurons"](folder / "here" / "neurons"),
        "classes": HOSTILE["write_classes"](folder / "here" / "classes"),
    }


@pytest.fixture
def cli(monkeypatch, capfd):
    """Run the command line on an 80-column terminal: exit code, output, complaints."""
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["saywell", *map(str, arguments)])
        with pytest.raises(SystemExit) as done:
            main()
        shown = capfd.readouterr()
        return done.value.code or 0, shown.out, shown.err

    return run


@pytest.mark.parametrize("kind", ["neurons", "classes"])
def test_show_opens_with_descriptions_and_keeps_to_the_terminal(cli, studies, kind):
    code, out, err = cli("show", studies[kind])
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert "verified descriptions" in lines[2]
    assert "Control: the best of what should fail." in " ".join(out.split())
    assert out.index("verified descriptions") < out.index("Verified: ")
    assert max(len(line) for line in lines[1:] if "page: " not in line) <= 80
    if kind == "neurons":
        units = pl.read_parquet(studies[kind] / "units.parquet")
        high, low = (units.filter(pl.col("sign") == sign).height for sign in (1, -1))
        assert f"{high + low} ffn units of" in out and f": {high} going high, {low} going low" in " ".join(
            out.split()
        )
    # No letter of the data commands the terminal or turns the words after it.
    assert not [c for c in out if c in "\x00\x1b\u202e"]


def test_show_marks_a_sentence_for_every_description(cli, studies):
    _, out, _ = cli("show", studies["neurons"], "--top", "2")
    lines = out.splitlines()
    assert lines[2].startswith("2 of ") and lines[4].startswith("   ") and "[" in lines[4]
    facts = json.loads(cli("show", studies["neurons"], "--json", "--top", "3")[1])
    assert len(facts["best"]) == 3 and facts["readers"][0]["reader"] == "tags"
    assert {"description", "readings", "exemplars", "verified_by"} <= set(facts["best"][0])


def test_a_class_is_shown_by_its_name_with_its_texts(cli, studies):
    code, out, _ = cli("neuron", studies["classes"], "robin")
    assert code == 0 and "a red breast" in out and "verified" in out
    code, _, err = cli("neuron", studies["classes"], "robyn")
    assert code == 2 and "did you mean 'robin'?" in err and err.count("\n") == 1
    shown = json.loads(cli("neuron", studies["classes"], "robin", "--json")[1])
    assert [len(side["texts"]) for side in shown["sides"] if side["pictures"]] == [2]


@pytest.mark.parametrize(
    ("form", "read"), [("csv", pl.read_csv), ("parquet", pl.read_parquet), ("jsonl", pl.read_ndjson)]
)
def test_export_writes_a_row_for_every_unit(cli, studies, tmp_path, form, read):
    path = tmp_path / f"table.{form}"
    code, out, _ = cli("export", studies["neurons"], "--to", form, "--out", path)
    assert (code, out) == (0, "")
    table = read(path)
    assert table.height == 80 and {"unit", "description", "verified_by", "example"} <= set(table.columns)
    if form != "parquet":
        assert cli("export", studies["neurons"], "--to", form)[1].encode() == path.read_bytes()


def test_a_spreadsheet_runs_no_cell():
    begins = ("=", "+", "-", "@", "\t", "\r", "\n", " =", "\u00a0+", "＝")
    cells = [f"{begin}1" for begin in begins] + ["a=1", "1", ""]
    written = pl.read_csv(as_csv(pl.DataFrame({"a": cells, "n": -1.0})))
    assert written["a"].to_list() == [f"'{cell}" for cell in cells[:-3]] + cells[-3:]
    assert (written["n"] == -1.0).all()


def test_an_unknown_form_is_refused(cli, studies, tmp_path):
    refused = cli("export", studies["neurons"], "--to", "xlsx")[2]
    assert "'xlsx'" in refused and all(name in refused for name in FORMS)
    wrong = cli("export", studies["neurons"], "--to", "csv", "--out", tmp_path)
    assert wrong[0] == 2 and "is a folder" in wrong[2]


def test_what_is_far_from_a_share_stays_short():
    assert [two(x) for x in (None, -0.001, 0.5, -1e60)] == ["–", "0.00", "0.50", "-1.0e+60"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "HERE/neurons", "--tpo", "3"], "no option '--tpo'; did you mean '--top'?"),
        (["shwo", "HERE/neurons"], "Did you mean 'show'?"),
        (["show"], "missing argument 'study'"),
        (["show", "HERE/neurons", "--top", "many"], "invalid value for '--top'"),
        (["show", "HERE/neuron"], "is not there; did you mean"),
        (["show", "HERE"], "studies in it: "),
        (["neuron", "HERE/neurons", "layer.0/41"], "did you mean 'layer."),
        (["verify", "HERE/neurons", "layer.0/41"], "did you mean 'layer."),
        (["plot", "HERE/neurons", "headlines"], "did you mean 'headline'?"),
        (["neurons", "x.csv", "--modle", "minilm"], "did you mean '--model'?"),
        (["neuron", "HERE/neurons", "zzz"], "no unit 'zzz'; its units are called like 'layer.0/0'"),
        (["calls", "HERE/neurons"], "asked no language model so far"),
    ],
)
def test_a_typing_error_is_one_line_with_the_nearest_right_one(cli, studies, arguments, words):
    here = str(studies["neurons"].parent)
    code, out, err = cli(*(argument.replace("HERE", here) for argument in arguments))
    assert (code, out) == (2, "") and words in err and err.count("\n") == 1


def test_where_nothing_is_verified_it_says_by_how_much_and_what_to_do(cli, tmp_path, put_tables):
    path = HOSTILE["write_neurons"](tmp_path / "none")
    scores = Study(path).table("scores").with_columns(status=pl.lit("not verified"), skill=-0.1)
    put_tables(path, scores=scores)
    assert "none does better than every floor" in " ".join(cli("show", path)[1].split())
    one = scores["unit"][7]
    nearly = pl.when(unit=one).then(pl.lit(0.3)).otherwise("skill")
    put_tables(path, scores=scores.with_columns(skill=nearly, q=pl.lit(0.21)))
    said = " ".join(cli("show", path)[1].split())
    assert f"1 does better than every floor, none surely enough. The nearest, {one}, has q" in said
    assert f"q 0.21 where {FALSE_DISCOVERY_RATE} or less is asked" in said and "more texts" in said


def test_ctrl_c_is_how_serving_ends(cli, studies, monkeypatch):
    pytest.importorskip("fastapi")
    from saywell.explorer import server

    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "serve_studies", interrupted)
    assert cli("serve", studies["neurons"], "--no-open") == (0, "", "")


@pytest.mark.parametrize(("cost", "said"), [(None, True), (0.5, False)])
def test_a_plan_of_unknown_cost_says_where_prices_go(capsys, cost, said):
    step = SimpleNamespace(
        step="tag", calls=3, cached=0, input_tokens=9, output_tokens=4, cost_usd=cost, guessed=False
    )
    print_plan(SimpleNamespace(of="3 texts", steps=[step]), json=False)
    assert ("prices.toml" in capsys.readouterr().out) is said


def stopped(path, error=None, command=("/a/bin/saywell", "neurons", "my texts.csv")):
    try:
        with write_study(path, kind="neurons", config={}, inputs={}, command=list(command)) as study:
            study.table(
                REJECTED,
                lambda: pl.DataFrame(schema={"row": pl.Int64, "reason": pl.String, "detail": pl.String}),
            )
            if error is None:
                return study
            raise error
    except BaseException as raised:
        if raised is not error:
            raise
    return None


@pytest.mark.parametrize(
    ("error", "why"),
    [(KeyboardInterrupt(), "interrupted"), (RuntimeError("no memory"), "RuntimeError: no memory")],
)
def test_a_stopped_study_says_why_how_far_and_what_next(cli, tmp_path, error, why):
    stopped(tmp_path / "s", error)
    code, out, _ = cli("show", tmp_path / "s")
    assert code == 0 and f"It stopped: {why}" in out and "Finished: rejected." in out
    assert "\n  saywell neurons 'my texts.csv'\n" in out


def test_a_running_study_is_told_from_a_killed_one(cli, tmp_path):
    with write_study(tmp_path / "s", kind="neurons", config={}, inputs={}):
        _, out, _ = cli("show", tmp_path / "s")
        assert "It is running now" in out and "goes on" not in out
        killed = (tmp_path / "s" / "study.json").read_bytes()
    (tmp_path / "s" / "study.json").write_bytes(killed)
    _, out, _ = cli("show", tmp_path / "s")
    assert "It was killed" in out and "same function is called again" in out


def test_a_finished_run_forgets_why_it_stopped(tmp_path):
    stopped(tmp_path / "s", KeyboardInterrupt())
    again = stopped(tmp_path / "s")
    assert again.manifest.status == "complete" and again.manifest.stopped_by is None


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_fault_of_the_machine_is_one_line_and_a_bug_keeps_its_traceback(cli, studies, monkeypatch, number):
    def fail(*_, **__):
        raise OSError(number, "Said so", "a/file")

    monkeypatch.setattr("saywell.store.study.Study.tidy", fail)
    assert cli("export", studies["neurons"], "--to", "csv")[::2] == (2, "saywell: said so: 'a/file'\n")
    monkeypatch.setattr("saywell.store.study.Study.tidy", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("export", studies["neurons"], "--to", "csv")


def test_every_command_has_help_of_80_columns(cli):
    names = [command.name or command.callback.__name__ for command in app.registered_commands]
    for arguments in ([], ["--help"], *([name, "--help"] for name in names)):
        code, out, err = cli(*arguments)
        assert max(map(len, (out + err).splitlines())) <= 80
        assert code == (0 if arguments else 2) and "Usage: saywell" in out + err
    assert cli("--version")[1] == f"saywell {__version__}\n"
    assert "..." not in cli("--help")[1].split("Commands:")[1]


def test_help_is_quick():
    spent = []
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "saywell", "--help"], check=True, capture_output=True)
        spent.append(time.perf_counter() - began)
    assert min(spent) < 1.0  # half a second where nothing else runs; the rest is for busy machines


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_figures_that_are_gone_are_no_lack_of_figures(cli, tmp_path, options):
    study = HOSTILE["write_neurons"](tmp_path / "s")
    assert Study(study).has("metrics.json")
    (study / "metrics.json").unlink()
    code, _, err = cli("show", study, *options)
    assert code == 2 and "metrics.json' is missing" in " ".join(err.split())
