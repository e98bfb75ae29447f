"""One way through: examples and units in, checked descriptions out. Every question is a run of this.

1. the examples, and what each of them carries       examples, rejected, descriptors, tags
2. every unit's response to every example            arrays/activations, units
3. where each responds most, and where it does not   exemplars, contrasts
4. words for each unit, by every describer           descriptions
5. read by those who see the words alone             scores, floors, counterexamples
6. the same where there is nothing to find           control_scores, shuffled_scores
7. what the question adds of its own                 its extras' tables
8. figures, notes, page                              metrics.json, report.html

Descriptions are written from `describe` examples, chosen and calibrated on `select` examples, and scored
on `score` examples, once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import polars as pl

from saywell.data.examples import CONVERTED, REJECTED, Examples
from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.data.splits import hash_numbers
from saywell.describers.claims import Claims, settle
from saywell.describers.describer import Describer, Evidence, Tagger
from saywell.describers.descriptors.taggers import need_descriptors
from saywell.describers.llm import ByLLM
from saywell.describers.wording import worded
from saywell.description import Description
from saywell.errors import InputError
from saywell.readers.reader import AsksElse, AsksLLM, Points, Predict, Reader
from saywell.report.page import write_report
from saywell.resources import Resources
from saywell.scorers.deciding import decided
from saywell.scorers.evaluate import Budget, Evaluated, HeldOut, another_of, choose, evaluate, evaluate_costly
from saywell.scorers.floors import ANOTHER, FLOORS, Described, Floor, NearestSibling
from saywell.scorers.localisation import Responsible
from saywell.scorers.score_tables import AGAINST, CONTROL_SCORES, FLOORED, SCORED, SHUFFLED_SCORES
from saywell.store.study import Metric, Study, StudyWriter, refuse_study, write_study
from saywell.store.table import UNANSWERED, Table
from saywell.studies.cost import note_cost
from saywell.studies.described import DESCRIPTIONS, described_units, description_id, description_table
from saywell.studies.notes import note_run
from saywell.studies.verified import Beside, verified_metrics
from saywell.units.activations import Activations
from saywell.units.exemplars import CONTRASTS, EXEMPLARS, Locate, contrast_table, exemplar_table, nowhere
from saywell.units.neurons import token_spans
from saywell.units.responses import Responses, open_responses
from saywell.units.source import SHUFFLED, ActivationSource, Planned, Prepares, exchanged
from saywell.units.statistics import UNITS, unit_table
from saywell.units.token_activations import TokenActivations

NO_BUDGET = Budget(0)
NO_TOPICS = "Claims do not say what texts are about: {}."
OWN_MODEL = "the encoder that would tell is the model under study"
TAGS_GIVEN = "tags were given, so no encoder is asked"
RESPONSES, CONTROL = "activations", "activations-control"
"""The steps, and folders of arrays, of what units do."""
MOST_OF_CONTROL, MOST_SHUFFLED = 300, 100
"""Units of the control, and shuffled ones of the study's own, that are described and read at most, drawn by
their ids."""


class Extra(Protocol):
    """What a question adds of its own once descriptions are scored: its paper's tables, figures, pictures."""

    @property
    def tables(self) -> Sequence[Table]:
        """What it leaves in the study."""
        ...

    def add(self, run: Run) -> list[Metric]:
        """Make its tables, and give its headline figures."""
        ...


@runtime_checkable
class Finds(Protocol):
    """A source whose units are found in the examples, once these are in the study."""

    def find(self, examples: Examples, study: StudyWriter, resources: Resources) -> ActivationSource:
        """The units."""
        ...


