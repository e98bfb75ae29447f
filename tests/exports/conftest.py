"""A small study of latents."""

from __future__ import annotations

import pytest

from saywell.studies.units import describe_units
from word_latents import Counts, WordLatents, corpus


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Described by claims, at a place whose name is a path."""
    return describe_units(
        corpus(),
        WordLatents(),
        out=tmp_path_factory.mktemp("latents") / "s",
        describer=["claims"],
        reader=["claims", "lexical"],
        encoder=Counts(),
        control=False,
    )
