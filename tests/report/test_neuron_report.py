"""The page of a tiny study that is made here, with hostile words wherever words can stand."""

from __future__ import annotations

import re
import runpy
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest

from saywell.report import charts, page
from saywell.report.class_charts import plane_chart
from saywell.report.page import write_report
from saywell.store.study import Metric, Study, write_study

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "photo\u202egpj.exe",
    "zero\x00byte",
    "</style></script><b>",
    "{{7*7}} ${1} <!-- ",
    "long" * 250_000,
    "👋🏽 שלום عالم",
]
UNITS = 40
VOID = {"meta", "input", "br", "hr", "img", "link"}
TABLES = runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py"))["every_table"]()


def _frame(name: str, rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(TABLES[name].columns))


def _unit(number: int, sign: int) -> dict:
    return {
        "id": f"layer.{number % 3}/{number}" + ("" if sign > 0 else "-"),
        "kind": "ffn",
        "model": HOSTILE[0],
        "layer": number % 3,
        "index": number,
        "sign": sign,
        "name": HOSTILE[1],
        "mean": 0.1,
        "std": 0.2,
        "minimum": 0.0,
        "maximum": 2.0,
        "threshold": 1.0,
        "fires": 0.05,
        "state": "ok" if sign > 0 else "flat",
        "histogram": [50, 20, 10, 5],
    }


def _score(number: int) -> dict:
    value = 0.9 - number / 50
    return {
        "unit": f"layer.{number % 3}/{number}",
        "description": f"layer.{number % 3}/{number}#0",
        "measure": "f1",
        "reader": "tags",
        "scorer_version": 1,
        "part": "score",
        "value": value,
        "ci_low": max(0.0, value - 0.1),
        "ci_high": value + 0.1,
        "control": 0.2,
        "n": 99,
        "status": "verified" if value - 0.1 > 0.2 else "not verified",
        "verifies": value - 0.1 > 0.2,
        "decides": True,
        "floor": "nearest sibling",
        "skill": value - 0.2,
        "skill_low": value - 0.3,
        "skill_high": value - 0.1,
        "p": 0.01,
        "q": 0.02,
        "unanswered": 0,
        "threshold": 0.5,
    }


@pytest.fixture
def study(tmp_path: Path) -> Study:
    units = [_unit(number, sign) for sign in (1, -1) for number in range(UNITS)]
    examples = [
        {"id": f"e{n}", "part": ("describe", "select", "score")[n % 3], "text": text, "tags": None, "row": n}
        for n, text in enumerate(text for text in HOSTILE for _ in range(3))
    ]
    shown = [row for row in examples if row["part"] == "describe"]
    exemplars = [
        {
            "unit": unit["id"],
            "part": "describe",
            "rank": rank,
            "example": row["id"],
            "activation": 2.0 - 0.1 * rank,
            "span_start": 1,
            "span_end": min(9, len(row["text"])),
        }
        for unit in units
        if unit["sign"] > 0
        for rank, row in enumerate(shown[:8])
    ]
    described = [unit["id"] for unit in units if unit["sign"] > 0]
    tables = {
        "rejected": [{"row": 5, "reason": HOSTILE[0], "detail": "x"}],
        "examples": examples,
        "descriptors": [
            {"id": f"d{n}", "text": text, "members": [text], "mentions": 3} for n, text in enumerate(HOSTILE)
        ],
        "tags": [{"example": "e0", "descriptor": "d0", "source": "encoder", "score": 1.0}],
        "unanswered": [{"step": "tags", "item": "e1", "reason": HOSTILE[1], "call": None}],
        "units": units,
        "exemplars": exemplars,
        "associations": [
            {
                "unit": unit,
                "part": "describe",
                "descriptor": f"d{n % len(HOSTILE)}",
                "hits": 5,
                "exemplars": 8,
                "composition": 0.6,
                "lift": 4.0,
                "p": 0.001,
                "q": 0.01,
                "composed": True,
                "enriched": True,
            }
            for n, unit in enumerate(described)
        ],
        "descriptions": [
            {
                "id": f"{unit['id']}#0",
                "unit": unit["id"],
                "text": HOSTILE[n % len(HOSTILE)] if unit["sign"] > 0 else "",
                "describer": "extractive",
                "llm": None,
                "prompt_hash": None,
                "sources": [],
                "descriptors": [f"d{n % len(HOSTILE)}"] if unit["sign"] > 0 else [],
                "rank": 0,
                "selected": unit["sign"] > 0,
                "status": "described" if unit["sign"] > 0 else "no description: it is flat",
            }
            for n, unit in enumerate(units)
        ],
        "scores": [_score(number) for number in range(UNITS)],
        "curves": [
            {
                "figure": figure,
                "rule": rule,
                "calibrated": False,
                "tags": "all",
                "control": control,
                "x": float(k),
                "value": 0.5,
                "ci_low": 0.4,
                "ci_high": 0.6,
                "n": 9,
            }
            for figure in ("precision@k", "recall@k")
            for rule, control in (
                ("composition", ""),
                ("composition", "shuffled exemplars"),
                ("", "most frequent"),
            )
            for k in range(1, 11)
        ],
        "recovered": [
            {
                "gold": text,
                "descriptor": "d0",
                "text": text,
                "value": 0.5,
                "ci_low": 0.4,
                "ci_high": 0.6,
                "control": 0.1,
                "n": 3,
                "units": 2,
                "found": n % 2 == 0,
            }
            for n, text in enumerate(HOSTILE)
        ],
    }
    with write_study(
        tmp_path / "study", kind="neurons", config={"model": HOSTILE[0], "llm": HOSTILE[1]}, inputs={}
    ) as writing:
        for name, rows in tables.items():
            writing.table(TABLES[name], lambda name=name, rows=rows: _frame(name, rows))
        writing.write_metrics(
            [
                Metric(
                    name="precision@2",
                    value=0.5,
                    ci_low=0.4,
                    ci_high=0.6,
                    n=9,
                    of="sentences",
                    controls={"most frequent": 0.2},
                    reference={"linear probe": 0.45},
                    ceiling={"best possible": 0.9},
                ),
                Metric(name=HOSTILE[0], value=None, ci_low=None, ci_high=None, n=0, of=HOSTILE[1]),
            ]
        )
        for text in HOSTILE:
            writing.note(text)
    return Study(tmp_path / "study")


