"""From a record of settings to a command of Typer: an option for each of its fields.

cyclopts, pydantic-settings and tyro make commands from pydantic records, too. They print pydantic's
own errors for a value that is out of bounds, know no list in one word (0,3-5), and this program's
other commands, its completion and its words for typing errors are Typer's; one function is less.
"""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer

from saywell.errors import InputError
from saywell.studies.settings import OptionError, Settings, Written, bounds, own_first

_MOST = 40
"""Letters of choices that stand beside an option; more are listed in its help."""


def command(function: Callable[..., None]) -> Callable[..., None]:
    """The function with an option for every field in the place of a parameter that is a record.

    Options stand in the order of the record, its own before those that it inherits.
    """
    signature = inspect.signature(function, eval_str=True)
    records: dict[str, type[Settings]] = {}
    spread: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if inspect.isclass(parameter.annotation) and issubclass(parameter.annotation, Settings):
            records[parameter.name] = parameter.annotation
            spread += options_of(parameter.annotation)
        else:
            spread.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @wraps(function)
    def run(**given: Any) -> None:
        made = {}
        for name, record in records.items():
            options = {field: given.pop(field) for field in record.model_fields}
            options = {field: value for field, value in options.items() if value is not None}
            try:
                made[name] = record(**options)
            except OptionError as error:
                typed = f"--{error.option.replace('_', '-')} {error.shown}"
                raise InputError(f"{typed} {error.words}") from None
        return function(**given, **made)

    run.__signature__ = signature.replace(parameters=spread)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in spread}
    return run


def options_of(record: type[Settings]) -> Iterator[inspect.Parameter]:
    """A parameter with an option of Typer for each field, own ones first."""
    for name in own_first(record):
        field = record.model_fields[name]
        kind, default = _plain(field.annotation), field.get_default(call_default_factory=True)
        repeats, choices = get_origin(kind) is list, ()
        joined = next((mark.by for mark in field.metadata if isinstance(mark, Written)), None)
        if joined is not None:
            kind, repeats = str, False
            default = joined.join(map(str, default)) if isinstance(default, list) else default
        elif get_origin(kind) is Literal:  # told by the record, which names the nearest choice
            kind, choices = str, get_args(kind)
        one = get_args(kind)[0] if repeats else kind
        shown, listed = "|".join(choices), ""
        if len(shown) > _MOST:
            shown, listed = "", f"One of {', '.join(choices)}."
        option = typer.Option(
            # A switch that is off has no other side; one that is on can be switched off.
            *([f"--{name.replace('_', '-')}"] if default is False else []),
            help=" ".join(filter(None, (field.description, bounds(field), listed, "Repeatable." * repeats))),
            metavar=None if kind is bool else f"<{shown or one.__name__.lower()}>",
            autocompletion=_offering(choices) if choices else None,
        )
        if field.is_required():
            default = inspect.Parameter.empty
        elif default in (None, [], ""):
            default, kind = None, kind | None
        yield inspect.Parameter(
            name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
        )


def _offering(choices: tuple[str, ...]) -> Callable[[], list[str]]:
    return lambda: list(choices)


def _plain(kind: Any) -> Any:
    """What an option can be: of several types the first, without None and what else was said about it."""
    while get_origin(kind) in (Union, types.UnionType, Annotated):
        kind = next(each for each in get_args(kind) if each is not type(None))
    return list[_plain(get_args(kind)[0])] if get_origin(kind) is list else kind
