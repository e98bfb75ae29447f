"""What a reader of any study has to know beside its figures."""

from __future__ import annotations

from saywell.data.examples import REJECTED, Examples
from saywell.store.study import StudyWriter
from saywell.store.table import UNANSWERED

_LOST = {
    "candidates": "{} {kind}s got no candidate descriptors from the LLM.",
    "tags": "{} {kind}s got no tags from the LLM and are left out.",
    "describe": "{} units got no description from the LLM.",
    "paraphrase": "{} descriptions keep their own words, as the LLM gave no others.",
}
_OTHERS = "{} readings of descriptions by the LLM ({step}) got no answer and are left out."


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
        lost = study.table(UNANSWERED)["step"].value_counts().sort("step")
        for step, count in lost.iter_rows():
            study.note(_LOST.get(step, _OTHERS).format(count, step=step, kind=examples.kind))
