"""The static report as a person uses it, opened from disk in Chromium, with hostile words in it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]


@pytest.fixture
def pages(hostile, tmp_path) -> dict[str, str]:
    """The addresses of a report of neurons and one of classes."""
    from saywell.report.page import write_report

    neurons = hostile.read_study(hostile.write_neurons(tmp_path / "neurons"))
    classes = hostile.read_study(hostile.write_classes(tmp_path / "classes"))
    write_report(neurons)
    write_report(classes)
    return {study.manifest.kind: (study.path / "report.html").as_uri() for study in (neurons, classes)}


def _clean(watched):
    assert watched.complaints == []
    assert watched.strangers("file:") == []


def test_sort_filter_search_and_open_a_card(open_page, pages):
    watched = open_page()
    page = watched.page
    page.goto(pages["neurons"])
    rows = page.locator("#unit-table > tbody:not([hidden])")
    everything = rows.count()
    assert everything > 5
    page.get_by_role("button", name="layer", exact=True).click()
    layers = page.eval_on_selector_all("#unit-table > tbody", "all => all.map(b => b.dataset.layer)")
    assert layers == sorted(layers)
    page.get_by_label("Verdict").select_option("verified")
    verified = rows.count()
    assert 0 < verified < everything
    page.get_by_label("Verdict").select_option("")
    page.get_by_label("Search").fill("soup")
    assert 0 < rows.count() < everything
    page.get_by_label("Search").fill("")
    first = rows.first
    first.locator("summary").first.click()
    assert first.locator(".inside").first.is_visible()
    _clean(watched)


@pytest.mark.parametrize("kind", ["neurons", "classes"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_and_no_complaint(open_page, pages, kind, scheme):
    watched = open_page(color_scheme=scheme)
    watched.page.goto(pages[kind])
    for details in watched.page.locator("details").all()[:4]:
        details.locator("summary").first.click()
    assert watched.violations() == []
    _clean(watched)


NARROW = """least => [...document.querySelectorAll("main p, main li, main dd, main td")].filter(part => {
    const box = part.getBoundingClientRect();
    return box.width && box.width < least && part.checkVisibility()
        && part.textContent.trim().split(/\\s+/).length > 8;
}).map(part => part.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("kind", ["neurons", "classes"])
@pytest.mark.parametrize("width", [375, 390])
def test_a_phone_reads_the_page_in_one_column(open_page, pages, kind, width):
    watched = open_page(viewport={"width": width, "height": 844}, device_scale_factor=2)
    page = watched.page
    page.goto(pages[kind])
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(NARROW, 200) == []
    assert page.evaluate("document.documentElement.scrollHeight") < 25_000
    # The answer stands on the first screen.
    assert page.locator(".firsts li").first.bounding_box()["y"] < 400
    for folded in page.locator("#unit-table .card details").all()[:2]:
        folded.locator("summary").first.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(NARROW, 200) == []
    _clean(watched)


def test_a_first_description_leads_to_its_evidence(open_page, pages):
    for kind, inside in (("neurons", ".inside"), ("classes", "table.texts")):
        watched = open_page()
        watched.page.goto(pages[kind])
        link = watched.page.locator(".firsts a").first
        place = link.get_attribute("href")
        link.click()
        watched.page.locator(f"{place} {inside}").first.wait_for(state="visible")
        _clean(watched)


def test_more_units_are_shown_when_asked_for(open_page, pages):
    watched = open_page()
    page = watched.page
    page.goto(pages["neurons"])
    rows = page.locator("#unit-table > tbody:not([hidden])")
    assert rows.count() == 50
    page.locator("#more").click()
    assert rows.count() > 50
    assert page.locator("#more").is_hidden()
    page.get_by_label("Verdict").select_option("verified")
    assert rows.count() <= 50
    _clean(watched)


@pytest.mark.parametrize("kind", ["neurons", "classes"])
def test_the_button_changes_the_colours(open_page, pages, kind):
    watched = open_page(color_scheme="light")
    page = watched.page
    page.goto(pages[kind])
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != light
    _clean(watched)


@pytest.mark.parametrize("kind", ["neurons", "classes"])
def test_a_page_without_script_still_says_everything(open_page, pages, kind):
    watched = open_page(java_script_enabled=False)
    watched.page.goto(pages[kind])
    assert watched.page.locator("h2").count() >= 2
    _clean(watched)