class Tree(HTMLParser):
    """Elements with their attributes; fails where a tag is closed that was not open."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text += data

    def find(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _page(study: Study, **options) -> str:
    return write_report(study, **options).read_text(encoding="utf-8")


def test_the_page_is_well_formed_and_its_names_are_its_own(study):
    tree = Tree(_page(study))
    ids = [attributes["id"] for _, attributes in tree.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    links = [attributes["href"] for attributes in tree.find("a")]
    assert links and {link.removeprefix("#") for link in links if link} <= set(ids)
    labelled = [a["aria-labelledby"] for _, a in tree.elements if "aria-labelledby" in a]
    assert set(labelled) <= set(ids)


def test_no_text_of_the_data_becomes_markup(study):
    html = _page(study)
    tree = Tree(html)
    assert len(tree.find("script")) == 2 and not tree.find("img") and not tree.find("iframe")
    assert not [a for _, a in tree.elements for name in a if name.startswith("on") or name == "style"]
    assert "<script>alert(1)</script>" in tree.text
    assert "\x00" not in html and "\u202e" not in html
    assert "photo[U+202E]gpj.exe" in tree.text


def test_the_page_reaches_nothing(study):
    html = _page(study)
    assert not re.search(r"(?:https?:)?//[a-z]", html, re.IGNORECASE)
    assert not re.search(r"@import|url\(", html)
    assert not [a for _, a in Tree(html).elements if {"src", "srcset", "action", "data"} & set(a)]


def test_a_sentence_of_a_million_characters_is_cut_around_its_span(study):
    html = _page(study)
    assert len(html) < 1_000_000
    # Clipped words of neighbouring elements run together here, so the longest is more than one clip.
    assert max(map(len, re.findall(r"\S+", Tree(html).text))) <= 1000


def test_units_are_left_out_rather_than_the_page_grown(study):
    whole = _page(study)
    assert re.search(r"all \d+ best verified", whole)
    most = len(whole.encode()) - 40_000
    cut = _page(study, most_bytes=most)
    assert len(cut.encode()) <= most
    assert re.search(r"\d+ of \d+ best verified", cut)
    assert 0 < cut.count("<tbody id=") < whole.count("<tbody id=")
    Tree(cut)
    anchors = set(re.findall(r'id="(u\d+)"', cut))
    assert set(re.findall(r'href="#(u\d+)"', cut)) <= anchors


def test_rows_carry_what_the_script_sorts_and_filters_by(study):
    tree = Tree(_page(study))
    rows = [a for a in tree.find("tbody") if "data-unit" in a]
    heads = [a["data-sort"] for a in tree.find("th") if "data-sort" in a]
    choices = [a["data-filter"] for a in tree.find("select")]
    assert heads and choices
    for row in rows:
        assert {f"data-{name}" for name in [*heads, *choices]} <= set(row)
    by_unit = {row["data-unit"]: row for row in rows}
    best = by_unit["layer.0/0"]
    assert (best["data-score"], best["data-skill"]) == ("0.900000", "0.700000")
    assert (best["data-verdict"], best["data-side"], best["data-layer"]) == ("verified", "high", "0")
    without = next(row for row in rows if row["data-verdict"] == "no description")
    assert without["data-score"] == without["data-skill"] == ""
    skills = [float(r["data-skill"] or 0) for r in rows if r["data-verdict"] == "verified"]
    assert skills == sorted(skills, reverse=True)


def test_the_strongest_exemplar_has_the_strongest_shade(study):
    html = _page(study)
    card = html.split('<ol class="exemplars">')[1].split("</ol>")[0]
    shades = [int(shade) for shade in re.findall(r'<mark class="s(\d)">', card)]
    assert shades[0] == 5 and shades == sorted(shades, reverse=True) and shades[-1] < 5


def test_a_section_that_fails_leaves_the_others(study, monkeypatch):
    def fail(_):
        raise RuntimeError("no <b>layers</b>")

    monkeypatch.setattr(page, "layer_figure", fail)
    with pytest.warns(RuntimeWarning, match="Layer by layer"):
        html = _page(study)
    tree = Tree(html)
    assert "no <b>layers</b>" in tree.text and "could not be drawn" in tree.text
    assert [a for a in tree.find("tbody") if "data-unit" in a]


def test_the_page_opens_with_verified_descriptions_and_their_sentences(study):
    html = _page(study)
    first = html.split('<ul class="firsts">')[1].split("</ul>")[0]
    shown = first.split("<li>")[1:]
    assert 1 <= len(shown) <= 10
    assert all(one.count("<mark ") == 1 and "F1 0." in one for one in shown)
    titles = [re.search(r"<h3>(.*?)</h3>", one)[1] for one in shown]
    assert len(set(titles)) == len(titles)
    assert html.index('class="firsts"') < html.index('class="tiles"') < html.index('class="drawing')
    assert "of shuffled examples there should be none" in html
    links = re.findall(r'href="#(b\d+)"', first)
    assert len(links) == len(shown) and set(links) <= set(re.findall(r'id="(b\d+)"', html))


def test_a_page_without_room_for_cards_has_no_link_to_them(study):
    html = _page(study, most_bytes=100_000)
    assert '<ul class="firsts">' in html
    assert set(re.findall(r'href="#(b\d+)"', html)) == set(re.findall(r' id="(b\d+)"', html))


def test_readers_stand_side_by_side_and_say_when_one_is_the_model(study):
    assert "shares the model" not in _page(study)
    manifest = study.manifest
    manifest.config["shared"] = ["tags"]
    manifest.hash = manifest.content_hash()
    (study.path / "study.json").write_text(manifest.model_dump_json(), "utf-8")
    html = _page(Study(study.path))
    assert " (shares the model)</th>" in html and "can support a description" in html


def test_no_two_marks_of_a_chart_look_alike():
    names = ["measured", "most frequent", "linear probe", *(f"control {n}" for n in range(30))]
    styles = charts.styles_of(names)
    assert list(styles) == names
    assert len({(s.colour, s.shape) for s in styles.values()}) == len(names)
    first = [styles[f"control {n}"] for n in range(7)]
    assert len({s.shape for s in first}) >= 6 and len({s.colour for s in first}) >= 6


def test_a_reference_that_was_surpassed_is_not_called_a_bound(study):
    figure = study.headline()[0]
    assert figure.value > figure.reference["linear probe"]
    html = _page(study)
    assert "linear probe</bdi> (reference)" in html and "best possible</bdi> (bound)" in html
    assert "ceiling" not in html


def test_classes_on_the_plane_have_a_mark_and_a_name_each():
    names = [f"class {n}" for n in range(30)]
    rows = [
        {"kind": kind, "id": f"{kind}{n}", "class": name, "x": float(n % 5), "y": float(n)}
        for n, name in enumerate(names)
        for kind in ("image", "text", "chosen")
    ]
    drawn = plane_chart(pl.DataFrame(rows), names).to_dict(validate=False)
    layers = drawn["layer"]
    hues = layers[0]["encoding"]["color"]["scale"]["range"]
    shapes = layers[0]["encoding"]["shape"]["scale"]["range"]
    marked = list(zip(hues, shapes, strict=True))
    assert len(set(hues[:-1])) == 8 and len(set(marked)) == len(marked) == 25
    labels = drawn["layer"][-1]["data"]["values"]
    assert [label["name"] for label in labels] == names[:24]
    near = [(a, b) for a in labels for b in labels if a is not b and abs(a["x"] - b["x"]) < 1]
    assert min(abs(a["y"] - b["y"]) for a, b in near) >= 29 / 34 - 1e-9


def test_a_study_that_has_only_begun_has_a_page(tmp_path):
    with pytest.raises(RuntimeError), write_study(tmp_path / "s", kind="neurons", config={}, inputs={}):
        raise RuntimeError
    assert "not finished" in Tree(_page(Study(tmp_path / "s"))).text


def test_a_study_without_any_description_has_a_page(study, put_tables):
    path = study.path
    names = ("scores", "curves", "recovered", "exemplars", "associations")
    empty = {name: study.table(name).clear() for name in names}
    none = study.descriptions.with_columns(status=pl.lit("no description: none"))
    put_tables(path, descriptions=none, **empty)
    tree = Tree(_page(Study(path)))
    assert "failed" not in {a.get("class") for _, a in tree.elements}