@dataclass(frozen=True)
class Question:
    """What is asked: whose units, who may write, who reads.

    The strictest reader decides what is verified (see `saywell.scorers.deciding`); the order of readers only
    tells which of two that are equally strict.
    """

    kind: str
    source: ActivationSource
    describers: Sequence[Describer]
    readers: Sequence[Reader]
    config: Mapping[str, Any]
    """What is stored of the settings: all that can change what the study holds."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of what is read beside the examples."""
    tagger: Tagger | None = None
    floors: Sequence[Floor] = tuple(FLOORS.values())
    extras: Sequence[Extra] = ()
    strongest: int = 50
    """Exemplars of a unit at most."""
    budget: Budget = NO_BUDGET
    """What readers may read whose readings cost."""
    caveats: Mapping[str, str] = field(default_factory=dict)
    """By reader, what has to be known of its verdicts."""
    shared: frozenset[str] = frozenset()
    """Names of readers that share their model with the units: they can support a description, not decide."""
    control: bool = True
    """Whether the same is done where there is nothing to find, if the source knows of such a thing."""
    beside: frozenset[str] = frozenset()
    """Names of describers whose words are read for comparison, and stand for no unit."""
    shuffled: bool = False
    """Whether its own units with the responses to other examples do, where the source knows of none."""
    paraphrase: bool = False
    """Whether the language model may put claims in other words; those of the control it does not see."""

    @property
    def supporting(self) -> frozenset[str]:
        """Readers that cannot decide: those that share a model, and those that are asked something else."""
        return self.shared | {reader.name for reader in self.readers if isinstance(reader, AsksElse)}


@dataclass(frozen=True)
class Subject:
    """What the units of a source do on the examples, and where most. `exemplars`: of describe and select."""

    name: str
    activations: Activations
    exemplars: pl.DataFrame
    contrasts: pl.DataFrame

    def evidence(self, examples: Examples, seed: int) -> Evidence:
        """What a describer may see of them."""
        return self._of_part(examples, DESCRIBE, self.contrasts, seed)

    def to_settle(self, examples: Examples, seed: int) -> Evidence:
        """What decides between the claims that a describer offers."""
        return self._of_part(examples, SELECT, CONTRASTS.empty(), seed)

    def _of_part(self, examples: Examples, part: str, contrasts: pl.DataFrame, seed: int) -> Evidence:
        rows = {DESCRIBE: examples.parts.describe, SELECT: examples.parts.select}[part]
        return Evidence(
            self.activations.units,
            examples.only(rows),
            self.activations.within(rows),
            self.exemplars.filter(part=part),
            contrasts,
            seed,
        )

    def some(self, most: int, seed: int) -> Subject:
        """At most so many of the units that have exemplars, drawn by their ids."""
        ids = self.exemplars["unit"].unique(maintain_order=True).to_list()
        keys = hash_numbers(ids, seed, "units of the control")
        drawn = {ids[place] for place in np.argsort(keys, kind="stable")[:most]}
        kept = [id for id in self.activations.units["id"] if id in drawn]
        mine = pl.col("unit").is_in(kept)
        return replace(
            self,
            activations=self.activations.only(kept),
            exemplars=self.exemplars.filter(mine),
            contrasts=self.contrasts.filter(mine),
        )

    def written(
        self, describer: Describer, examples: Examples, resources: Resources, study: StudyWriter
    ) -> list[Description]:
        """What a describer says of them; of what it offers that which select examples bear out."""
        shown = self.evidence(examples, resources.seed)
        said = describer.describe(shown, resources, study)
        return settle(said, shown, self.to_settle(examples, resources.seed), resources)


@dataclass(frozen=True)
class Run:
    """All that an extra may look at."""

    question: Question
    study: StudyWriter
    examples: Examples
    resources: Resources
    subject: Subject
    control: Subject | None

    @property
    def of_control(self) -> tuple[list[Describer], list[Reader]]:
        """Who describes the control and reads of it: all that ask no language model."""
        free = [one for one in self.question.describers if not isinstance(one, ByLLM)]
        return free, [reader for reader in self.question.readers if not reader.costly]

    @property
    def for_profiles(self) -> Resources | None:
        """What profiles of units are made with, where a floor asks which of them are alike."""
        asked = any(isinstance(floor, NearestSibling) for floor in self.question.floors)
        return self.resources if asked else None


def run(
    question: Question,
    examples: Examples,
    *,
    out: str | Path,
    resources: Resources,
    command: Sequence[str] = (),
) -> Study:
    """The study of a question, begun in the folder `out` or gone on with where it was stopped.

    Raises StudyError when `out` holds another study, InputError for what cannot be described.
    """
    _check(question, resources)
    examples = _prepared(question, examples)
    with write_study(
        out, **_identity(question, examples), command=list(command), report=write_report
    ) as study:
        if not study.finished:
            resources.study = study
            _answer(question, examples, study, resources)
    return Study(out)


def check(question: Question, examples: Examples, out: Path | None, resources: Resources) -> Examples:
    """The examples as `run` would have them. Raises what it would before it stores anything."""
    _check(question, resources)
    examples = _prepared(question, examples)
    if out is not None:
        refuse_study(out, **_identity(question, examples))
    return examples


