"""Hypotheses as a person reads them, in Chromium: on the report from disk, and in the explorer."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
FIXTURES = runpy.run_path(str(Path(__file__).parent.parent / "hypothesis_studies.py"))
HOSTILE = ("<script>alert(1)</script>", "long" * 50_000)


@pytest.fixture(params=[False, True], ids=["texts", "pairs"])
def study(request, tmp_path):
    from saywell.report.page import write_report
    from saywell.store.study import Study

    study = Study(FIXTURES["write_hypotheses"](tmp_path / "study", pairs=request.param, words=HOSTILE))
    write_report(study)
    return study


@pytest.fixture
def places(study, served) -> dict[str, str]:
    """The addresses of the report, and of the same in the explorer."""
    for package in ("duckdb", "fastapi", "python_multipart"):
        pytest.importorskip(package, reason=f"the explorer needs {package} (extra 'explorer')")
    from saywell.explorer.shelf import open_studies

    return {
        "report": (study.path / "report.html").as_uri(),
        "explorer": f"{served(open_studies([study.path]))}/1/hypotheses",
    }


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_no_barrier_and_nothing_sideways(open_page, places, scheme, width):
    for name, place in places.items():
        watched = open_page(color_scheme=scheme, viewport={"width": width, "height": 844})
        page = watched.page
        page.goto(place)
        for details in page.locator("details").all()[:6]:
            details.locator("summary").first.click()
        assert watched.violations() == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.locator(".findings>li h3").first.bounding_box()["y"] < 400
        assert watched.complaints == []


def test_a_hypothesis_leads_to_its_unit_and_is_searched(open_page, places):
    watched = open_page()
    page = watched.page
    page.goto(places["report"])
    page.get_by_role("link", name="as a unit").first.click()
    page.locator("tbody:target .inside", has_text="Hypothesis h1").wait_for(state="visible")
    page.goto(places["explorer"])
    everything = page.locator(".findings>li h3").count()
    page.get_by_label("Search").fill("the word and")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**q=the+word+and**")
    assert 0 < page.locator(".findings>li h3").count() <= everything
    page.locator(".findings .source a").first.click()
    page.get_by_text("Hypothesis h").first.wait_for(state="visible")
    assert watched.complaints == []
