"""Fixtures shared by all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real test data and small models beside the repository; the test skips without it."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "data" / "README.md").is_file():
        pytest.skip("the folder of real test data (../shared) is not beside this checkout")
    return folder
