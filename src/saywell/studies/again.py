"""What a study claims of its units, made again from what it stores: responses, tags, descriptions, vectors.

Nothing is opened but the encoders of readers, and a reader that cannot be had here is left out. What a
describer wrote, or a language model read, is taken as it is stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import polars as pl

from saywell.data.examples import EXAMPLES, REJECTED, Examples, Kind
from saywell.data.parts import SCORE
from saywell.describers.claims import Claims
from saywell.describers.describer import Evidence
from saywell.describers.descriptors.tables import TAGS, stored_tags
from saywell.describers.llm import ByLLM
from saywell.describers.registry import DESCRIBERS, find_describers
from saywell.describers.wording import as_worded
from saywell.description import Description
from saywell.errors import InputError, SaywellError
from saywell.readers.claims import ClaimReader
from saywell.readers.reader import CLAIMS, Predict, Reader
from saywell.readers.registry import READERS
from saywell.resources import STORED_VECTORS, Resources
from saywell.scorers.deciding import NOT_TESTED, NOT_VERIFIED
from saywell.scorers.evaluate import HeldOut, choose
from saywell.scorers.floors import FLOORS
from saywell.scorers.score_tables import AGAINST, FLOORED, SCORED, SHUFFLED_SCORES
from saywell.store.files import read_array
from saywell.store.study import Metric, Study, StudyWriter
from saywell.store.table import Table
from saywell.studies.described import DESCRIPTIONS, described_units, description_id, stored_descriptions
from saywell.studies.spine import (
    CONTROL,
    RESPONSES,
    Extra,
    Question,
    Run,
    Subject,
    control_scores,
    controls_of,
    evaluated,
    strongest_of,
    where_in,
)
from saywell.studies.verified import VERIFIED, Beside, verified_metrics
from saywell.units.activations import Activations
from saywell.units.exemplars import CONTRASTS, EXEMPLARS, Locate, contrast_table, nowhere
from saywell.units.firing import GIVEN, Firing, Given
from saywell.units.marked import stored_firing
from saywell.units.responses import Responses, open_responses
from saywell.units.source import exchanged
from saywell.units.statistics import SOURCE, UNITS, unit_table


@runtime_checkable
class Derives(Protocol):
    """An extra whose tables and figures follow from what is stored."""

    @property
    def tables(self) -> Sequence[Table]:
        """What it leaves in a study."""
        ...

    def again(self, run: Run) -> tuple[Sequence[pl.DataFrame], list[Metric]]:
        """Its tables, in their order, and its figures."""
        ...


@dataclass(frozen=True)
class Stored:
    """The source of a study that was made: its units, and responses that are not collected again."""

    study: Study
    firing: Firing
    name: str
    kind: str = "stored"
    fingerprint: str = ""

    def units(self) -> pl.DataFrame:
        """As the study has them, without their statistics."""
        return self.study.units.select(name for name in SOURCE if name in self.study.units.columns)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What there is."""
        return open_responses(folder, len(examples))

    def control(self, seed: int) -> None:
        """What there is of it is read from its own folder."""

    def locate(self, examples: Examples) -> Locate:
        """Spans are not made again."""
        return nowhere


@dataclass(frozen=True)
class Written:
    """A describer whose evidence is not all in the study: what it wrote is taken as it is."""

    name: str
    version: int = 1
    kinds: Sequence[Kind] = ()
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """What the study says."""
        return stored_descriptions(study, study.table(DESCRIPTIONS).filter(describer=self.name))