def _prepared(question: Question, examples: Examples) -> Examples:
    source = question.source
    return source.prepare(examples) if isinstance(source, Prepares) else examples


def _identity(question: Question, examples: Examples) -> dict[str, Any]:
    """What a study has to agree in, to be gone on with."""
    config = {
        **question.config,
        "firing": str(question.source.firing),
        "top": question.strongest,
        **({"shared": shared} if (shared := _shared(question)) else {}),
        **({} if _topical(question) else {"topics": False}),
    }
    inputs = {"examples": examples.fingerprint, **question.inputs}
    return {"kind": question.kind, "config": config, "inputs": inputs}


def _check(question: Question, resources: Resources) -> None:
    """InputError for what cannot be, before anything is stored."""
    asking = [d.name for d in question.describers if isinstance(d, ByLLM)]
    if asking:
        resources.need_llm(f"{asking[0]!r}")
    for reader in question.readers:
        if isinstance(reader, AsksLLM):
            reader.llm(resources)
        if reader.costly and not question.budget.units:
            raise InputError(
                f"the reader {reader.name!r} costs, and reads of no unit: say of how many, --llm-units N"
                " (llm_units=N)"
            )
    ids = question.source.units()["id"]
    if ids.is_duplicated().any():
        raise InputError(f"two units are called {ids.filter(ids.is_duplicated())[0]!r}; rename one of them")


def _shared(question: Question) -> list[str]:
    """Of its readers those that share their model with the units."""
    return [reader.name for reader in question.readers if reader.name in question.shared]


def _topical(question: Question) -> bool:
    """Whether its claims may say what texts are about."""
    return all(describer.topics for describer in question.describers if isinstance(describer, Claims))


def _answer(question: Question, examples: Examples, study: StudyWriter, resources: Resources) -> None:
    """All steps in order; what an earlier run has done is not done again."""
    study.table(REJECTED, lambda: examples.rejected)
    if examples.kind == "image":
        study.table(CONVERTED, lambda: examples.converted)
    study.table(examples.declared, lambda: examples.table)
    if isinstance(question.source, Finds):
        question = replace(question, source=question.source.find(examples, study, resources))
    if question.tagger is not None:
        examples = question.tagger.tag(examples, resources, study)
        assert examples.tags is not None, "a tagger gives tags"
        if all(describer.needs_tags for describer in question.describers):
            need_descriptors(examples.tags, examples)
    subject = _observe(question, examples, study, resources)
    control = _observe_control(question, examples, study, resources)
    now = Run(question, study, examples, resources, subject, control)
    _describe_and_score(now)
    beside = [
        Beside.of(each, study.table(table, lambda each=each: control_scores(now, each)))
        for table, each in controls_of(now)
    ]
    if not _topical(question):
        own = question.shared or question.config.get("own_encoder")
        study.note(NO_TOPICS.format(OWN_MODEL if own else TAGS_GIVEN))
    figures = [figure for extra in question.extras for figure in extra.add(now)]
    study.write_metrics([*figures, *verified_metrics(now, beside)])
    note_run(study, examples)
    note_cost(study)


def _collect(
    source: ActivationSource, name: str, examples: Examples, study: StudyWriter, resources: Resources
) -> Responses:
    """Every unit's response to every example."""
    folder = study.arrays(name)

    def collect() -> None:
        source.collect(examples, folder, resources)

    study.step(name, collect, files=(f"arrays/{name}",), uses=("examples",))
    return open_responses(folder, len(examples))


def _observe(question: Question, examples: Examples, study: StudyWriter, resources: Resources) -> Subject:
    """Steps 2 and 3."""
    source, name = question.source, RESPONSES
    responses = _collect(source, name, examples, study, resources)
    describe = examples.parts.describe
    study.table(UNITS, lambda: unit_table(source.units(), responses, source.firing, describe), uses=(name,))
    activations = Activations(responses, study.units, source.firing)
    study.table(
        EXEMPLARS,
        lambda: strongest_of(question, activations, examples, source.locate(examples)),
        uses=(name, UNITS.name),
    )
    study.table(
        CONTRASTS,
        lambda: contrast_table(activations, examples.ids, describe, resources.seed),
        uses=(name, UNITS.name),
    )
    return Subject(source.name, activations, study.exemplars, study.table(CONTRASTS))


