"""What decides the answers of a Python function, as far as Python itself knows it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import partial
from itertools import chain
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, bytes, tuple, list, set, frozenset, dict, np.ndarray, FunctionType)


def code_of(function: Any) -> str:
    """Code, constants, names and defaults of a function, and what it takes from around it.

    From around it: plain values (numbers, texts, arrays, and lists, sets and dictionaries of them) and the
    functions of its own module likewise. Of an object only its type and plain attributes. What a library, a
    file or the weights of a model say is not seen, nor what an object holds further down.
    """
    return _written(function, getattr(function, "__module__", None), {})


def _written(thing: Any, module: str | None, seen: dict[int, Any]) -> str:
    if thing is None or isinstance(thing, bool | int | float | complex | str | bytes | range):
        return repr(thing)
    if id(thing) in seen:
        return "again"
    if not isinstance(thing, CodeType | tuple | frozenset):  # which may be one or two that are equal
        seen[id(thing)] = thing  # kept, so that nobody else gets its number

    def all_of(things: Iterable[Any]) -> str:
        return f"({', '.join([_written(one, module, seen) for one in things])})"

    name = f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', type(thing).__qualname__)}"
    match thing:
        case CodeType():
            return all_of([thing.co_code, thing.co_names, thing.co_freevars, thing.co_consts])
        case FunctionType() if thing.__module__ == module:
            around = {n: thing.__globals__[n] for n in _names(thing.__code__) if n in thing.__globals__}
            cells = [_content(cell) for cell in thing.__closure__ or ()]
            return all_of([thing.__code__, thing.__defaults__, thing.__kwdefaults__, cells, around])
        case FunctionType() | type():
            return name
        case ModuleType():
            return thing.__name__
        case MethodType():
            return all_of([thing.__func__, thing.__self__])
        case partial():
            inner = _written(thing.func, getattr(thing.func, "__module__", None), seen)
            return inner + all_of([thing.args, thing.keywords])
        case re.Pattern():
            return all_of([thing.pattern, thing.flags])
        case np.ndarray() if thing.dtype.kind != "O":
            return all_of([str(thing.dtype), thing.shape, thing.tobytes()])
        case dict():
            return all_of(chain.from_iterable(thing.items()))
        case set() | frozenset():
            return str(sorted(_written(one, module, seen) for one in thing))
        case list() | tuple():
            return all_of(thing)
    held = {key: one for key, one in getattr(thing, "__dict__", {}).items() if isinstance(one, _PLAIN)}
    return name + all_of([vars(type(thing)).get("__call__"), getattr(thing, "__self__", None), held])


def _names(code: CodeType) -> list[str]:
    """All that a function's code, or a function within it, calls by name."""
    inner = (_names(one) for one in code.co_consts if isinstance(one, CodeType))
    return [*code.co_names, *chain.from_iterable(inner)]


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing is in it yet
        return None
