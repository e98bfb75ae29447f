"""What was found, as in the report, with a search and a way to the units."""

from __future__ import annotations

import re
import runpy
from html import unescape
from pathlib import Path

import pytest

from saywell.report.card import StudyRows
from saywell.report.hypotheses import Findings
from saywell.report.hypothesis_words import in_short
from saywell.store.study import Study

FIXTURES = runpy.run_path(str(Path(__file__).parent.parent / "hypothesis_studies.py"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("hypotheses") / "study"
    return FIXTURES["write_hypotheses"](path, words=("<script>alert(1)</script>",))


def test_hypotheses_come_first_and_can_be_searched(folder, browse):
    client, findings = browse(folder), Findings(StudyRows(Study(folder)))
    assert client.get("/").headers["location"] == "/1/hypotheses"
    html = client.get("/1/hypotheses").text
    assert all(f'href="/1/unit?id={one.unit}"' in html for one in findings.shown())
    assert html.index('id="h-tested"') < html.index('id="h-joint"')
    assert "<script>alert" not in html
    found = client.get("/1/hypotheses", params={"q": 'WORD "AND"'}).text
    number = len(findings.said('word "and"'))
    assert f"{number} of {len(findings.all)} hypotheses say" in found
    assert 0 < found.count("<li id=") < html.count("<li id=")
    assert 'id="h-joint"' not in found
    assert client.get("/1/hypotheses", params={"q": "no such words"}).text.count("<li id=") == 0


def test_the_page_of_a_unit_shows_its_hypothesis(folder, browse):
    one = Findings(StudyRows(Study(folder))).all[0]
    assert f"Hypothesis {one.hypothesis}" in browse(folder).get("/1/unit", params={"id": one.unit}).text


def test_the_verdict_on_a_unit_is_that_on_its_hypothesis(folder, browse):
    html = browse(folder).get("/1/", params={"verdict": "verified"}).text
    verified = [one.unit for one in Findings(StudyRows(Study(folder))).all if one.verified]
    assert re.findall(r'c-unit"><a href="/1/unit\?id=(\w+)"', html) == verified


def test_the_list_of_studies_says_what_was_found(folder, browse):
    html = browse(folder, folder).get("/").text
    findings = Findings(StudyRows(Study(folder)))
    assert in_short(findings.all) in unescape(re.sub("<[^>]+>", "", html)) and " units, " not in html


def test_a_study_without_hypotheses_has_no_such_page(client):
    assert client.get("/1/hypotheses").status_code == 404
    assert "Hypotheses</a>" not in client.get("/1/").text
