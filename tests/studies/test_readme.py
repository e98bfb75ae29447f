"""The README's commands run, and its Python does, on a small made study."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.main import get_command

import saywell
from saywell.cli import app, main
from saywell.units.models import wrap_model

README = Path(__file__).parents[2] / "README.md"
ABROAD = ("serve", "classes", "classify")
"""These wait for a browser or need a large model; what is tested of them is that the line parses."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)


def commands() -> list[list[str]]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [shlex.split(line, comments=True) for line in lines]


@pytest.fixture(scope="module")
def written(corpus, bert, tokenizer, encoder, tmp_path_factory):
    """A folder with the study that the README's first command makes, of small stand-ins."""
    folder = tmp_path_factory.mktemp("readme")
    corpus.select("text").write_csv(folder / "reviews.csv")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "saywell.studies.neurons.load_model", lambda name, **_: wrap_model(bert, tokenizer, name)
        )
        patch.setattr("saywell.resources.open_sentence_encoder", lambda *_, **__: encoder)
        patch.setattr(
            "saywell.studies.spine.write_report",
            lambda study: (study.path / "report.html").write_text("tested elsewhere"),
        )
        patch.chdir(folder)
        first = commands()[0]
        patch.setattr(sys, "argv", first)
        with pytest.raises(SystemExit) as done:
            main()
        assert not done.value.code
        yield folder


def test_every_command_is_one_of_saywells():
    assert len(commands()) > 8
    known = get_command(app)
    for name, *arguments in commands():
        assert name == "saywell"
        # Options and arguments are checked as they are when typed; nothing is run.
        command = known.commands[arguments[0]]  # type: ignore[attr-defined]
        command.make_context(arguments[0], arguments[1:])


@pytest.mark.parametrize(
    "command", [c for c in commands()[1:] if c[1] not in ABROAD and c[2] == "study"], ids=" ".join
)
def test_a_command_of_the_readme_runs(written, monkeypatch, capsys, command):
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit) as done:
        main()
    shown = capsys.readouterr()
    assert not done.value.code, shown.err
    assert shown.out or "--out" in command


def test_the_python_of_the_readme_runs(written, monkeypatch):
    study = saywell.Study(written / "study")
    monkeypatch.setattr(saywell, "describe_neurons", lambda *_, **__: study, raising=False)
    [python] = blocks("python")
    ran: dict = {}
    for line in python.splitlines():
        exec(line, ran)  # line by line, so that a failure names its line
    assert ran["study"] is study and eval("study.tidy()", ran).height > 0


def test_the_picture_is_there_and_small():
    [path] = re.findall(r"!\[.*?\]\((.*?)\)", README.read_text("utf-8"))
    assert (README.parent / path).stat().st_size < 200_000


def test_links_lead_somewhere():
    for path in re.findall(r"\]\(([^)#]+)\)", README.read_text("utf-8")):
        assert path.startswith("https://") or (README.parent / path).exists(), path
