"""The explorer as a person uses it, in Chromium: pointer and keys, light and dark, wide and narrow."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]
for _package in ("duckdb", "fastapi", "python_multipart"):
    pytest.importorskip(_package, reason=f"the explorer needs {_package} (extra 'explorer')")


class Letters:
    """A sentence encoder that counts letters."""

    name = "letters"

    def __call__(self, texts):
        counts = np.array([[text.count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for text in texts])
        return (counts / np.linalg.norm(counts + 1e-9, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture
def place(hostile, tmp_path, served) -> str:
    """The address of an explorer over three hostile studies."""
    from saywell.explorer.probe import Probe
    from saywell.explorer.shelf import open_studies

    shelf = open_studies(
        [
            hostile.write_neurons(tmp_path / "one"),
            hostile.write_neurons(tmp_path / "two", shift=1),
            hostile.write_classes(tmp_path / "classes"),
        ]
    )
    return served(
        [
            dataclasses.replace(one, probe=Probe(one.tables, open_encoder=lambda name: Letters()))
            for one in shelf
        ]
    )


def _clean(watched, place):
    assert watched.complaints == []
    assert watched.strangers(place) == []


def test_sort_filter_search_and_open_a_card(open_page, place):
    watched = open_page()
    page = watched.page
    page.goto(f"{place}/1/")
    assert page.locator("tr.line").count() == 25
    page.get_by_role("link", name="layer", exact=True).click()
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("layer")
    with page.expect_navigation():
        page.get_by_label("Layer").select_option("1")  # sends itself
    assert "of 26 units" in page.get_by_role("status").inner_text()
    page.get_by_role("searchbox", name="Search").fill("soup")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert "q=soup" in page.url and "side=" not in page.url
    page.locator("summary").first.click()
    assert page.locator("tbody .inside").first.is_visible()
    page.locator("tbody th.c-unit a").first.click()
    page.wait_for_url(re.compile(r"/unit\?id="))
    assert page.get_by_role("heading", name="Evidence").is_visible()
    _clean(watched, place)


@pytest.mark.parametrize("width", [1280, 390])
def test_a_card_of_a_latent_fits_the_screen_with_all_of_it_open(open_page, hostile, tmp_path, served, width):
    from saywell.explorer.shelf import open_studies

    place = served(open_studies([hostile.write_latents(tmp_path / "latents")]))
    watched = open_page(viewport={"width": width, "height": 844}, color_scheme="dark")
    page = watched.page
    page.goto(f"{place}/1/unit?id=layer.0/0")
    page.evaluate("document.querySelectorAll('.inside details').forEach(one => one.open = true)")
    assert page.get_by_text("Over the whole range of its activation").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".related a").first.click()
    page.wait_for_url(re.compile(r"/unit\?id=layer"))
    assert watched.violations() == []
    _clean(watched, place)


def test_type_a_sentence(open_page, place):
    watched = open_page()
    page = watched.page
    page.goto(f"{place}/1/ask")
    page.get_by_label("A sentence").fill("<img src=x onerror=alert(1)> battery life")
    page.get_by_role("button", name="Ask").click()
    page.get_by_role("heading", name="Descriptions like it").wait_for()
    assert page.locator("ol.answers > li").count() == 12
    _clean(watched, place)


def test_rewrite_a_description(open_page, place):
    watched = open_page()
    page = watched.page
    page.goto(f"{place}/1/unit?id=layer.2/11")
    page.get_by_label("Your name").fill("Ada <b>")
    page.get_by_label("Description in your words").fill("soups & <i>stews</i>")
    page.get_by_role("button", name="Save as rewritten").click()
    page.wait_for_url("**#person")
    history = page.locator(".history li").first.inner_text()
    assert "rewritten by Ada <b>" in history and "soups & <i>stews</i>" in history
    page.goto(f"{place}/1/unit?id=layer.0/0")
    assert page.get_by_label("Your name").input_value() == "Ada <b>"  # remembered in this browser
    page.goto(f"{place}/1/?person=rewrite")
    assert "soups & <i>stews</i>" in page.locator("tr.line").inner_text()
    _clean(watched, place)


def test_everything_by_keyboard(open_page, place):
    watched = open_page()
    page = watched.page
    page.goto(f"{place}/1/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    reached = set()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + (document.activeElement.name || '')"))
    assert {"INPUTq", "SELECTverdict", "SELECTlayer", "BUTTON", "SUMMARY", "A"} <= reached
    _clean(watched, place)


PAGES = [
    "/",
    "/1/",
    "/1/unit?id=layer.0/0",
    "/1/ask",
    "/1/export",
    "/compare?a=1&b=2",
    "/3/",
    "/3/unit?id=%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "/3/text?id=t0-0",
    "/3/results",
    "/3/ask",
]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_barrier_and_no_complaint(open_page, place, scheme):
    watched = open_page(color_scheme=scheme)
    found = {}
    for url in PAGES:
        watched.page.goto(place + url)
        for details in watched.page.locator("details").all()[:2]:
            details.locator("summary").first.click()
        found[url] = watched.violations()
    assert {url: wrong for url, wrong in found.items() if wrong} == {}
    _clean(watched, place)


def test_the_button_changes_the_colours_and_they_stay(open_page, place):
    watched = open_page(color_scheme="light")
    page = watched.page
    page.goto(f"{place}/1/")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Change to dark colours").click()
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert light != dark
    page.goto(f"{place}/1/ask")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == dark
    _clean(watched, place)


def test_a_phone_shows_pages_without_scrolling_sideways(open_page, place):
    watched = open_page(viewport={"width": 375, "height": 740}, device_scale_factor=2)
    wide = {}
    for url in PAGES:
        watched.page.goto(place + url)
        width = watched.page.evaluate("document.documentElement.scrollWidth")
        if width > 375:
            wide[url] = width
    assert wide == {}
    _clean(watched, place)


def test_pages_work_without_script(open_page, place):
    watched = open_page(java_script_enabled=False)
    page = watched.page
    page.goto(f"{place}/1/")
    page.get_by_label("Layer").select_option("1")
    page.get_by_role("button", name="Show").click()
    page.wait_for_url("**layer=1**")
    assert page.locator("tr.line").count() == 25
    page.goto(f"{place}/1/unit?id=layer.0/0")
    page.get_by_label("Your name").fill("Ada")
    page.get_by_role("button", name="Accept").click()
    page.wait_for_url("**#person")
    _clean(watched, place)


def test_a_page_elsewhere_cannot_write(open_page, place):
    """A form on another site, sent by the browser of somebody who has the explorer open."""
    watched = open_page()
    page = watched.page
    page.goto(f"{place}/1/unit?id=layer.0/0")
    secret = page.locator("input[name=secret]").first.get_attribute("value")
    form = (
        f"<form method=post action='{place}/1/verdict'><input name=secret value='{secret}'>"
        "<input name=item value='layer.0/0'><input name=action value=reject>"
        "<input name=name value=Eve><button>go</button></form>"
    )
    page.route("http://other.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto("http://other.example/")
    page.get_by_role("button").click()
    page.wait_for_url("**/1/verdict")
    assert "another site" in page.content()
