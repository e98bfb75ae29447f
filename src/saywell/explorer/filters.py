"""What a reader asks for: a search, filters, an order and a page, as they stand in an address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any
from urllib.parse import urlencode

from saywell.errors import InputError

MOST_CHARACTERS = 200
MOST_WORDS = 6
SORTS = ("skill", "score", "interval", "layer", "unit", "description", "verdict", "density")
FALLING_FIRST = ("skill", "score", "interval", "density")
"""Orders of which the highest is wanted first; the rest begin at the lowest."""
PEOPLE = ("accept", "reject", "rewrite", "none")


@dataclass(frozen=True)
class Filters:
    """One question to the table; an empty field asks nothing."""

    q: str = ""
    layer: str = ""
    side: str = ""
    verdict: str = ""
    status: str = ""
    descriptor: str = ""
    least: str = ""
    person: str = ""
    sort: str = "skill"
    order: str = ""
    page: str = "1"

    @classmethod
    def of(cls, query: Mapping[str, str]) -> Filters:
        """From the fields of an address; fields that are not ours are passed over.

        Raises InputError for a value that no filter can mean.
        """
        given = {field.name: query[field.name] for field in fields(cls) if query.get(field.name)}
        made = cls(**{name: value.strip() for name, value in given.items()})
        for name, value in given.items():
            if len(value) > MOST_CHARACTERS:
                raise InputError(
                    f"{name} has {len(value):,} characters; at most {MOST_CHARACTERS} are looked for"
                )
        for name, known in (
            ("side", ("", "high", "low")),
            ("sort", SORTS),
            ("order", ("", "rising", "falling")),
            ("person", ("", *PEOPLE)),
        ):
            if getattr(made, name) not in known:
                wanted = ", ".join(value for value in known if value)
                raise InputError(f"{name} is one of {wanted}; got {getattr(made, name)!r}")
        made._number("layer", int)
        made._number("least", float)
        if not made.page.isascii() or not made.page.isdigit() or not 0 < int(made.page) < 10**7:
            raise InputError(f"page is a number from 1; got {made.page!r}")
        return made

    @property
    def words(self) -> list[str]:
        """The words that are searched for."""
        return self.q.split()[:MOST_WORDS]

    @property
    def number(self) -> int:
        """The page, from 1."""
        return int(self.page)

    @property
    def falling(self) -> bool:
        """Whether the highest comes first."""
        return self.order == "falling" or (not self.order and self.sort in FALLING_FIRST)

    @property
    def narrow(self) -> bool:
        """Whether anything is left out."""
        return any(getattr(self, name) for name in _NARROWING)

    def address(self, **changes: Any) -> str:
        """The query part of an address, with some fields changed; "" when it says nothing."""
        changed = asdict(replace(self, **changes))
        said = {n: v for n, v in changed.items() if v != getattr(Filters, n)}
        return "?" + urlencode(said) if said else ""

    def turned(self, sort: str) -> str:
        """The address that sorts by a column, and by the same column the other way round."""
        if self.sort == sort:
            order = "rising" if self.falling else "falling"
        else:
            order = "falling" if sort in FALLING_FIRST else "rising"
        return self.address(sort=sort, order=order, page="1")

    def _number(self, name: str, kind: type) -> None:
        value = getattr(self, name)
        try:
            if value and not -(10**9) < kind(value) < 10**9:
                raise ValueError
        except ValueError:
            raise InputError(f"{name} is a number; got {value!r}") from None


_NARROWING = ("q", "layer", "side", "verdict", "status", "descriptor", "least", "person")
