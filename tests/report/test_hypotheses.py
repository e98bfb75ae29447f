"""What a page says of hypotheses, in sentences that a manager can read, and what a sceptic asks."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import asdict, replace
from pathlib import Path

import polars as pl
import pytest

from saywell.cli.show import print_study
from saywell.report.card import StudyRows
from saywell.report.hypotheses import (
    SECTIONS,
    Findings,
    chance,
    opening,
    powers,
    rater_section,
    raters,
    together,
)
from saywell.report.hypothesis_words import Hypothesis, in_short, size, subject
from saywell.report.page import write_report
from saywell.report.parts import visible
from saywell.store.study import Study
from saywell.studies.hypotheses.tables import BY_RATER, HYPOTHESES, JOINT, POWER, RATERS, SHUFFLED

FIXTURES = runpy.run_path(str(Path(__file__).parent.parent / "hypothesis_studies.py"))
HOSTILE = ("<script>alert(1)</script>", "photo\u202egpj.exe {{7*7}}")
STARS = Hypothesis(
    hypothesis="h1",
    unit="s1",
    text='the word "refund"',
    claim='word("refund")',
    found_by="claims",
    reader="claims",
    outcome="stars",
    unit_of_effect="stars",
    direction=-1,
    n=1750,
    holds=210,
    share=0.12,
    mean_with=3.12,
    mean_without=4.04,
    effect=-0.9,
    ci_low=-1.1,
    ci_high=-0.7,
    effect_alone=-0.92,
    ci_low_alone=-1.12,
    ci_high_alone=-0.72,
    covariates=("length",),
    at_length=None,
    ci_low_at_length=None,
    ci_high_at_length=None,
    p=1e-9,
    q=1e-8,
    p_bonferroni=4e-8,
    by_permutation=False,
    status="verified",
    order=1,
    repeats="",
    pairs=False,
)
LABEL = replace(
    STARS,
    **{"outcome": "label=Outdoor", "unit_of_effect": "", "effect": 0.22, "ci_low": 0.18, "ci_high": 0.26},
    **{"effect_alone": None, "covariates": (), "mean_with": 0.34, "mean_without": 0.12, "share": 0.0042},
)
PAIR = replace(
    LABEL, outcome="preferred", pairs=True, effect=0.11, ci_low=0.071, ci_high=0.149, mean_with=0.61
)


@pytest.mark.parametrize(
    ("one", "sentence"),
    [
        (
            STARS,
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), the same at equal length;'
            " 12 % of texts.",
        ),
        (
            replace(STARS, effect_alone=-1.05),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), much the same at equal length;'
            " 12 % of texts.",
        ),
        (
            replace(STARS, effect=-0.6, ci_low=-0.8, ci_high=-0.4),
            'Texts with the word "refund" have 0.6 stars less (0.4 to 0.8) at equal length, 0.9 less where'
            " length may differ; 12 % of texts.",
        ),
        (
            replace(
                STARS, effect_alone=0.3, ci_low_alone=0.1, ci_high_alone=0.5, covariates=("shop", "length")
            ),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1) at equal shop and length, though'
            " 0.3 more where shop and length may differ; 12 % of texts.",
        ),
        (
            replace(STARS, effect_alone=0.01, ci_low_alone=-0.2, ci_high_alone=0.2, covariates=tuple("abcd")),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1) at equal 4 covariates, though no'
            " clear difference where 4 covariates may differ; 12 % of texts.",
        ),
        (
            replace(
                STARS, effect=1234.4, ci_low=1100.2, ci_high=1368.6, covariates=(), unit_of_effect="clicks"
            ),
            'Texts with the word "refund" have 1,234 clicks more (1,100 to 1,369); 12 % of texts.',
        ),
        (
            replace(STARS, covariates=(), at_length=-0.9, ci_low_at_length=-1.1, ci_high_at_length=-0.7),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), the same at equal length;'
            " 12 % of texts.",
        ),
        (
            replace(STARS, covariates=(), at_length=-0.1, ci_low_at_length=-0.3, ci_high_at_length=0.1),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), with no clear difference at equal'
            " length; 12 % of texts.",
        ),
        (
            replace(STARS, covariates=(), at_length=0.4, ci_low_at_length=0.3, ci_high_at_length=0.5),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1), though 0.4 more at equal length;'
            " 12 % of texts.",
        ),
        (
            replace(
                STARS, unit_of_effect="happiness", effect_alone=-1.4, effect=-0.3, ci_low=-0.6, ci_high=-0.04
            ),
            'Texts with the word "refund" are 0.30 lower in happiness (0.04 to 0.60) at equal length, 1.40'
            " lower where length may differ; 12 % of texts.",
        ),
        (
            replace(
                STARS, unit_of_effect="price", status="not shown", effect=-0.1, ci_low=-0.34, ci_high=0.14
            ),
            'Texts with the word "refund" were not shown to differ: 0.1 lower in price (0.3 lower to 0.1'
            " higher); 12 % of texts.",
        ),
        (
            LABEL,
            'Texts with the word "refund" are 22 percentage points more often “label=Outdoor” (18 to 26);'
            " 0.42 % of texts.",
        ),
        (
            PAIR,
            'Texts with the word "refund" are favoured in 61 % of pairs with a text that is not like that'
            " (57 to 65 %; half would be chance); 0.42 % of pairs.",
        ),
        (
            replace(PAIR, covariates=("length",), effect_alone=0.2),
            'Texts with the word "refund" are favoured in 61 % of pairs with a text that is not like that'
            " (57 to 65 %; half would be chance) at equal length, in 70 % where length may differ; 0.42 % of"
            " pairs.",
        ),
        (
            replace(PAIR, at_length=0.05, ci_low_at_length=0.01, ci_high_at_length=0.09, effect_alone=0.11),
            'Texts with the word "refund" are favoured in 61 % of pairs with a text that is not like that'
            " (57 to 65 %; half would be chance), in 55 % at equal length; 0.42 % of pairs.",
        ),
        (
            replace(STARS, status="not shown", effect=-0.1, ci_low=-0.34, ci_high=0.14),
            'Texts with the word "refund" were not shown to differ: 0.1 stars less (0.3 less to 0.1 more);'
            " 12 % of texts.",
        ),
        (
            replace(STARS, status="the other way"),
            'Texts with the word "refund" have 0.9 stars less (0.7 to 1.1): the other way than where it was'
            " found.",
        ),
        (
            replace(STARS, status="not told apart", p=None, covariates=("length", "shop")),
            'Texts with the word "refund" cannot be told apart from length and shop; 12 % of texts.',
        ),
        (
            replace(STARS, status="too few", holds=3),
            'Texts with the word "refund" are too few to say anything: 3 of 1,750 texts.',
        ),
    ],
)
def test_a_hypothesis_is_a_plain_sentence(one, sentence):
    assert one.sentence == sentence


@pytest.mark.parametrize(
    ("text", "claim", "texts"),
    [
        ("texts about refunds", 'like("refunds", 0.4)', "texts about refunds"),
        ("question marks", 'mark("?")', "texts with question marks"),
        (
            'the word "off", but not in texts with a positive tone',
            'word("off") and not feels("positive")',
            'texts with the word "off", but not those with a positive tone',
        ),
        ("complains about the battery", "", "texts described as “complains about the battery”"),
        ("it is fine", "no claim (", "texts described as “it is fine”"),
    ],
)
def test_a_statement_names_the_texts_of_which_it_holds(text, claim, texts):
    assert subject(text, claim) == texts


def test_what_was_found_is_summed_up_in_a_line():
    others = [
        replace(STARS, hypothesis="h2", repeats="h1"),
        replace(STARS, hypothesis="h3", status="not shown"),
    ]
    assert in_short([STARS, *others]).startswith("One thing in the texts goes with stars. 3 hypotheses were")
    assert in_short([STARS, PAIR]).startswith("2 things in the texts go with stars and preferred.")
    assert in_short(others).startswith("Nothing in the texts was shown to go with stars.")
    assert in_short([PAIR]).startswith(
        "One thing in the texts goes with being favoured. One hypothesis was put"
    )


@pytest.fixture(scope="module", params=[False, True], ids=["texts", "pairs"])
def study(request, tmp_path_factory) -> Study:
    path = tmp_path_factory.mktemp("hypotheses") / "study"
    return Study(FIXTURES["write_hypotheses"](path, pairs=request.param, words=HOSTILE))


def test_the_page_begins_with_what_was_found_and_says_how_sure_it_is(study):
    html = write_report(study).read_text("utf-8")
    findings = Findings(StudyRows(study))
    shown = findings.shown()
    assert shown
    places = [
        html.index(words) for words in ("<h1>", "with nothing to find", 'id="h-tested"', 'id="h-joint"')
    ]
    assert places == sorted(places)
    above = html[: html.index('class="tiles"')]
    text = re.sub(r"<style>.*?</style>|<[^>]+>", "", above)
    for one in shown:
        assert f'id="{one.hypothesis}"' in above
    assert not re.search(r"\b(q|AUC|R2|Bonferroni|logistic|regression|F1)\b", text)
    assert "<script>alert" not in html
    assert "\u202e" not in html
    assert ("What differs, and what is favoured" in html) == findings.all[0].pairs
    assert html.count('data-verdict="verified"') == sum(one.verified for one in findings.all)


def test_evidence_is_held_out_and_goes_the_way_it_is_said_to(study):
    part = dict(study.examples.select("id", "part").iter_rows())
    findings = Findings(StudyRows(study))
    one = next(one for one in findings.shown() if one.claim)
    for_it, against = (findings.evidence[one.hypothesis, side] for side in ("for", "against"))
    assert (len(for_it), len(against)) == (3, 2)
    assert {part[shown.example.id] for shown in (*for_it, *against)} == {"score"}
    values = [[one.direction * shown.example.value for shown in side] for side in (for_it, against)]
    assert min(values[0]) > max(values[1])
    said = one.claim.split('"')[1]
    assert {shown.example.marked().casefold().count(f"[{said}]") for shown in for_it} == {1}
    assert all((shown.other is not None) == one.pairs for shown in for_it)


def test_a_unit_card_shows_its_hypothesis(study):
    hypothesis = Findings(StudyRows(study)).all[0]
    card = study.unit(hypothesis.unit)
    assert card.hypothesis == hypothesis
    assert card.to_dict()["hypothesis"]["status"] == hypothesis.status
    assert study.unit("s15").hypothesis is not None


def test_the_terminal_says_the_same_in_80_columns(study, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    print_study(study, json=False, top=1)
    out = capsys.readouterr().out
    said, findings = " ".join(out.split()), Findings(StudyRows(study))
    first, *others = findings.shown()
    assert max(len(line.rstrip()) for line in out.splitlines()[1:] if "page: " not in line) <= 80
    assert re.sub(r"\s+", " ", visible(first.sentence)) in said
    assert f"and {len(others)} more (--top {len(others) + 1})." in said
    assert said.index(first.sentence[:20]) < said.index("Could it be chance?") < said.index("Bonferroni")
    assert "\u202e" not in out
    print_study(study, json=True)
    told = json.loads(capsys.readouterr().out)["hypotheses"]
    assert [row["sentence"] for row in told] == [one.sentence for one in findings.all]


@pytest.mark.parametrize(
    ("least", "begins"),
    [(0.4, "What could have been missed (stars): "), (1.4, "800 texts are too few to say much (stars): ")],
)
def test_a_page_says_what_so_many_texts_could_have_shown(least, begins):
    rows = [("stars", "stars", 800, 40, share, least / share / 10, 0.2, 3600) for share in (0.02, 0.1)]
    findings = Findings(Given({"power": POWER.frame(rows), "hypotheses": frame_of(STARS)}))
    (said,) = powers(findings)
    assert said == (
        f"{begins}in four studies of five, 800 texts show a difference of {5 * least:.2g} stars in what is true"
        f" of 2 % of them and {least} stars in what is true of 10 %. One of 0.2 stars in what is true of 10 %"
        " would take about 3,600."
    )


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (332.4, "price", "330 in price"),
        (1234567.0, "clicks", "1,200,000 clicks"),
        (0.0123, "score", "0.012 in score"),
        (0.074, "", "7.4 percentage points"),
    ],
)
def test_sizes_have_two_digits_and_no_exponent(value, unit, said):
    assert size(value, unit) == said


def test_a_page_says_where_nothing_could_have_been_shown():
    leasts = ((0.02, None), (0.1, 0.3))
    rows = [("label=Outdoor", "", 90, 40, share, least, 0.2, 360) for share, least in leasts]
    (said,) = powers(Findings(Given({"power": POWER.frame(rows), "hypotheses": frame_of(LABEL)})))
    assert said == (
        "What could have been missed (label=Outdoor): in four studies of five, 90 texts show a difference of 30"
        " percentage points in what is true of 10 % of them, and none, however large, in what is true of 2 %."
        " One of 20 percentage points in what is true of 10 % would take about 360."
    )


def test_too_few_to_say_anything_is_said_in_the_outcome_s_unit_with_no_hypothesis():
    rows = [("stars", "stars", 11, 0, share, None, 0.7, 386) for share in (0.02, 0.1)]
    (said,) = powers(Findings(Given({"power": POWER.frame(rows), "hypotheses": HYPOTHESES.empty()})))
    assert said.startswith("11 texts are too few to say anything (stars): ") and "One of 0.7 stars in" in said


def test_a_study_whose_power_has_no_unit_is_read():
    table = POWER.frame([("stars", "", 90, 40, 0.1, 0.3, 0.2, 360)]).drop("unit_of_effect")
    (said,) = powers(Findings(Given({"power": table, "hypotheses": frame_of(STARS)})))
    assert "0.3 stars" in said


def test_models_of_an_outcome_with_one_value_are_not_spoken_of():
    models = ("verified", "probe", "length")
    rows = [("rare", model, "AUC", None, None, None, 5000, 1) for model in models]
    assert not [*together(Findings(Given({"joint": JOINT.frame(rows), "hypotheses": HYPOTHESES.empty()})))]


@pytest.mark.parametrize(("found", "says"), [(0, "none of these searches"), (2, "2 of these searches")])
def test_a_page_says_what_is_found_with_nothing_to_find(found, says):
    rows = [(n, 40, int(n < found), 0) for n in range(20)]
    (said,) = chance(Findings(Given({"shuffled_targets": SHUFFLED.frame(rows)})))
    assert says in said


def test_a_search_that_found_nothing_to_test_says_so():
    findings = Findings(Given({"hypotheses": HYPOTHESES.empty()}))
    assert "Nothing was put to the test: " in opening(findings).html()
    assert not [make for *_, make in SECTIONS if make(findings) is not None]


@pytest.mark.parametrize(("low", "says"), [(0.01, "Raters differ in"), (-0.01, "Nothing shows that raters")])
def test_a_page_says_whether_raters_differ(low, says):
    row = ("stars", "weights", 0.6, 0.02, low, 0.03, "R2", 0.3, 400)
    (said,) = raters(Findings(Given({"by_rater": BY_RATER.frame([row])})))
    assert said.startswith(says)


@pytest.mark.parametrize(("weight", "rows"), [(0.504, 0), (0.52, 2)])
def test_weights_of_raters_who_do_not_differ_are_not_listed(weight, rows):
    of = [(rater, "h1", 9, own, 0.1, 0.9, 0.5) for rater, own in (("ann", 0.5), ("bob", weight))]
    section = rater_section(Findings(Given({"raters": RATERS.frame(of), "by_rater": BY_RATER.empty()})))
    assert section is not None and len(re.findall("<bdi>(ann|bob)", section.html())) == rows


def test_parts_whose_tables_are_not_there_are_left_out():
    findings = Findings(Given({"hypotheses": frame_of(STARS)}))
    assert STARS.sentence[:20] in opening(findings).html()
    assert [name for name, *_, make in SECTIONS if make(findings) is not None] == ["tested"]
    assert not [*chance(findings), *powers(findings), *together(findings), *raters(findings)]


def test_what_repeats_another_is_folded_into_it():
    again = replace(STARS, hypothesis="h2", unit="s2", text="texts about refunds", claim="", repeats="h1")
    unshown = replace(again, hypothesis="h3", unit="s3", text="texts about money", status="not shown")
    html = opening(Findings(Given({"hypotheses": pl.concat(map(frame_of, (STARS, again, unshown)))}))).html()
    assert html.count("<li id=") == 1
    assert "Says much the same, or part of it: <bdi>texts about refunds</bdi>." in html


def frame_of(one: Hypothesis) -> pl.DataFrame:
    row = {**asdict(one), "description": "", "z": -9.0}
    return HYPOTHESES.frame([tuple(row[name] for name in HYPOTHESES.columns)])


class Given:
    """Tables that were made by hand."""

    pictures = False

    def __init__(self, tables: dict[str, pl.DataFrame]) -> None:
        self._tables = tables

    def has(self, table: str, *columns: str) -> bool:
        return table in self._tables

    def where(self, table: str, column: str, values) -> pl.DataFrame:
        return self._tables[table]


def test_the_tidy_table_says_what_came_of_each(study):
    table, findings = study.tidy(), Findings(StudyRows(study))
    assert table["hypothesis"].to_list() == [one.hypothesis for one in findings.all]
    assert table["verdict"].to_list() == [one.status for one in findings.all]
    assert table["sentence"].to_list() == [one.sentence for one in findings.all]
