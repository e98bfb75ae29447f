"""Studies with hostile words wherever words can stand, and a browser to look at their pages with."""

from __future__ import annotations

import runpy
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def chromium() -> Iterator:
    """The system's Chromium, driven by Playwright; the test skips where either is missing.

    For one module at a time: Playwright holds an event loop that other tests could not work beside.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    if CHROMIUM is None:
        pytest.skip("needs Chromium (Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A browser page that remembers what it asked for and what it complained of."""

    def __init__(self, browser, **options) -> None:
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self._said(message))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self._opened(dialog))

    def _said(self, message) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _opened(self, dialog) -> None:
        self.complaints.append(f"a dialog opened: {dialog.message}")
        dialog.dismiss()

    def strangers(self, *own: str) -> list[str]:
        """Requests that went anywhere but where they should."""
        return [url for url in self.requests if not url.startswith((*own, "data:", "about:"))]

    def violations(self) -> list[str]:
        """What axe-core finds wrong for people who do not see, hear or point."""
        axe = pytest.importorskip(
            "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python"
        )
        found = axe.Axe().run(self.page).response["violations"]
        return [f"{v['id']}: {v['help']}: {v['nodes'][0]['html'][:200]}" for v in found]


@pytest.fixture
def open_page(chromium) -> Iterator[Callable[..., Watched]]:
    """Make watched pages; options as of a Playwright context."""
    made: list[Watched] = []

    def make(**options) -> Watched:
        made.append(Watched(chromium, **options))
        return made[-1]

    yield make
    for one in made:
        one.context.close()


@pytest.fixture
def served() -> Iterator[Callable[..., str]]:
    """Serve opened studies on a free port of this machine; gives the address."""
    uvicorn = pytest.importorskip("uvicorn", reason="needs the extra 'explorer'")
    from saywell.explorer.app import build_app
    from saywell.explorer.security import Door
    from saywell.explorer.server import listen

    servers = []

    def start(shelf) -> str:
        listening = listen("127.0.0.1", 0)
        port = listening.getsockname()[1]
        app = build_app(shelf, Door("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", proxy_headers=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.02)
        return f"http://127.0.0.1:{port}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def hostile():
    """The writers of hostile studies: `write_neurons` and `write_classes`."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py")))
