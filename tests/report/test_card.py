"""One unit, a search, the best few and the tidy table, from studies made here."""

from __future__ import annotations

import runpy
from pathlib import Path

import polars as pl
import pytest

from saywell.errors import InputError, StudyError
from saywell.report.card import Example
from saywell.report.listing import choose_example
from saywell.report.parts import Text
from saywell.report.tables import ASKED
from saywell.report.unit_cards import Around, unit_card
from saywell.store.study import Study, write_study
from saywell.store.table import Table

HOSTILE = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))
TABLES = HOSTILE["every_table"]()
TEXTS = [
    "they sent my refund at once",
    "a refund took weeks",
    "the soup was hot",
    "soup and bread",
    "dirty rooms upstairs",
    "a clean room",
    "no sound at all",
    "the sound is tinny",
]


def frame(name: str, rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(TABLES[name].columns))


def made(path: Path, units: list[tuple]) -> Study:
    """`units`: id, layer, description, lower end of skill, readers that verify, exemplars by text."""
    tables = {
        "examples": [
            {"id": f"e{n}", "part": "describe", "text": text, "row": n} for n, text in enumerate(TEXTS)
        ],
        "units": [
            {
                "id": unit,
                "kind": "ffn",
                "model": "m",
                "layer": layer,
                "index": n,
                "sign": 1,
                "name": "m",
                "mean": 0.0,
                "std": 1.0,
                "minimum": 0.0,
                "maximum": 1.0,
                "threshold": 0.5,
                "fires": 0.1,
                "state": "ok",
                "histogram": [1],
            }
            for n, (unit, layer, *_) in enumerate(units)
        ],
        "descriptions": [
            {
                "id": f"{unit}#0",
                "unit": unit,
                "text": text,
                "describer": "d",
                "sources": [],
                "descriptors": [],
                "rank": 0,
                "selected": bool(text),
                "status": "described" if text else "no description: it is flat",
            }
            for unit, _, text, *_ in units
        ],
        "scores": [
            {
                "unit": unit,
                "description": f"{unit}#0",
                "measure": "f1",
                "reader": reader,
                "scorer_version": 1,
                "part": "score",
                "value": low + 0.3,
                "ci_low": low,
                "ci_high": low + 0.4,
                "control": 0.1,
                "n": 50,
                "status": "verified" if reader in by else "not verified",
                "verifies": reader in by,
                "decides": reader == "tags",
                "floor": "always",
                "skill": low + 0.2,
                "skill_low": low,
                "skill_high": low + 0.3,
                "p": 0.01,
                "q": 0.01,
                "unanswered": 0,
                "threshold": 0.5,
            }
            for unit, _, text, low, by, _ in units
            if text
            for reader in ("tags", "lexical")
        ],
        "exemplars": [
            {
                "unit": unit,
                "part": "describe",
                "rank": rank,
                "example": f"e{row}",
                "activation": 2.0 - rank,
                "span_start": 0,
                "span_end": 4,
            }
            for unit, *_, rows in units
            for rank, row in enumerate(rows)
        ],
    }
    with write_study(path, kind="made", config={}, inputs={}) as study:
        for name, rows in tables.items():
            study.table(TABLES[name], lambda name=name, rows=rows: frame(name, rows))
    return Study(path)


BOTH, TAGS, WORDS = ("tags", "lexical"), ("tags",), ("lexical",)


@pytest.fixture
def study(tmp_path) -> Study:
    return made(
        tmp_path / "s",
        [
            ("a/1", 0, "refund", 0.2, TAGS, [0, 1]),
            ("a/2", 0, "refunds of money", 0.5, BOTH, [1, 0]),
            ("a/3", 0, "soup", 0.3, BOTH, [3, 2]),
            ("a/4", 1, "rooms", 0.6, TAGS, [4, 5, 1]),
            ("a/5", 1, "sound", 0.1, WORDS, [6, 7]),
            ("a/6", 1, "", 0.0, (), [2]),
        ],
    )


def test_a_unit_says_by_whom_it_is_verified_and_shows_its_spans(study):
    unit = study.unit("a/2", examples=1)
    assert (unit.description, unit.verified, unit.verified_by) == (
        "refunds of money",
        True,
        ("tags", "words"),
    )
    assert [one.marked() for one in unit.exemplars] == ["[a re]fund took weeks"]
    assert unit.score.floor_score == 0.1 and unit.score.skill == pytest.approx(0.7)
    by_words_alone = study.unit("a/5")
    assert (by_words_alone.verified, by_words_alone.verified_by) == (False, ("words",))
    silent = study.unit("a/6")
    assert (silent.description, silent.score, silent.verified) == ("", None, False)
    assert "flat" in repr(silent) and study.unit("a/2").to_dict()["verified_by"] == ["tags", "words"]


