"""An explorer over small hostile studies, asked as a browser would ask it."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

for _package in ("duckdb", "fastapi", "python_multipart", "httpx2"):
    pytest.importorskip(_package, reason=f"the explorer's tests need {_package} (extra 'explorer')")

MOMENT = datetime(2026, 5, 3, 12, 30, tzinfo=UTC)
HOST = "127.0.0.1:8800"


@pytest.fixture(scope="session")
def hostile() -> SimpleNamespace:
    """The writers of hostile studies and the words in them."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parent.parent / "hostile_studies.py")))


@pytest.fixture(scope="session")
def folders(hostile, tmp_path_factory) -> list[Path]:
    """Two studies of neurons that agree on nothing but their sentences, and one of classes."""
    place = tmp_path_factory.mktemp("studies")
    return [
        hostile.write_neurons(place / "one"),
        hostile.write_neurons(place / "it's [2] <b>", shift=1),
        hostile.write_classes(place / "classes"),
    ]


@pytest.fixture(scope="session")
def shelf(folders):
    from saywell.explorer.shelf import open_studies

    return open_studies(folders, clock=lambda: MOMENT)


@pytest.fixture(scope="session")
def door():
    from saywell.explorer.security import Door

    return Door("127.0.0.1", 8800, secret="the-secret")


@pytest.fixture(scope="session")
def client(shelf, door):
    """A browser on this machine."""
    return client_of(shelf, door)


@pytest.fixture
def fresh(hostile, tmp_path, door):
    """A browser on a study of its own, to write to; and its folder."""
    from saywell.explorer.shelf import open_studies

    folder = hostile.write_neurons(tmp_path / "fresh")
    shelf = open_studies([folder], clock=lambda: MOMENT)
    return SimpleNamespace(client=client_of(shelf, door), folder=folder, shelf=shelf)


@pytest.fixture
def browse(door):
    """A browser on study folders."""
    from saywell.explorer.shelf import open_studies

    return lambda *folders: client_of(open_studies(folders, clock=lambda: MOMENT), door)


@pytest.fixture
def browse_shelf(door):
    """A browser on studies that were opened by hand."""
    return lambda shelf: client_of(shelf, door)


def client_of(shelf, door):
    from starlette.testclient import TestClient

    from saywell.explorer.app import build_app

    client = TestClient(build_app(shelf, door), base_url=f"http://{HOST}", follow_redirects=False)
    client.headers["origin"] = f"http://{HOST}"
    return client