def _observe_control(
    question: Question, examples: Examples, study: StudyWriter, resources: Resources
) -> Subject | None:
    """The same of the control, all of whose tables stay in memory."""
    source = question.source.control(resources.seed) if question.control else None
    if source is None:
        return None
    responses = _collect(source, CONTROL, examples, study, resources)
    units = unit_table(source.units(), responses, source.firing, examples.parts.describe)
    activations = Activations(responses, units, source.firing)
    strongest = strongest_of(question, activations, examples, where_in(responses))
    return Subject(source.name, activations, strongest, CONTRASTS.empty())


def where_in(responses: Responses) -> Locate:
    """Where in an example a control's responses come from, as far as that is kept with them.

    Of others it could not be derived again.
    """
    tokens = responses.tokens if isinstance(responses, TokenActivations) else None
    return nowhere if tokens is None else token_spans(tokens)


def strongest_of(
    question: Question,
    activations: Activations,
    examples: Examples,
    locate: Locate,
    *,
    placed: bool | None = None,
) -> pl.DataFrame:
    """Table `exemplars`, of the parts that anybody asks for.

    Of score examples where in a text responses come from is held against descriptions: they are among them
    where `locate` says so of texts, unless `placed` tells.
    """
    parts = {DESCRIBE: examples.parts.describe, SELECT: examples.parts.select}
    placed = (locate is not nowhere and examples.kind == "text") if placed is None else placed
    if placed or any(isinstance(reader, AsksElse) for reader in question.readers):
        parts[SCORE] = examples.parts.score
    return exemplar_table(activations, examples.ids, parts, question.strongest, locate)


def _describe_and_score(now: Run) -> None:
    """Steps 4 and 5: every describer's words for every unit, and what every reader makes of them."""
    question, study, resources = now.question, now.study, now.resources
    evidence = now.subject.evidence(now.examples, resources.seed)
    written = [now.subject.written(each, now.examples, resources, study) for each in question.describers]
    if question.paraphrase:
        written = [worded(said, resources) for said in written]

    def make() -> tuple[pl.DataFrame, ...]:
        if not question.readers:  # what is said is put to another test
            every = [
                description_id(own.unit, n) for n, said in enumerate(written) for own in said if own.text
            ]
            texts = description_table(question.describers, written, every, now.examples.tags)
            return texts, SCORED.empty(), FLOORED.empty(), AGAINST.empty()
        with resources.progress("scores", 1):
            described = [
                described_units(describer.name, number, said, evidence, now.for_profiles)
                for number, (describer, said) in enumerate(zip(question.describers, written, strict=True))
            ]
            units = list(dict.fromkeys(unit for each in described for unit in each.units))
            source, subject = question.source, now.subject
            meant = source.meant() if isinstance(source, Planned) else None
            held = HeldOut(subject.activations, now.examples, units, resources.seed, subject.exemplars, meant)
            cheap = [(r, r.open(now.examples, resources)) for r in question.readers if not r.costly]
            found = [evaluated(now, each, cheap, held) for each in described]
        chosen = choose(found, described, question.supporting, question.beside)
        texts = description_table(question.describers, written, chosen, now.examples.tags)
        keep_lost(study, resources)
        return texts, *(pl.concat(tables) for tables in zip(*(each[:3] for each in found), strict=True))

    study.tables((DESCRIPTIONS, SCORED, FLOORED, AGAINST), make)


def evaluated(
    now: Run,
    described: Described,
    cheap: Sequence[tuple[Reader, Predict]],
    held: HeldOut,
    kept: pl.DataFrame | None = None,
) -> Evaluated:
    """What all readers make of one describer's words: cheap readers of all, costly ones of some.

    `kept`: what other readers have made of them, in place of asking costly ones.
    """
    question, resources = now.question, now.resources
    found = evaluate(described, cheap, held, question.floors, now.study.path, question.supporting)
    others = next((each.stand_ins.get(ANOTHER) for each in found.found.values()), None)
    if others is None:
        others = another_of(described, question.floors, resources.seed)
    more = [
        evaluate_costly(described, reader, held, resources, question.budget, others)
        for reader in question.readers
        if reader.costly and kept is None
    ]
    if kept is not None:
        more = [(kept, FLOORED.empty())]
    # In the order of the readers, which tells equally strict ones apart.
    number = {reader.name: place for place, reader in enumerate(question.readers)}
    scores, floors = (
        pl.concat([own, *(tables[place] for tables in more)]).sort(
            pl.col("reader").replace_strict(number, return_dtype=pl.Int64), maintain_order=True
        )
        for place, own in enumerate((found.scores, found.floors))
    )
    return found._replace(scores=with_decision(now, scores, described, cheap, held), floors=floors)