def test_a_unit_that_is_not_there_is_answered_with_the_nearest(study):
    with pytest.raises(InputError, match=r"no unit 'a/33'; did you mean 'a/3'"):
        study.unit("a/33")
    with pytest.raises(InputError, match=r"no unit '3'; did you mean 'a/3'\? .* \(\d+ in all\)"):
        study.unit("3")


def test_the_best_are_verified_unlike_and_of_high_skill(study):
    best = study.best(10)
    assert [one.id for one in best] == ["a/4", "a/2", "a/3"]  # a/1 repeats a/2, a/5 is not verified
    assert len({one.exemplars[0].id for one in best}) == len(best)
    assert [one.id for one in study.best(1)] == ["a/4"]


def test_the_best_spread_over_layers_and_are_said_by_their_examples(tmp_path):
    units = [
        (f"a/{n}", 0, word, 0.9 - n / 10, TAGS, rows)
        for n, (word, rows) in enumerate([("soup", [2, 3]), ("sound", [6, 7]), ("clocks", [4, 5])])
    ]
    units.append(("b/0", 1, "room", 0.05, TAGS, [4, 5]))
    best = made(tmp_path / "s", units).best(2)
    assert [one.id for one in best] == ["a/0", "a/1"]
    # No example says "clocks": it comes only when nothing else is left.
    assert [one.id for one in made(tmp_path / "t", units).best(3)] == ["a/0", "a/1", "b/0"]


def test_the_best_are_told_apart_by_what_their_claims_say(tmp_path, put_tables):
    said = {
        "texts about service": 'like("service", 0.4)',
        "texts about price": 'like("price", 0.4)',
        "texts of 16 words or more": "long(16)",
        "question marks": 'mark("?")',
        "exclamation marks": 'mark("!")',
        "texts that mention price": 'about("price")',
    }
    units = [(f"a/{n}", 0, text, 0.9 - n / 10, TAGS, [2, 3]) for n, text in enumerate(said)]
    study = made(tmp_path / "s", units)
    told = ["a/0", "a/1", "a/2", "a/3", "a/4"]  # a/5 repeats a/1
    assert [one.id for one in study.best(10)] != told  # by their English, in which all claims are alike
    written = study.table("descriptions")
    put_tables(study.path, descriptions=written.with_columns(claim=pl.col("text").replace_strict(said)))
    assert [one.id for one in study.best(10)] == told


def test_a_search_finds_descriptions_before_examples(study):
    found = study.search("refund")
    assert found["unit"].to_list() == ["a/2", "a/1", "a/4"]
    assert found["found"].to_list() == [2, 2, 1]
    assert study.search("REFUND weeks")["unit"].to_list() == ["a/4", "a/2", "a/1"]  # as in tidy
    assert study.search("fund").is_empty()  # words begin with what is searched
    assert study.search("(").is_empty() and study.search("refund", limit=1).height == 1
    with pytest.raises(InputError, match="no word"):
        study.search("  ")


def test_a_lucky_hit_does_not_come_first(study, put_tables):
    scores = study.table("scores")
    before = study.tidy()["unit"].to_list()
    lucky = scores.with_columns(skill=pl.when(unit="a/1").then(pl.lit(0.99)).otherwise("skill"))
    put_tables(study.path, scores=lucky)
    assert Study(study.path).tidy()["unit"].to_list() == before


def test_the_tidy_table_has_a_row_for_every_unit(study):
    table = study.tidy()
    assert table.height == study.descriptions["unit"].n_unique()
    assert table["unit"].to_list()[:4] == ["a/4", "a/2", "a/3", "a/1"]
    row = table.row(1, named=True)
    assert (row["verdict"], row["verified_by"], row["reader"]) == ("verified", ["tags", "words"], "tags")
    assert row["example"] in ("«a re»fund took weeks", "«they» sent my refund at once")
    last = table.row(-1, named=True)
    assert (last["unit"], last["verdict"], last["score"]) == ("a/6", "no description: it is flat", None)


def test_readers_stand_side_by_side(study):
    assert study.readers().select("reader", "tested", "verified").rows() == [("tags", 5, 4), ("words", 5, 3)]


def test_the_example_shown_says_the_description_at_its_mark(study):
    shown = choose_example(study.unit("a/4").exemplars, ["rooms"], set())
    assert shown.text == "dirty rooms upstairs"
    again = choose_example(study.unit("a/4").exemplars, ["rooms"], {shown.id})
    assert again.text == "a clean room"
    assert choose_example([], ["rooms"], set()) is None