def stored_run(study: Study, extras: Sequence[Extra], caveats: Mapping[str, str]) -> Run:
    """All that the steps after collecting need. Raises InputError for a study that keeps no responses."""
    config = study.manifest.config
    if RESPONSES not in study.manifest.steps or "firing" not in config:
        raise InputError(f"{str(study.path)!r} keeps no responses of its units to start from")
    if config["firing"] == GIVEN:
        raise InputError(f"{str(study.path)!r} is of planted units and does not keep where they fire")
    examples = _examples(study)
    firing = stored_firing(config["firing"], examples, study.units.height)
    seed = int(config.get("seed", 0))
    encoder = str(config.get("encoder") or "minilm")
    resources = Resources(encoder, dual=encoder, seed=seed)
    for file, (_, array) in STORED_VECTORS.items():
        if study.has(file):
            resources.keep(examples, read_array(study.file(file), array), file)
    written, scores = study.table(DESCRIPTIONS), study.table(SCORED)
    found = written["describer"].unique(maintain_order=True).to_list()
    names, threshold = [name for name in found if name in DESCRIBERS], config.get("threshold", 0.5)
    able = find_describers(names, examples.kind, threshold=threshold, topics=bool(config.get("topics", True)))
    made = {describer.name: describer for describer in able}
    claims = made.get(Claims.name)
    if isinstance(claims, Claims) and claims.topics and not _encodes(resources, examples):
        del made[Claims.name]
    readers = [READERS[n] for n in scores["reader"].unique(maintain_order=True) if n in READERS]
    if not config.get("literal", True):
        readers = [replace(one, literal=False) if isinstance(one, ClaimReader) else one for one in readers]
    question = Question(
        study.manifest.kind,
        Stored(study, firing, str(config.get("model", ""))),
        [made.get(name) or Written(name) for name in found],
        readers,
        config,
        floors=tuple(floor for name, floor in FLOORS.items() if name in set(study.table(FLOORED)["floor"])),
        extras=extras,
        strongest=int(config.get("top", Question.strongest)),
        caveats=caveats,
        shared=frozenset(config.get("shared", ())),
        beside=frozenset(config.get("beside", ())),
        shuffled=SHUFFLED_SCORES.name in study.manifest.tables and CONTROL not in study.manifest.steps,
    )
    responses = open_responses(study.arrays(RESPONSES), len(examples))
    subject = Subject(
        question.source.name,
        Activations(responses, study.units, firing),
        study.table(EXEMPLARS),
        study.table(CONTRASTS),
    )
    reading = cast(StudyWriter, study)  # nothing that is made again is stored
    return Run(question, reading, examples, resources, subject, _control(study, question, examples))


def _encodes(resources: Resources, examples: Examples) -> bool:
    """Whether the encoder can be had by which an example is like a phrase."""
    with suppress(SaywellError):
        return len(resources.encode(examples, ["text"])) == 1
    return False


def tables_again(run: Run) -> Iterator[tuple[Table, pl.DataFrame]]:
    """Tables as they follow from what they were made of, one after the other."""
    study, source, examples = run.study, run.question.source, run.examples
    responses, describe = run.subject.activations.responses, examples.parts.describe
    yield UNITS, unit_table(source.units(), responses, source.firing, describe)
    placed = SCORE in study.exemplars["part"]
    found = strongest_of(run.question, run.subject.activations, examples, nowhere, placed=placed)
    yield EXEMPLARS, found.select("unit", "part", "rank", "example", "activation")
    yield CONTRASTS, contrast_table(run.subject.activations, examples.ids, describe, run.resources.seed)
    cheap = _opened(run)
    (free, readers), named = run.of_control, {reader.name for reader, _ in cheap}
    for table, control in (
        () if not cheap or any(isinstance(one, Written) for one in free) else _controls(run)
    ):
        rows = control_scores(run, control, cheap)
        lacking = any(reader.name not in named for reader in readers)
        # Who decides, and what is chosen, is known only where everybody reads.
        yield table, rows.drop("status", "decides", "selected") if lacking else rows
    if (written := _written(run)).height:
        yield DESCRIPTIONS, written
    if cheap:
        yield from _scores(run, cheap)


def units_again(run: Run) -> Iterator[tuple[Table, pl.DataFrame]]:
    """Tables with rows of single units: what is claimed of them."""
    yield from tables_again(run)
    for extra in run.question.extras:
        if isinstance(extra, Derives) and all("unit" in table.columns for table in extra.tables):
            yield from zip(extra.tables, extra.again(run)[0], strict=True)


def figures_again(run: Run) -> Iterator[tuple[Table, pl.DataFrame] | Metric]:
    """Tables and figures of the question's own, then how many descriptions are verified."""
    for extra in run.question.extras:
        if isinstance(extra, Derives):
            tables, figures = extra.again(run)
            yield from zip(extra.tables, tables, strict=True)
            yield from figures
    beside = [Beside.of(control, run.study.table(table)) for table, control in _controls(run)]
    yield from verified_metrics(run, beside)


def _controls(run: Run) -> list[tuple[Table, Subject]]:
    """Those that the study has been held against."""
    return [each for each in controls_of(run) if each[0].name in run.study.manifest.tables]


