"""What a question would ask a language model, counted by the same functions that ask."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from saywell.data.examples import Examples
from saywell.describers.claims import Claims
from saywell.describers.descriptors.taggers import LLMTags
from saywell.describers.llm import ByLLM
from saywell.describers.wording import expect_wording
from saywell.description import Description
from saywell.language_models import DryRun, StepPlan
from saywell.language_models.dry_run import made_up
from saywell.readers.reader import AsksLLM
from saywell.resources import Resources
from saywell.studies.spine import Question, check


@runtime_checkable
class Expects(Protocol):
    """A source of units, or what a question adds, that asks a language model."""

    def expect(self, llm: DryRun, examples: Examples, resources: Resources) -> None:
        """Count what it would ask."""
        ...


def plan(
    question: Question, examples: Examples, resources: Resources, counting: DryRun | None, out: Path | None
) -> list[StepPlan]:
    """What `run` would ask the language model, step by step; nothing is sent, collected or stored.

    What depends on replies, or on what the units do, is counted with words that are made up. Raises
    what `run` would before it stores anything in `out`.
    """
    examples = check(question, examples, out, resources)
    if counting is None:
        return []
    if isinstance(question.tagger, LLMTags):
        question.tagger.expect(counting, examples, resources)
    for part in (question.source, *question.extras):
        if isinstance(part, Expects):
            part.expect(counting, examples, resources)
    for describer in question.describers:
        if isinstance(describer, ByLLM):
            describer.expect(counting, examples, resources, question.source.units().height)
    if question.paraphrase:  # at most: a unit may have no claim, and equal ones are asked about once
        writers = sum(isinstance(describer, Claims) for describer in question.describers)
        expect_wording(counting, resources, writers * question.source.units().height)
    costly = [reader for reader in question.readers if isinstance(reader, AsksLLM)]
    units = min(question.budget.units, question.source.units().height) if costly else 0
    # Both parts are read twice of every describer, with the unit's description and with another's.
    descriptions = [Description("", made_up(n)) for n in range(2 * units * len(question.describers))]
    for reader in costly:
        predict = reader.open(examples, resources)
        with counting.guessing():
            for rows in (examples.parts.select.rows, examples.parts.score.rows):
                predict(descriptions, rows[: question.budget.examples])
    return counting.plan()
