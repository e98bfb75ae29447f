"""What a study's calls to language models took."""

from __future__ import annotations

from saywell.language_models.summary import summarize_calls
from saywell.store.study import StudyWriter


def note_cost(study: StudyWriter) -> None:
    """Put calls, tokens and US dollars, over all runs of the study, into its manifest.

    Of `estimated` calls nobody reported the tokens; they are in the sums at the most they may have
    taken.
    """
    path = study.path / "calls.sqlite"
    if not path.exists():
        return
    steps = summarize_calls(path)
    unknown = any(step.cost_unknown for step in steps)
    study.manifest.cost = {
        "calls": sum(step.calls for step in steps),
        "input_tokens": sum(step.input_tokens for step in steps),
        "output_tokens": sum(step.output_tokens for step in steps),
        "estimated": sum(step.estimated for step in steps),
        "usd": None if unknown else sum(step.cost_usd for step in steps),
    }
