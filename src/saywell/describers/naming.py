"""Descriptions that name descriptors: chosen by a rule, best first, or none and why."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from saywell.data.tags import Tags
from saywell.describers.describer import Evidence
from saywell.description import Description
from saywell.errors import InputError
from saywell.units.firing import REASONS, REMEDIES, Given

MOST_NAMED = 5
"""Descriptors or phrases that a description names at most."""
MOST_SOURCES = 5
"""Exemplars that a description gives as its sources at most."""


def best_of(
    chosen: Bool[np.ndarray, "units descriptors"], worth: Float[np.ndarray, "units descriptors"]
) -> list[list[int]]:
    """Per unit those of most worth among the chosen, best first, equals as they come."""
    named = []
    for unit in range(len(chosen)):
        some = np.flatnonzero(chosen[unit])
        order = np.argsort(-worth[unit, some], kind="stable")[:MOST_NAMED]
        named.append(some[order].tolist())
    return named


def tags_of(evidence: Evidence) -> Tags:
    """Who carries what among the examples. Raises InputError where nobody has tagged them."""
    if evidence.examples.tags is None:
        raise InputError("nobody has tagged these examples: give the question a tagger, or tag them yourself")
    return evidence.examples.tags


def describe_by_descriptors(
    evidence: Evidence, named: Sequence[Sequence[int]], silence: Callable[[int], str]
) -> list[Description]:
    """A description of each unit from the descriptors that it is given by column, best first.

    Where there is none, `silence` says why of the unit in that place.
    """
    tags, carries = tags_of(evidence), tags_of(evidence).matrix
    silent = _states(evidence)
    said = []
    for unit, (name, columns) in enumerate(zip(evidence.ids, named, strict=True)):
        if columns:
            places = evidence.places[unit]
            shown = places[np.asarray(carries[places][:, columns].sum(1)).ravel() > 0]
            texts = tuple(tags.texts[column] for column in columns)
            said.append(
                Description(
                    name,
                    ", ".join(texts),
                    parts=texts,
                    descriptors=tuple(tags.ids[column] for column in columns),
                    sources=tuple(evidence.examples.ids[place] for place in shown[:MOST_SOURCES]),
                    llm=tags.llm,
                    prompt_hash=tags.prompt_hash,
                )
            )
        else:
            why = silent[unit] or _nothing(evidence, tags, unit) or silence(unit)
            said.append(
                Description(name, "", f"no description: {why}", llm=tags.llm, prompt_hash=tags.prompt_hash)
            )
    return said


def no_such(evidence: Evidence, why: str) -> Callable[[int], str]:
    """Why no descriptor is of a unit, and the way on where it is the user's to say which there are."""
    more = "; phrases that may be are yours to give: vocabulary=... (--vocabulary FILE)"
    return lambda unit: why + more * _users(evidence, unit)


def _users(evidence: Evidence, unit: int) -> bool:
    """Whether it is the user's to say when this unit fires, and what it is described with.

    Of neurons, which have layers, of classes, and of units that were told when to fire, it is not.
    """
    layer, kind = evidence.units.row(unit, named=True).get("layer"), evidence.units["kind"][unit]
    return layer is None and kind != "class" and not isinstance(evidence.activations.firing, Given)


def _states(evidence: Evidence) -> list[str | None]:
    """Why nothing can be said of each unit by its state; None where something can."""
    if "state" not in evidence.units.columns:
        return [None] * len(evidence.ids)
    found = []
    for unit, state in enumerate(evidence.units["state"]):
        why = REASONS.get(state)
        if why and _users(evidence, unit):
            why = why.replace("sentence", "example")
            why += f"; {REMEDIES[state]}" if state in REMEDIES else ""
        found.append(why)
    return found


def _nothing(evidence: Evidence, tags: Tags, unit: int) -> str | None:
    if not tags.ids:
        return f"the {evidence.examples.kind}s have no descriptors"
    if not len(evidence.places[unit]):
        return "it has no exemplars"
    if not tags.matrix[evidence.places[unit]].count_nonzero():
        return "its exemplars carry no descriptor"
    return None
