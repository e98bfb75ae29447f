"""What a study knows of a latent beside examples and scores, from the tables that are there.

How far its description agrees with the words on which it fires (`token_scores`), which tokens its direction
promotes (`promoted`), what holding it does (`clamped`, `works`), how it stands to others (`relations`,
`absorbers`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import polars as pl

from saywell.report.formats import count, interval, joined, level, small, two

MOST_RELATIONS, MOST_TOKENS = 6, 10


class Asks(Protocol):
    """Where tables are asked; see `saywell.report.card.Rows`."""

    def has(self, table: str, *columns: str) -> bool:
        """Whether there is such a table, with these columns."""
        ...

    def where(self, table: str, column: str, values: Sequence[str] | None) -> pl.DataFrame:
        """Its rows with one of these values in a column (all where None), in their order."""
        ...


@dataclass(frozen=True)
class Relation:
    """What another unit is to a unit."""

    relation: str
    """ "duplicate", "part" (of several that split its firing) or "whole"."""
    other: str
    together: int
    """Tokens at which both fire."""
    inside: float
    """Of the other's firings the share at which this unit fires."""
    covers: float
    """Of this unit's firings the share at which the other fires."""
    cosine: float
    """Of their decoder directions."""
    text: str
    """The other's description; empty where it has none."""

    @property
    def words(self) -> str:
        """How they stand to one another, but for the other's name."""
        fires = f"fires at {two(self.covers)} of this one's tokens"
        if self.relation == "part":
            return f"{fires}; of its own {two(self.inside)} are among these"
        if self.relation == "whole":
            return f"{fires}, and elsewhere"
        return f"{fires}; cosine of their directions {two(self.cosine)}"


RELATIONS = {
    "duplicate": "Near duplicates",
    "part": "Split: these share out where it fires",
    "whole": "A part of",
}
"""Headings of what others are to a unit, in the order in which they are shown."""


@dataclass(frozen=True)
class Latent:
    """What is known of one unit; all of it is empty where nobody asked."""

    promotes: tuple[tuple[str, float], ...] = ()
    """Tokens whose logits its direction raises most, the most first, and by how much."""
    suppresses: tuple[tuple[str, float], ...] = ()
    """The same of those that it lowers."""
    held: tuple[dict[str, Any], ...] = ()
    """Rows of table `clamped`."""
    works: dict[str, Any] | None = None
    """Its row of table `works`."""
    relations: tuple[Relation, ...] = ()
    absorbs: tuple[dict[str, Any], ...] = ()
    """Rows of table `absorbers`: words at which it fires in place of latents of their first letter."""

    @property
    def effects(self) -> tuple[str, ...]:
        """What holding it does, and where its description holds, in sentences."""
        return tuple(_held(row) for row in self.held) + (() if self.works is None else (_works(self.works),))

    @property
    def absorbed(self) -> str:
        """In whose place it fires, in a sentence; empty where it does not."""
        words = [f"“{one['word']}” ({one['letter']}, {one['tokens']} tokens)" for one in self.absorbs]
        more = f" and {len(words) - MOST_RELATIONS} more" if len(words) > MOST_RELATIONS else ""
        told = "It fires in place of the latents of a first letter: at "
        return told + joined(words[:MOST_RELATIONS]) + more + "." if words else ""


NOTHING = Latent()


def latents_of(rows: Asks, ids: Sequence[str]) -> dict[str, Latent]:
    """By unit, what there is of it."""

    def own(table: str) -> dict[str, list[dict[str, Any]]]:
        found: dict[str, list[dict[str, Any]]] = {}
        if rows.has(table, "unit"):
            for row in rows.where(table, "unit", ids).iter_rows(named=True):
                found.setdefault(row["unit"], []).append(row)
        return found

    promoted, held, works, absorbs = map(own, ("promoted", "clamped", "works", "absorbers"))
    related = own("relations")
    others = {row["other"] for each in related.values() for row in each[: 3 * MOST_RELATIONS]}
    texts: dict[str, str] = {}
    if others and rows.has("descriptions", "unit", "text"):
        said = rows.where("descriptions", "unit", sorted(others)).filter("selected")
        texts = {unit: text or "" for unit, text in said.select("unit", "text").iter_rows()}
    known = {*promoted, *held, *works, *absorbs, *related}
    return {
        unit: Latent(
            _tokens(promoted.get(unit, ()), 1),
            _tokens(promoted.get(unit, ()), -1),
            tuple(held.get(unit, ())),
            next(iter(works.get(unit, ())), None),
            tuple(_relation(row, texts) for row in related.get(unit, ())),
            tuple(absorbs.get(unit, ())),
        )
        for unit in ids
        if unit in known
    }


def _tokens(rows: Sequence[Mapping[str, Any]], sign: int) -> tuple[tuple[str, float], ...]:
    own = sorted((row for row in rows if row["sign"] == sign), key=lambda row: row["rank"])
    return tuple((row["token"], row["value"]) for row in own[:MOST_TOKENS])


def _relation(row: Mapping[str, Any], texts: Mapping[str, str]) -> Relation:
    other, shares = row["other"], (row[name] for name in ("together", "inside", "covers", "cosine"))
    return Relation(row["relation"], other, *shares, text=texts.get(other, ""))


def shown_token(token: str) -> str:
    """A token with its spaces to be seen."""
    return token.replace(" ", "␣").replace("\n", "⏎").replace("\t", "⇥")


def at_words(row: Mapping[str, Any]) -> str:
    """From a row of `token_scores`: whether a description holds of the words on which its unit fires."""
    if row["f1"] is None:
        return ""

    def share(name: str) -> str:
        return f"{two(row[name])} ({interval(row[f'{name}_low'], row[f'{name}_high'])})"

    return (
        f"Word by word, on held-out texts: the unit fires on a share of {share('precision')} of the"
        f" {count(row['said'])} words that the description points at, a share of {share('recall')} of the"
        f" {count(row['fired'])} on which it fires. F1 {share('f1')}; the best floor, “{row['floor']}”,"
        f" reaches {two(row['control'])}."
    )


_WAYS = {
    "strengthened": "Held at {level}, its strongest activation, at all tokens of {texts} held-out texts",
    "silenced": "Held at 0 where it fires, on {texts} held-out texts",
}


def _held(row: Mapping[str, Any]) -> str:
    way = _WAYS.get(row["way"], "Held at {level} on {texts} held-out texts")
    said = way.format(level=level(row["level"]), texts=count(row["texts"]))
    if row["divergence"] is not None:
        said += (
            f", it changes the next token by {row['divergence']:.2g} nats; random directions as long"
            f" {row['divergence_random']:.2g} (p {small(row['divergence_p'])})"
        )
    if row["promoted"] is not None:
        said += (
            f"; log p of the tokens that it promotes by {row['promoted']:+.2g}, random directions"
            f" {row['promoted_random']:+.2g} (p {small(row['promoted_p'])})"
        )
    return said + "."


_HOLDS = {
    "input": "What is said of it holds for the input alone: it does not act on what comes next",
    "output": "It acts on what comes next, and no description of what it responds to is verified",
    "both": "It acts on what comes next as well",
    "neither": "It does not act on what comes next, and no description of it is verified",
}


def _works(row: Mapping[str, Any]) -> str:
    holds = _HOLDS.get(row["works"], row["works"])
    return f"{holds} (more than random directions as long do: q {small(row['q'])})."
