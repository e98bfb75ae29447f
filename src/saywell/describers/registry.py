"""All describers by name. A new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from saywell.data.examples import Kind
from saywell.describers.claims import Claims
from saywell.describers.composition import Composition
from saywell.describers.controls import NoDescription, RandomPhrase
from saywell.describers.covering import Covering
from saywell.describers.describer import Describer
from saywell.describers.dissect import Dissect
from saywell.describers.enrichment import Enrichment
from saywell.describers.extractive import Extractive
from saywell.describers.llm import ByLLM
from saywell.errors import InputError

_ALL: tuple[Describer, ...] = (
    Claims(),
    Composition(),
    Enrichment(),
    Covering(),
    Extractive(),
    Dissect(),
    ByLLM(),
    RandomPhrase(),
    NoDescription(),
)
DESCRIBERS: Mapping[str, Describer] = {describer.name: describer for describer in _ALL}


def describers_of(kind: Kind) -> list[str]:
    """The names of those that can describe by examples of a kind."""
    return [name for name, describer in DESCRIBERS.items() if kind in describer.kinds]


def find_describers(
    names: Iterable[str], kind: Kind, *, threshold: float = 0.5, topics: bool = True
) -> list[Describer]:
    """The describers of these names, each once, for examples of a kind.

    `threshold` is composition's; with `topics` claims may say what texts are about, by the encoder.

    Raises InputError for a name that is none of theirs; the message lists them.
    """
    known = describers_of(kind)
    chosen = list(dict.fromkeys(names))
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise InputError(f"unknown describer {unknown[0]!r}; there are: {', '.join(known)}")
    made = {**DESCRIBERS, "composition": Composition(threshold), "claims": Claims(topics)}
    return [made[name] for name in chosen]
