"""What a reader of any study has to know beside its figures."""

from __future__ import annotations

import polars as pl

from saywell.data.examples import REJECTED, Examples
from saywell.store.study import StudyWriter
from saywell.store.table import UNANSWERED

_LOST = {
    "candidates": "{} {kind}s got no candidate descriptors from the LLM",
    "tags": "{} {kind}s got no tags from the LLM and are left out",
    "describe": "{} units got no description from the LLM",
    "paraphrase": "{} descriptions keep their own words, as the LLM gave no others",
}
_OTHERS = "{} readings of descriptions by the LLM ({step}) got no answer and are left out"
_LONGEST = 300
"""Characters of a reason, of which the whole is in the table `unanswered`."""


def note_run(study: StudyWriter, examples: Examples) -> None:
    """What had to be assumed of the source, what was not used, and what was not answered."""
    for note in examples.notes:
        study.note(note)
    rejected = study.table(REJECTED)
    if rejected.height:
        counts = rejected["reason"].value_counts(sort=True).sort("count", "reason", descending=[True, False])
        listed = ", ".join(f"{count} {reason}" for reason, count in counts.iter_rows())
        study.note(f"{rejected.height} of {examples.total_rows} rows were not used: {listed}.")
    if UNANSWERED.name in study.manifest.tables:
        for (step,), lost in study.table(UNANSWERED).sort("step").group_by("step", maintain_order=True):
            said = _LOST.get(str(step), _OTHERS).format(lost.height, step=step, kind=examples.kind)
            study.note(f"{said}: {_why(lost['reason'])}.")


def _why(reasons: pl.Series) -> str:
    """The commonest reason, of equally common ones the first by name, and whether there are others."""
    counts = reasons.value_counts(sort=True).sort("count", "reason", descending=[True, False])
    reason, count = counts.row(0)
    short = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]}..."
    return (
        short
        if count == len(reasons)
        else f"mostly {short}"
        if 2 * count > len(reasons)
        else f"such as {short}"
    )
