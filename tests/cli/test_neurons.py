"""What `saywell neurons` takes for a number and what it does not."""

from __future__ import annotations

import pytest

from saywell.cli.neurons import parse_layers
from saywell.errors import InputError, SaywellError
from saywell.language_models import Retries
from saywell.studies.exam_tasks import read_tasks
from saywell.studies.neurons import plan_neurons

TEXTS = [f"text number {n}" for n in range(20)]


def test_layers_are_numbers_and_ranges():
    assert parse_layers(" 0, 3-5 ,7-7") == [0, 3, 4, 5, 7]
    for text in ("5-2", "²", "٣", "", "1-", "-1", "1-2-3", "1,,2", "1.0", "all"):
        with pytest.raises(InputError, match="not a list of layers"):
            parse_layers(text)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"seed": 2**32}, "seed=4294967296"),
        ({"seed": 1.0}, "seed=1.0"),
        ({"llm_units": -1}, "llm_units=-1"),
        ({"llm_units": 2.5}, "llm_units=2.5"),
        ({"limit": 9}, "limit=9"),
    ],
)
def test_numbers_out_of_range_are_told_before_anything_else(options, words, tmp_path):
    with pytest.raises(InputError, match=words):
        plan_neurons(TEXTS, None, **options)
    if "llm_units" not in options:
        with pytest.raises(InputError, match="limit=0" if "limit" in options else words):
            read_tasks(tmp_path / "none.csv", **({"limit": 0} if "limit" in options else options))


@pytest.mark.parametrize("deadline", [0, -5, float("nan")])
def test_a_deadline_that_is_none_is_told(deadline):
    with pytest.raises(SaywellError, match="--llm-deadline"):
        Retries(deadline=deadline)