@pytest.mark.parametrize("write", ["write_neurons", "write_classes"])
def test_hostile_words_pass_through_and_stay_words(write, tmp_path):
    study = Study(HOSTILE[write](tmp_path / "s"))
    table = study.tidy() if "descriptions" in study.manifest.tables else None
    if table is None:
        with pytest.raises(Exception, match="no table 'descriptions'"):
            study.tidy()
        return
    assert table.height == study.descriptions["unit"].n_unique()
    unit = study.unit(table["unit"][0])
    assert "<script>" not in unit._repr_html_()
    assert isinstance(repr(unit), str) and study.best()


@pytest.mark.parametrize("most", [1, 10, 50, 1000])
@pytest.mark.parametrize("span", [(0, 3), (40, 44), (96, 100), (0, 100), (7, 7), (90, 400)])
def test_a_long_sentence_is_cut_around_what_is_responsible(span, most):
    text = "".join(chr(97 + n % 26) for n in range(100))
    shown = Example("e", text, 1.0, span).cut(most)
    start, end = span
    assert len(shown.text) <= most + 2
    assert shown.text.strip("…") in text
    if shown.span is None:
        assert end == start or most == 1
    else:
        part = shown.text[slice(*shown.span)]
        assert part and text[start:end].startswith(part)
        assert part == text[start:end] or len(part) == most // 2


@pytest.mark.parametrize("write", ["write_neurons", "write_classes"])
def test_odd_columns_with_right_hashes_are_one_error_whatever_is_asked(write, tmp_path, put_tables):
    folder = HOSTILE[write](tmp_path / "s")
    tables, told = Study(folder).manifest.tables, (folder / "study.json").read_bytes()
    unit = Study(folder).table("descriptions")["unit"][0]
    questions = (
        lambda study: study.unit(unit),
        lambda study: study.tidy(),
        lambda study: study.best(3),
        lambda study: study.readers(),
        lambda study: study.search("a"),
    )
    for name in set(tables) & set(ASKED):
        kept = pl.read_parquet(folder / f"{name}.parquet")
        column = sorted(ASKED[name].required)[-1]
        for odd in (kept.drop(column), kept.with_columns(pl.lit(b"").alias(column))):
            put_tables(folder, **{name: odd})
            for ask in questions:
                try:
                    ask(Study(folder))
                except StudyError as error:
                    assert repr(name) in str(error)
            (folder / "study.json").write_bytes(told)
        put_tables(folder, **{name: kept})
        told = (folder / "study.json").read_bytes()
    assert all(ask(Study(folder)) is not None for ask in questions)


def test_a_card_goes_by_the_tables_that_are_there(tmp_path):
    """Two describers, pictures with their responsible part, contrasts: of a study of no known kind."""
    row = {"unit": "u", "rank": 0, "llm": None, "selected": False, "status": "described", "sources": []}
    box = {
        f"region_{side}": value
        for side, value in zip("left top right bottom".split(), (0, 0, 0.5, 1.0), strict=True)
    }
    tables = {
        "examples": pl.DataFrame({"id": ["a", "b"], "part": ["describe"] * 2, "name": ["a.png", "b.png"]}),
        "descriptions": pl.DataFrame(
            [
                {**row, "id": f"u#{n}", "text": text, "describer": by, "descriptors": [], "selected": n == 1}
                for n, (by, text) in enumerate((("phrases", "a dog"), ("an LLM", "a wet dog")))
            ],
            schema_overrides={"rank": pl.Int32, "llm": pl.String, "descriptors": pl.List(pl.String)},
        ),
        "exemplars": pl.DataFrame(
            [{"unit": "u", "part": "describe", "rank": 0, "example": "a", "activation": 2.0, **box}],
            schema_overrides={"rank": pl.Int32, "activation": pl.Float32},
        ),
        "contrasts": pl.DataFrame(
            [{"unit": "u", "rank": 0, "example": "b", "activation": 0.0}],
            schema_overrides={"rank": pl.Int32, "activation": pl.Float32},
        ),
    }
    with write_study(tmp_path / "s", kind="anything", config={}, inputs={}) as study:
        for name, frame in tables.items():
            study.table(Table(name, frame.schema, ()), lambda frame=frame: frame)
    card = Study(tmp_path / "s").unit("u")
    assert [(one.describer, one.text) for one in card.written] == [
        ("an LLM", "a wet dog"),
        ("phrases", "a dog"),
    ]
    assert card.pictures and card.description == "a wet dog" and not card.readings
    assert card.exemplars[0].region == (0, 0, 0.5, 1.0) and card.contrasts[0].text == "b.png"
    shown = unit_card(card, Around(picture=lambda one: Text(one.text))).html()
    assert '<rect x="0.0" y="0.0" width="50.0" height="100.0">' in shown
    assert shown.index("a wet dog") < shown.index("a dog")
