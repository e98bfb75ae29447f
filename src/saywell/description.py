"""Text about one unit, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass

DESCRIBED = "described"
UNGIVEN = "no description: none was given"
"""Nobody tried to describe the unit: what is said was brought, and nothing of it."""


@dataclass(frozen=True)
class Description:
    """Text about one unit, and where it comes from."""

    unit: str
    text: str
    """Empty where there is none; `status` says why."""
    status: str = DESCRIBED
    claim: str = ""
    """What the text says in canonical form (see `saywell.claims.language`); empty where it is no claim."""
    offers: tuple[str, ...] = ()
    """Claims among which select examples choose, the simplest first; the text and claim are then theirs."""
    parts: tuple[str, ...] = ()
    """The wordings that it is made of, best first: descriptors, or sentences."""
    descriptors: tuple[str, ...] = ()
    """The ids of the parts, where they have a table of their own."""
    sources: tuple[str, ...] = ()
    """Ids of the examples, articles or passages that it rests on."""
    llm: str | None = None
    prompt_hash: str | None = None
