"""Descriptions that somebody else wrote, to be put to the test like any other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from saywell.data.examples import Kind
from saywell.describers.describer import Evidence
from saywell.description import UNGIVEN, Description
from saywell.encoders.fingerprints import combined
from saywell.errors import InputError
from saywell.store.table import Table

if TYPE_CHECKING:
    from saywell.resources import Resources
    from saywell.store.study import StudyWriter


@dataclass(frozen=True)
class Given:
    """Texts by the id of the unit that each is about, and what they claim, where that is known.

    `some`: whether it may be asked of some of these units alone; `notes`: what a reader of the study has to
    know of them.
    """

    texts: Mapping[str, str]
    name: str = "given"
    claims: Mapping[str, str] = field(default_factory=dict)
    some: bool = False
    notes: Sequence[str] = ()
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    @property
    def fingerprint(self) -> str:
        """Of all that is said."""
        said = [f"{unit}\0{text}\0{self.claims.get(unit, '')}" for unit, text in sorted(self.texts.items())]
        return combined(self.name, *said)

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """As they were given. Raises InputError for a text about a unit that there is not."""
        strange = sorted(self.texts.keys() - set(evidence.ids))
        if strange and not self.some:
            raise InputError(
                f"a description was given of {strange[0]!r}, and there is no such unit; the units are"
                f" {', '.join(evidence.ids[:5])}{' ...' if len(evidence.ids) > 5 else ''}"
            )
        for note in self.notes:
            study.note(note)
        said = []
        for unit in evidence.ids:
            text = self.texts.get(unit, "").strip()
            claim = self.claims.get(unit, "")
            said.append(Description(unit, text, claim=claim, parts=(text,)) if text else _nothing(unit))
        return said


def _nothing(unit: str) -> Description:
    return Description(unit, "", UNGIVEN)
