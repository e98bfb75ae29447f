"""Pictures of a study's report and of the explorer for the docs: light, dark and on a phone.

Run: python scripts/screenshots.py STUDY [STUDY ...] [--out docs/screenshots] [--chromium PATH]
"""

from __future__ import annotations

import argparse
import io
import shutil
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

MOST_BYTES = 200_000
WIDE = {"width": 1280, "height": 900}
PHONE = {"width": 390, "height": 844}


def main() -> None:
    """Serve the studies, look at pages, write PNG files."""
    import uvicorn
    from playwright.sync_api import sync_playwright

    from saywell.explorer.app import build_app
    from saywell.explorer.filters import Filters
    from saywell.explorer.security import Door
    from saywell.explorer.server import listen
    from saywell.explorer.shelf import open_studies
    from saywell.explorer.units import find_units

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/screenshots"))
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--ask", default="The battery died after two days.")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    shelf = open_studies(options.studies)
    listening = listen("127.0.0.1", 0)
    port = listening.getsockname()[1]
    server = uvicorn.Server(uvicorn.Config(build_app(shelf, Door("127.0.0.1", port)), log_level="error"))
    threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    place = f"http://127.0.0.1:{port}"

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])

        def shoot(name: str, address: str, size: Any, scheme: Any = "light", act: Any = None) -> None:
            page = browser.new_page(viewport=size, color_scheme=scheme)
            page.set_default_timeout(300_000)  # the first question opens a model
            page.goto(address, wait_until="networkidle")
            if act is not None:
                act(page)
            _write(options.out / f"{name}.png", page.screenshot())
            page.close()

        for one in shelf:
            kind, home, front = one.study.manifest.kind, place + one.home, place + one.front
            report = one.study.path / "report.html"
            if report.exists():
                for scheme in ("light", "dark"):
                    shoot(f"report-{kind}-{scheme}", report.resolve().as_uri(), WIDE, scheme)
                shoot(f"report-{kind}-phone", report.resolve().as_uri(), PHONE)
            for scheme in ("light", "dark"):
                shoot(f"explorer-{kind}-{scheme}", front, WIDE, scheme)
            shoot(f"explorer-{kind}-phone", front, PHONE)
            if kind == "classes":
                name = one.tables.rows("select name from classes order by name limit 1")[0]["name"]
                shoot(f"explorer-{kind}-card", f"{home}class?name={quote(name)}", WIDE)
                continue
            best = find_units(one.tables, Filters(), {}).rows[0]["id"]
            shoot(f"explorer-{kind}-card", f"{home}unit?id={quote(best)}", WIDE)
            shoot(f"explorer-{kind}-card-phone", f"{home}unit?id={quote(best)}", PHONE)

            def ask(page) -> None:
                page.get_by_label("A sentence").fill(options.ask)
                page.get_by_role("button", name="Ask").click()
                page.locator("ol.answers").wait_for()

            shoot(f"explorer-{kind}-ask", f"{home}ask", WIDE, act=ask)
        if len(shelf) > 1 and shelf[0].kind == shelf[1].kind:
            shoot("explorer-compare", f"{place}/compare?a=1&b=2", WIDE)
        browser.close()
    server.should_exit = True
    for one in shelf:
        one.tables.close()


def _write(path: Path, png: bytes) -> None:
    """A PNG of at most 256 colours where that is needed to keep it small."""
    from PIL import Image

    if len(png) > MOST_BYTES // 3:
        file = io.BytesIO()
        Image.open(io.BytesIO(png)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            file, "PNG", optimize=True
        )
        png = file.getvalue()
    if len(png) > MOST_BYTES:
        raise SystemExit(f"{path} would have {len(png):,} bytes, more than {MOST_BYTES:,}")
    path.write_bytes(png)
    print(f"{path}  {len(png):,} bytes")


if __name__ == "__main__":
    main()
