"""What `saywell neurons` takes for a number and what it does not."""

from __future__ import annotations

import pytest

from saywell.data.texts import load_texts
from saywell.errors import InputError, SaywellError
from saywell.language_models import Retries
from saywell.studies.settings import NeuronSettings, settings_of
from saywell.units.planted.tasks import read_tasks

TEXTS = [f"text number {n}" for n in range(20)]


def test_layers_are_numbers_and_ranges():
    assert settings_of(NeuronSettings, options={"layers": " 0, 3-5 ,7-7"}).layers == [0, 3, 4, 5, 7]
    for text in ("5-2", "²", "٣", "", "1-", "-1", "1-2-3", "1,,2", "1.0", "all"):
        with pytest.raises(InputError, match="no list of numbers"):
            settings_of(NeuronSettings, options={"layers": text})


@pytest.mark.parametrize("options", [{"seed": -1}, {"seed": 2**32}, {"seed": 1.0}, {"limit": 9}])
def test_numbers_out_of_range_are_told_before_anything_else(options, tmp_path):
    ((name, value),) = options.items()
    with pytest.raises(InputError, match=f"{name}={value}"):
        load_texts(TEXTS, **options)
    limited = {"limit": 0} if "limit" in options else options
    with pytest.raises(InputError, match="limit=0" if "limit" in options else f"{name}={value}"):
        read_tasks(tmp_path / "none.csv", **limited)


@pytest.mark.parametrize("deadline", [0, -5, float("nan")])
def test_a_deadline_that_is_none_is_told(deadline):
    with pytest.raises(SaywellError, match="--llm-deadline"):
        Retries(deadline=deadline)
