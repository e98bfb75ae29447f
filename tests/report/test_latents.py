"""What is known of a latent on its card, on the page and in the terminal, by the tables that are there."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
from typer.testing import CliRunner

from saywell.cli import app
from saywell.report.page import write_report
from saywell.report.unit_cards import Around, unit_card
from saywell.store.study import Study

HOSTILE = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))
UNIT, OTHER = "layer.0/0", "layer.1/1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return HOSTILE["write_latents"](tmp_path_factory.mktemp("latents") / "s")


def test_a_card_has_what_the_tables_say_and_a_unit_they_do_not_name_has_none_of_it(folder):
    card = Study(folder).unit(UNIT)
    assert [(part.low, part.high, len(part.examples)) for part in card.ranges] == [
        (b / 2, b / 2 + 0.5, 2) for b in range(4)
    ]
    shown = [one.id for part in card.ranges for one in part.examples]
    near = [one.id for found in card.near_misses.values() for one in found]
    assert {*shown} == {"e3"} and {*near} == {"e6"}  # nothing that is scored on
    assert card.density == 0 and card.first.at_words["f1"] == 0.5
    assert card.latent.promotes[0] == (" the", 1.0) and card.latent.suppresses[0] == (" the", -1.0)
    assert [one.relation for one in card.latent.relations] == ["duplicate", "part", "whole"]
    assert card.latent.relations[0].text == Study(folder).unit(OTHER).description
    bare = Study(folder).unit("layer.2/2")
    assert (bare.ranges, bare.near_misses, bare.latent.relations, bare.latent.effects) == ((), {}, (), ())
    assert bare.density == 0.002


def test_the_card_as_a_page_says_it_in_words(folder):
    html = unit_card(Study(folder).unit(UNIT), Around()).html()
    for words in (
        "0.50 (0.50 to 0.50) of the 10 words that the description points at",
        "Over the whole range of its activation",
        "the token at which it peaks is here, and it does not fire",
        "␣the</bdi></code> +1.00",
        "Held at 2.50, its strongest activation, at all tokens of 8 held-out texts",
        "It acts on what comes next as well",
        "Near duplicates",
        "Split: these share out where it fires",
        "It fires in place of the latents of a first letter",
    ):
        assert words in html
    assert "<script" not in html and "<img" not in html


def test_page_and_terminal_show_latents_and_execute_nothing_of_theirs(folder, monkeypatch):
    page = write_report(Study(folder)).read_text()
    for words in (
        "explains a share of 0.80 (0.70 to 0.90) of the variance of 900 vectors",
        "How often they fire",
        "2 have a near duplicate, 1 are split by others",
        "at 20 % of 100 tokens whose letter a probe tells",
    ):
        assert words in page
    assert "<script>alert" not in page and "<img src=x" not in page and "\x00" not in page
    monkeypatch.setenv("COLUMNS", "80")
    printed = CliRunner().invoke(app, ["neuron", str(folder), UNIT])
    assert printed.exit_code == 0, printed.output
    for words in (
        "promotes “␣the” +1.00",
        "near duplicate layer.1/1",
        "split by",
        "near miss:",
        "of all tokens",
    ):
        assert words in " ".join(printed.stdout.split())
    assert max(map(len, printed.stdout.splitlines())) <= 80 and "\x00" not in printed.stdout