def _written(run: Run) -> pl.DataFrame:
    """What those describers write who ask nobody and have all their evidence in the study.

    Of a claim that an LLM put in other words these are taken, where they say the same.
    """
    rows, stored = [], run.study.table(DESCRIPTIONS)
    put = dict(stored.filter(pl.col("llm").is_not_null()).select("id", "text").iter_rows())
    for number, describer in enumerate(run.question.describers):
        if not isinstance(describer, Written | ByLLM):
            for own in run.subject.written(describer, run.examples, run.resources, run.study):
                id = description_id(own.unit, number)
                rows.append((id, as_worded(own, put.get(id, own.text)), list(own.descriptors), own.status))
    columns = {name: DESCRIPTIONS.columns[name] for name in ("id", "text", "descriptors", "status")}
    return pl.DataFrame(rows, schema=columns, orient="row")


def _scores(run: Run, cheap: Sequence[tuple[Reader, Predict]]) -> Iterator[tuple[Table, pl.DataFrame]]:
    """What the readers that can be had make of the stored descriptions; of others what is stored is taken.

    Where that is all of them, also the counterexamples and which descriptions are `selected`.
    """
    written = run.study.table(DESCRIPTIONS)
    evidence = run.subject.evidence(run.examples, run.resources.seed)
    others = _alone(run.study.table(SCORED).filter(~pl.col("reader").is_in([r.name for r, _ in cheap])))
    frames, every = [], []
    for number, name in enumerate(written["describer"].unique(maintain_order=True)):
        said = stored_descriptions(run.study, written.filter(describer=name))
        described = described_units(name, number, said, evidence, run.for_profiles)
        held = HeldOut(
            run.subject.activations, run.examples, described.units, run.resources.seed, run.subject.exemplars
        )
        frames.append(evaluated(run, described, cheap, held, others.filter(describer=name)))
        every.append(described)
    tables = [pl.concat(each) for each in zip(*(found[:3] for found in frames), strict=True)]
    yield from zip((SCORED, FLOORED), tables[:2], strict=True)
    if len(cheap) == sum(not reader.costly for reader in run.question.readers):
        yield AGAINST, tables[2]
        best = choose(frames, every, run.question.supporting, run.question.beside)
        chosen = written.select("id", selected=pl.col("id").is_in(best))
        yield DESCRIPTIONS, chosen


def _alone(scores: pl.DataFrame) -> pl.DataFrame:
    """What readers made of descriptions before it was asked who decides."""
    own = pl.when("verifies").then(pl.lit(VERIFIED)).otherwise(pl.lit(NOT_VERIFIED))
    return scores.with_columns(
        status=pl.when(pl.col("verifies").is_null()).then(pl.lit(NOT_TESTED)).otherwise(own)
    )


def _examples(study: Study) -> Examples:
    table = study.examples
    kind = "pair" if "first" in table.columns else "text" if "text" in table.columns else "image"
    rejected = study.table(REJECTED)
    print_ = study.manifest.inputs.get(EXAMPLES.name, "")
    examples = Examples(table, kind, print_, rejected, table.height + rejected.height)
    if TAGS.name in study.manifest.tables:
        examples = examples.with_tags(stored_tags(study, examples.ids))
    return examples


def _control(study: Study, question: Question, examples: Examples) -> Subject | None:
    if CONTROL not in study.manifest.steps:
        return None
    responses = open_responses(study.arrays(CONTROL), len(examples))
    firing = question.source.firing
    if isinstance(firing, Given):  # who fires where is told by example, and these have another's
        firing = Given(firing.told[:, exchanged(examples, int(study.manifest.config["seed"]))])
    units = unit_table(question.source.units(), responses, firing, examples.parts.describe)
    activations = Activations(responses, units, firing)
    verified = next((metric for metric in study.headline() if metric.figure == VERIFIED), None)
    named = "" if verified is None else next(iter(verified.controls), "")
    strongest = strongest_of(question, activations, examples, where_in(responses))
    return Subject(named, activations, strongest, CONTRASTS.empty())


def _opened(run: Run) -> list[tuple[Reader, Predict]]:
    """The readers that ask no language model and can be had here."""
    found, written = [], run.study.table(DESCRIPTIONS)
    like = "claim" in written.columns and bool(written["claim"].str.contains(r"\blike\(").any())
    # Without tags an encoder says which units are alike, and every score is beside those of like units.
    alike = run.for_profiles is not None and run.examples.tags is None
    able = not (like or alike) or _encodes(run.resources, run.examples)
    if alike and not able:
        return []
    for reader in run.question.readers:
        with suppress(SaywellError):
            if not reader.costly and (able or reader.name != CLAIMS):
                found.append((reader, reader.open(run.examples, run.resources)))
    return found