def with_decision(
    now: Run,
    scores: pl.DataFrame,
    described: Described,
    readers: Sequence[tuple[Reader, Predict]],
    held: HeldOut,
) -> pl.DataFrame:
    """Rows of `scores` with who decides, how far descriptions point at responsible spans, and what then."""
    responsible = Responsible(held.exemplars, now.examples)
    pointing = {}
    if responsible.units:
        pointing = {
            reader.name: reader.pointing(now.examples, now.resources)
            for reader, _ in readers
            if isinstance(reader, Points)
        }
    return decided(
        scores,
        responsible.localised(described, pointing),
        claimed=[id for id, own in zip(described.ids, described.descriptions, strict=True) if own.claim],
        supporting=now.question.supporting,
        placed=responsible.units,
    )


def keep_lost(study: StudyWriter, resources: Resources) -> None:
    """What the LLM did not answer while this step was made, by the step it was asked for."""
    rows = UNANSWERED.frame(resources.lost)
    for (step,), own in rows.group_by("step", maintain_order=True):
        study.unanswered(str(step), own)
    resources.lost.clear()


def controls_of(now: Run) -> list[tuple[Table, Subject]]:
    """Units of which there is nothing to find, or nothing learned, and the tables of what is made of them.

    Those of the source's control; and where these respond to something, the study's own shuffled.
    """
    control, seed = now.control, now.resources.seed
    if control is None and now.question.shuffled and all(now.of_control):
        return [(SHUFFLED_SCORES, shuffled(now, MOST_SHUFFLED, seed))]
    if control is None or not all(now.of_control):
        return []
    found = [(CONTROL_SCORES, control.some(MOST_OF_CONTROL, seed))]
    if control.name != SHUFFLED:
        found.append((SHUFFLED_SCORES, shuffled(now, MOST_SHUFFLED, seed)))
    return found


def shuffled(now: Run, most: int, seed: int) -> Subject:
    """At most so many of the units, each example with the responses to another of its part."""
    some = now.subject.some(most, seed)
    activations = replace(some.activations, seen=exchanged(now.examples, seed))
    exemplars = strongest_of(now.question, activations, now.examples, nowhere)
    return Subject(SHUFFLED, activations, exemplars, CONTRASTS.empty())


def control_scores(
    now: Run, control: Subject, opened: Sequence[tuple[Reader, Predict]] | None = None
) -> pl.DataFrame:
    """Table `control_scores`, or one like it: words for a control's units, read and decided as any other's.

    By all that read without a language model, or those that are `opened`.
    """
    (describers, readers), resources = now.of_control, now.resources
    evidence = control.evidence(now.examples, resources.seed)
    ids = evidence.ids
    if opened is None:
        opened = [(reader, reader.open(now.examples, resources)) for reader in readers]
    every, found = [], []
    for number, describer in enumerate(describers):
        said = control.written(describer, now.examples, resources, now.study)
        described = described_units(describer.name, number, said, evidence, now.for_profiles)
        every.append(described)
    units = {unit for each in every for unit in each.units}
    held = HeldOut(
        control.activations,
        now.examples,
        [id for id in ids if id in units],
        resources.seed,
        control.exemplars,
    )
    for each in every:
        own = evaluate(each, opened, held, now.question.floors, now.study.path, now.question.supporting)
        found.append(own._replace(scores=with_decision(now, own.scores, each, opened, held)))
    scores = pl.concat([own.scores for own in found])
    chosen = choose(found, every, now.question.supporting, now.question.beside)
    texts = pl.DataFrame(
        [(id, text) for each in every for id, text in zip(each.ids, each.texts, strict=True)],
        schema={"description": pl.String, "text": pl.String},
        orient="row",
    )
    scores = scores.with_columns(selected=pl.col("description").is_in(chosen))
    return scores.join(texts, on="description", maintain_order="left").select(list(CONTROL_SCORES.columns))
