"""`saywell units`: its help says what it needs, and it says the same as the function."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

from saywell.cli import app
from saywell.errors import InputError
from saywell.studies.units import describe_units


@pytest.fixture
def cli(tmp_path, monkeypatch):
    """Run the command in a folder with some texts; what it printed, or its error."""
    monkeypatch.chdir(tmp_path)
    rows = [f"text {n} about {'soup' if n % 3 else 'rooms'}" for n in range(40)]
    pl.DataFrame({"text": rows, "stars": range(40)}).write_csv("texts.csv")
    np.save("a.npy", np.zeros((40, 2)))
    np.save("b.npy", np.zeros((39, 2)))

    def run(line):
        done = CliRunner().invoke(app, ["units", *line.split()], env={"COLUMNS": "80"})
        if isinstance(done.exception, SystemExit | None):
            return done.output
        assert isinstance(done.exception, InputError), done.exception
        return str(done.exception)

    return run


def test_help_says_in_one_screen_what_it_needs(cli):
    shown = cli("--help").splitlines()
    head = "\n".join(shown[: shown.index("Options:")])
    for needed in (
        "--activations FILE",
        "--column NAME",
        "--model M --module PATH --directions FILE",
        "--vocabulary",
    ):
        assert needed in head
    assert len(head.splitlines()) < 24 and max(map(len, shown)) <= 80


@pytest.mark.parametrize(
    ("line", "options"),
    [
        ("--activations b.npy", {"activations": "b.npy"}),
        ("--activations no.npy", {"activations": "no.npy"}),
        ("--activations a.npy --column stars", {"activations": "a.npy", "column": "stars"}),
        ("--activations a.npy --firing start", {"activations": "a.npy", "firing": "start"}),
        ("--activations a.npy --names texts.csv", {"activations": "a.npy", "names": "texts.csv"}),
        ("--column starss", {"column": "starss"}),
        ("--model minilm", {"model": "minilm"}),
        ("--directions a.npy --column stars", {"directions": "a.npy", "column": "stars"}),
        (
            "--column stars --tags text --vocabulary a.txt",
            {"column": "stars", "tags": "text", "vocabulary": "a.txt"},
        ),
    ],
)
@pytest.mark.parametrize("dry", [False, True])
def test_a_mistake_is_told_as_in_python_and_before_anything_is_read(cli, line, options, dry, monkeypatch):
    monkeypatch.setattr("saywell.resources.open_sentence_encoder", lambda name: pytest.fail("opened"))
    options = dict(options)
    said = cli(f"texts.csv --out s {line} {'--dry-run' * dry}")
    with pytest.raises(InputError) as caught:
        describe_units("texts.csv", options.pop("activations", None), out="t", **options)
    assert said == str(caught.value)
