"""Shapes are checked while tests run: a jaxtyping hint that an argument or a result breaks is a failure.

pyproject.toml names `checked` as the type checker of every function of saywell. It leaves all other hints to pyright:
what stands in for a model in a test need not have all that a protocol asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from inspect import isfunction
from typing import Any, get_args

from beartype import beartype
from jaxtyping import AbstractArray


def sparing(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """`jaxtyped` that leaves functions without arrays as they are: most have none, and every call of one would pay."""

    def decorate(thing: Any = None, *, typechecker: Any = None) -> Any:
        if thing is None:
            return partial(decorate, typechecker=typechecker)
        if isfunction(thing) and not any(
            of_arrays(evaluated(hint, thing)) for hint in thing.__annotations__.values()
        ):
            return thing
        return jaxtyped(thing, typechecker=typechecker)

    return decorate


def evaluated(hint: Any, function: Any) -> Any:
    """A hint that is written as a string; one of names that only pyright knows is checked by nobody else."""
    try:
        return eval(hint, function.__globals__) if isinstance(hint, str) else hint
    except Exception:
        return Any


def checked(function: Callable[..., Any]) -> Callable[..., Any]:
    hints = {name: hint for name, hint in function.__annotations__.items() if of_arrays(hint)}
    if not hints:
        return function
    function.__annotations__ = hints
    return beartype(function)


def of_arrays(hint: Any) -> bool:
    """Whether a hint is made of arrays, and of nothing that only pyright can check (names it alone knows are strings)."""
    parts = [part for part in within(hint) if isinstance(part, type)]
    protocols = (getattr(part, "_is_protocol", False) for part in parts)
    return any(issubclass(part, AbstractArray) for part in parts) and not any(protocols)


def within(hint: Any) -> Iterator[Any]:
    yield hint
    for part in hint if isinstance(hint, list) else get_args(hint):
        yield from within(part)
