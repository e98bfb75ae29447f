"""Claims: checkable statements about one example, as values and in their canonical text.

    phone                      form("phone")                      a word, in any of its forms
    off, after turn            word("off") & after(form("turn"))  both of the same token
    question marks             mark("?")
    refunds, but no praise     about("refund", "money back") and not feels("positive")
    two meanings               mark("?") or word("maybe")

A *condition* is a name with values: of a token (`word`, `after`), or of a whole example (`about`). An
*atom* is one condition, or several of the same token, joined by `&`. Atoms are joined by `and`
and `and not` to a clause, and clauses by `or` to a claim: a disjunctive normal form, so no brackets are
needed and every claim has one text, from which the same claim is read again.

Which conditions there are is said in `saywell.claims.kinds`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from math import isinf
from typing import NoReturn

from saywell.errors import InputError

MOST_LETTERS, MOST_ATOMS, DEEPEST = 4000, 16, 3
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\x00-\x1f]|\\.)*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[a-z]+(?:-[a-z]+)*)|(?P<sign>[(),&]))"""
)
_JOINS = frozenset({"and", "or", "not"})


@dataclass(frozen=True)
class Condition:
    """Something asked of a token or of an example: words, numbers, or a condition of its neighbours."""

    name: str
    values: tuple[str | float | Condition, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(_written, self.values))})"


@dataclass(frozen=True)
class Atom:
    """One condition of an example, or some that the same token fulfils; `negated`: it does not hold."""

    conditions: tuple[Condition, ...]
    negated: bool = False

    def __str__(self) -> str:
        return " & ".join(map(str, self.conditions))


Clause = tuple[Atom, ...]
"""Atoms that all hold; the first is not negated."""


@dataclass(frozen=True)
class Claim:
    """Clauses of which at least one holds."""

    clauses: tuple[Clause, ...]

    def __str__(self) -> str:
        """The canonical text, which `parse` reads."""
        return " or ".join(
            " and ".join(f"not {atom}" if atom.negated else str(atom) for atom in clause)
            for clause in self.clauses
        )

    @property
    def atoms(self) -> tuple[Atom, ...]:
        """Of all clauses, in order."""
        return tuple(atom for clause in self.clauses for atom in clause)


def atom(*conditions: Condition) -> Atom:
    """An atom that holds."""
    return Atom(conditions)


def single(*conditions: Condition) -> Claim:
    """A claim of one atom."""
    return Claim(((Atom(conditions),),))


def parse(text: str) -> Claim:
    """The claim of a canonical text. Raises InputError that says where it cannot be one.

    Names and numbers of values are not looked at here: `saywell.claims.kinds.check` does.
    """
    if len(text) > MOST_LETTERS:
        raise InputError(f"a claim has at most {MOST_LETTERS:,} letters, and this has {len(text):,}")
    reader = _Reader(text)
    clauses = [_clause(reader)]
    while reader.takes("or"):
        clauses.append(_clause(reader))
    if not reader.ended:
        reader.fail("'and', 'or' or the end")
    claim = Claim(tuple(clauses))
    if len(claim.atoms) > MOST_ATOMS:
        raise InputError(f"a claim has at most {MOST_ATOMS} atoms, and this has {len(claim.atoms)}: {text!r}")
    return claim


def is_claim(text: str) -> bool:
    """Whether `parse` can read it."""
    try:
        parse(text)
    except InputError:
        return False
    return True


def _clause(reader: _Reader) -> Clause:
    if reader.takes("not"):
        reader.fail("something that holds before 'not'")
    atoms = [_atom(reader, negated=False)]
    while reader.takes("and"):
        atoms.append(_atom(reader, negated=reader.takes("not")))
    return tuple(atoms)


def _atom(reader: _Reader, negated: bool) -> Atom:
    conditions = [_condition(reader, 1)]
    while reader.takes("&"):
        conditions.append(_condition(reader, 1))
    return Atom(tuple(conditions), negated)


def _condition(reader: _Reader, depth: int) -> Condition:
    if depth > DEEPEST:
        raise InputError(f"a claim asks of neighbours at most {DEEPEST - 1} deep")
    name = reader.name()
    reader.expect("(")
    values: list[str | float | Condition] = []
    while not reader.takes(")"):
        if values:
            reader.expect(",")
        values.append(reader.value(depth))
    return Condition(name, tuple(values))


class _Reader:
    """The tokens of a canonical text, one after the other."""

    def __init__(self, text: str) -> None:
        self.text, self.place, self.tokens = text, 0, list(self._cut(text))

    def _cut(self, text: str) -> Iterator[tuple[str, str, int]]:
        place, end = 0, len(text.rstrip())
        while place < end:
            found = _TOKEN.match(text, place)
            if found is None:
                raise InputError(
                    f"this is no claim; nothing can be read from letter {place + 1} on: {text!r}"
                )
            kind = found.lastgroup or ""
            yield kind, found[kind], found.start(kind)
            place = found.end()

    @property
    def ended(self) -> bool:
        return self.place == len(self.tokens)

    def takes(self, said: str) -> bool:
        """Whether this comes next; if so it is passed."""
        here = not self.ended and self.tokens[self.place][:2] in (("name", said), ("sign", said))
        self.place += here
        return here

    def expect(self, said: str) -> None:
        if not self.takes(said):
            self.fail(repr(said))

    def name(self) -> str:
        if self.ended or self.tokens[self.place][0] != "name" or self.tokens[self.place][1] in _JOINS:
            self.fail("the name of a condition")
        self.place += 1
        return self.tokens[self.place - 1][1]

    def value(self, depth: int) -> str | float | Condition:
        if self.ended:
            self.fail("a value")
        kind, said, _ = self.tokens[self.place]
        if kind == "name":
            return _condition(self, depth + 1)
        if kind == "sign":
            self.fail("a value")
        if kind == "number" and isinf(float(said)):
            self.fail("a number that is not so large")
        self.place += 1
        if kind == "number":
            return float(said)
        try:
            return json.loads(said)
        except ValueError:
            self.place -= 1
            self.fail("a string in JSON's quotes")

    def fail(self, wanted: str) -> NoReturn:
        where = "at the end" if self.ended else f"at letter {self.tokens[self.place][2] + 1}"
        raise InputError(f"this is no claim; {wanted} is missing {where}: {self.text!r}")


def _written(value: str | float | Condition) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return plain_number(value) if isinstance(value, float | int) else str(value)


def plain_number(value: float) -> str:
    """The shortest digits that read back as the same number, without an exponent."""
    return format(Decimal(repr(value)), "f").removesuffix(".0")
