"""A small study of latents."""

from __future__ import annotations

import pytest

from saywell.studies.units import describe_units
from word_latents import Counts, WordLatents, corpus, no_page


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Described by claims, at a place whose name is a path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("saywell.studies.spine.write_report", no_page)
        return describe_units(
            corpus(),
            WordLatents(),
            out=tmp_path_factory.mktemp("latents") / "s",
            describer=["claims"],
            reader=["claims", "lexical", "sentence-encoder"],
            encoder=Counts(),
            control=False,
        )
