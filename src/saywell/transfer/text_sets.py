"""Which set of texts a row is about: what tells it from others, in fields."""

from __future__ import annotations

from typing import NamedTuple

RULE, CONTROL, BASELINE, FILE = "rule", "control", "baseline", "file"


class TextSet(NamedTuple):
    """A set of texts of classes, or (`method` alone) a way of training without any.

    The fields are columns of tables `zero_shot`, `transfer` and `transfer_summary`.
    """

    method: str
    """The rule or control that chose them, what they are, or the name of their file."""
    role: str
    """A rule, a control, a baseline, or somebody else's file."""
    network: bool = False
    """Whether the rule went by influence in a network trained from pixels."""
    name_free: bool = False
    """Whether class names in the texts are masked."""
    weighted: bool = False
    """Whether each text weighs as its score says."""
    searched: bool = False
    """Whether the study's rule chose them among as many as there are real texts."""

    @property
    def said(self) -> str:
        """For people to read."""
        told = {
            ", network": self.network,
            ", name-free": self.name_free,
            ", weighted": self.weighted,
            ", searched": self.searched,
        }
        kind = "file: " if self.role == FILE else ""
        return kind + self.method + "".join(words for words, holds in told.items() if holds)
