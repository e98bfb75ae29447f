"""A record of settings is the command line, the functions' options, the stored settings and the documentation."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as some
from pydantic import BeforeValidator, Field
from typer.testing import CliRunner

from saywell.cli import app
from saywell.cli.command import command
from saywell.errors import InputError
from saywell.language_models.providers import EXTRACTIVE
from saywell.selection.of_texts import CONTROLS, RULES
from saywell.studies import settings
from saywell.studies.classes.request import SELECTS
from saywell.studies.settings import (
    ClassSettings,
    Count,
    ExamSettings,
    File,
    Names,
    NeuronSettings,
    Settings,
    UnitSettings,
    Written,
    nearest,
    settings_of,
)
from saywell.units.planted import texts as planted_units
from saywell.units.pooling import POOLINGS
from saywell.units.sites import KINDS

ROOT = Path(__file__).parents[2]


class Shared(Settings):
    depth: int = Field(3, ge=2, le=9, description="How deep.")
    key: str | None = Field(None, exclude=True, description="Opens it.")


class Soup(Shared):
    """Of every kind of field one."""

    taste: Literal["sweet", "sour", "salty"] = Field(description="What it is.")
    heat: float = Field(0.5, gt=0, lt=2, description="How hot.")
    lid: bool = Field(True, description="With a lid.")
    stir: bool = Field(False, description="Stir.")
    herbs: Names = Field([], description="What is in it.")
    hours: Annotated[
        list[Count],
        BeforeValidator(lambda v: [*map(int, v.split("+"))] if isinstance(v, str) else v),
        Written("+"),
    ] = Field([1, 2], description="When.")
    pot: File | dict[str, str] | None = Field(None, description="In what.")


@pytest.fixture
def cook():
    """Run a command made of the record; the record that came of it, or what was printed."""
    program, cooked = (
        typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None),
        [],
    )

    @program.command()
    @command
    def soup(bowl: Annotated[str, typer.Argument()], settings: Soup, json: bool = False) -> None:
        cooked.append((bowl, settings, json))

    def run(*arguments):
        done = CliRunner().invoke(program, arguments, env={"COLUMNS": "80"})
        if isinstance(done.exception, InputError):
            return str(done.exception)
        return cooked.pop() if cooked else done.output

    return run


def test_every_kind_of_field_is_an_option(cook):
    assert cook("b", "--taste", "sour") == ("b", Soup(taste="sour"), False)
    line = "b --json --taste salty --depth 9 --key k --heat 1.5 --no-lid --stir --herbs a --herbs b --hours 3+4 --pot p"
    bowl, soup, json = cook(*line.split())
    assert (bowl, json) == ("b", True)
    assert soup == Soup(
        taste="salty",
        depth=9,
        key="k",
        heat=1.5,
        lid=False,
        stir=True,
        herbs=["a", "b"],
        hours=[3, 4],
        pot=Path("p"),
    )
    assert soup.stored() == {
        **{"taste": "salty", "depth": 9, "heat": 1.5, "lid": False, "stir": True, "herbs": ["a", "b"]},
        **{"hours": [3, 4], "pot": "p"},
    }


@pytest.mark.parametrize(
    ("options", "typed", "said"),
    [
        ({"depth": 1}, "--depth 1", "must be 2 or more"),
        ({"depth": 10}, "--depth 10", "must be at most 9"),
        ({"heat": 0.0}, "--heat 0.0", "must be above 0"),
        ({"heat": 2.0}, "--heat 2.0", "must be below 2"),
        ({"heat": float("nan")}, "--heat nan", "is not a finite number"),
        ({"taste": "swete"}, "--taste 'swete'", "is not one of sweet, sour, salty; did you mean 'sweet'?"),
        ({"hours": [1, 0]}, None, "has 0, which must be 1 or more"),
        ({"depth": 2.5}, None, "is not a whole number"),
        ({"depth": True}, None, "is not a whole number"),
        ({"lid": 1}, None, "is not True or False"),
        ({"herbs": 7}, None, "is not a list"),
        ({"key": 7}, None, "is not a text"),
    ],
)
def test_a_wrong_value_is_one_line_with_the_option_as_it_was_given(cook, options, typed, said):
    ((name, value),) = options.items()
    with pytest.raises(InputError) as caught:
        settings_of(Soup, options={"taste": "sweet", **options})
    assert str(caught.value).startswith(f"{name}={value!r}") and str(caught.value).endswith(said)
    if typed is not None:
        told = cook("b", *([] if name == "taste" else ["--taste", "sweet"]), *typed.replace("'", "").split())
        assert told == f"{typed} {said}"


def test_a_record_that_is_made_by_hand_tells_the_same():
    with pytest.raises(InputError, match="top=1 must be 3 or more"):
        NeuronSettings(top=1)
    with pytest.raises(InputError, match="no option 'tpo'; did you mean 'top'"):
        NeuronSettings(tpo=1)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"taste \(--taste\) must be given"):
        settings_of(Soup)


def test_an_endless_value_is_cut_and_a_secret_one_is_not_shown():
    with pytest.raises(InputError) as caught:
        settings_of(Soup, options={"taste": "sweet", "herbs": dict.fromkeys(range(9999))})
    assert len(str(caught.value)) < 300
    with pytest.raises(InputError) as caught:
        settings_of(NeuronSettings, options={"llm": "openai:x", "llm_url": b"http://me:secret@host"})
    assert "secret" not in str(caught.value) and "llm_url=... is not a text" in str(caught.value)
    assert "secret" not in repr(NeuronSettings(llm="openai:x", llm_url="http://me:secret@host"))


def test_help_says_what_the_record_says_in_its_order_and_80_columns(cook):
    lines = cook("--help").splitlines()
    assert max(map(len, lines)) <= 80
    said = [line.split()[0] for line in lines if line.startswith("  --")]
    own = ["--taste", "--heat", "--lid", "--stir", "--herbs", "--hours", "--pot"]
    assert said == [*own, "--depth", "--key", "--json", "--help"]
    words = " ".join(" ".join(lines).split())
    for part in (
        "--taste <sweet|sour|salty> What it is. [required]",
        "--heat <float> How hot. Above 0. [default: 0.5]",
        "--lid / --no-lid With a lid. [default: lid]",
        "--stir Stir.",
        "--herbs <str> What is in it. Repeatable.",
        "--hours <str> When. [default: 1+2]",
        "--pot <path> In what.",
        "--depth <int> How deep. 2 or more and at most 9. [default: 3]",
    ):
        assert part in words


def test_options_stand_over_the_record_and_one_stands_for_a_list():
    asked = settings_of(Soup, Soup(taste="sour", depth=4), {"depth": 5, "herbs": "salt"})
    assert asked == Soup(taste="sour", depth=5, herbs=["salt"])
    assert settings_of(Soup, options={"taste": "sour", "herbs": ("a", "b")}).herbs == ["a", "b"]
    with pytest.raises(InputError, match="is no Soup"):
        settings_of(Soup, Shared())  # type: ignore[arg-type]


@given(some.sampled_from(list(NeuronSettings.model_fields)), some.data())
def test_two_letters_swapped_are_told_with_the_right_name(name, data):
    at = data.draw(some.integers(0, len(name) - 2))
    wrong = name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    if wrong in NeuronSettings.model_fields:
        return
    with pytest.raises(InputError, match=f"no option '{wrong}'; did you mean '{name}'"):
        settings_of(NeuronSettings, options={wrong: 1})
    assert nearest("qqqqqqqq", list(NeuronSettings.model_fields)) is None


@given(some.sampled_from([NeuronSettings, ClassSettings, UnitSettings, ExamSettings]), some.data())
def test_no_value_is_anything_but_taken_or_told(record, data):
    strange = some.one_of(
        some.none(),
        some.booleans(),
        some.integers(),
        some.floats(),
        some.text(),
        some.lists(some.integers()),
        some.binary(),
        some.dictionaries(some.text(), some.text(), max_size=2),
    )
    name = data.draw(some.sampled_from(list(record.model_fields)))
    value = data.draw(strange)
    try:
        settings_of(record, options={name: value})
    except InputError as error:
        assert str(error).count("\n") == str(f"{value!r}").count("\n") and len(str(error)) > 10


def test_choices_and_numbers_are_those_of_the_code():
    def choices(record, name):
        return get_args(record.model_fields[name].annotation)

    assert choices(NeuronSettings, "pool") == POOLINGS
    assert choices(NeuronSettings, "kind") == KINDS
    assert choices(ClassSettings, "select") == (*SELECTS, *RULES, *CONTROLS)
    assert ExamSettings().per_kind == planted_units.PER_KIND
    assert ExamSettings().noise_units == planted_units.NOISE_UNITS
    assert settings.EXTRACTIVE == EXTRACTIVE == NeuronSettings().llm


def test_every_option_is_described_and_the_page_of_options_is_theirs():
    page = runpy.run_path(str(ROOT / "scripts" / "options.py"))["page"]()
    assert (ROOT / "docs" / "options.md").read_text("utf-8") == page, (
        "run scripts/options.py > docs/options.md"
    )
    for name, record in (
        ("neurons", NeuronSettings),
        ("classes", ClassSettings),
        ("units", UnitSettings),
        ("exam", ExamSettings),
    ):
        shown = " ".join(CliRunner().invoke(app, [name, "--help"]).output.replace("-\n", "-").split())
        for field, info in record.model_fields.items():
            assert info.description in shown and f"--{field.replace('_', '-')}" in shown
            assert info.description in page and info.description.endswith((".", "..."))


def test_help_names_those_who_write():
    from saywell.describers.registry import DESCRIBERS

    controls = {"random-phrase", "none"}
    assert set(settings.WRITERS.split(", ")) == set(DESCRIBERS) - controls
