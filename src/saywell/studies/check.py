"""Are descriptions that somebody else wrote true? Units of a study, or latents of a dictionary, say so.

Of latents it is the question of `saywell.studies.features`, with those who wrote in place of describers.

A check against a study is a study of the same units, answered by the loop of `saywell.studies.spine`: its
source is what the first study stored; those who write are whoever wrote the descriptions, and beside them the
study, with those that stand for its units. So both are read by the same readers on the same examples and have
to beat the same floors.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from inspect import get_annotations
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saywell.claims.english import english
from saywell.claims.language import is_claim, parse
from saywell.data.examples import Examples, Kind
from saywell.data.others import Others, read_descriptions
from saywell.data.pictures import THUMBNAILS
from saywell.describers.describer import Evidence
from saywell.describers.descriptors.tables import DESCRIPTORS, TAGS
from saywell.describers.given import Given
from saywell.description import UNGIVEN, Description
from saywell.encoders.fingerprints import combined
from saywell.encoders.sentence import SentenceEncoder
from saywell.errors import InputError
from saywell.language_models import LanguageModel
from saywell.progress import Progress, automatic
from saywell.readers.claims import ClaimReader
from saywell.readers.reader import AsksElse, Reader
from saywell.readers.registry import find_reader
from saywell.resources import STORED_VECTORS, Resources
from saywell.scorers.evaluate import Budget
from saywell.scorers.floors import top_words
from saywell.scorers.intervals import bootstrap_mean
from saywell.scorers.thresholds import decide
from saywell.store.files import read_array
from saywell.store.study import Metric, Study, StudyWriter, deciding_rows
from saywell.store.table import UNANSWERED, Table
from saywell.studies.again import stored_run
from saywell.studies.described import DESCRIPTIONS, stored_descriptions
from saywell.studies.features import describe_features
from saywell.studies.llm import opened_llm
from saywell.studies.settings import CheckSettings, LlmSettings, named, settings_of
from saywell.studies.spine import RESPONSES, Extra, Question, Run, run
from saywell.studies.token_scores import TokenScores
from saywell.units.activations import Activations
from saywell.units.dictionaries.dictionary import Dictionary
from saywell.units.dictionaries.load import load_dictionary
from saywell.units.exemplars import EXEMPLARS, Locate, exemplar_table, nowhere
from saywell.units.firing import Firing
from saywell.units.latents import KIND
from saywell.units.responses import Responses, open_responses
from saywell.units.statistics import SOURCE, source_units

GIVEN, OWN = "given", "own"
"""Who wrote: those that were brought (more than one by name), and the study that is checked against."""
_SPANS = ("span_start", "span_end", "region_left", "region_top", "region_right", "region_bottom")
_AT_ONCE = 512
_SHOWN = 80
CHECKED = Table(
    "checked",
    {
        "description": pl.String,
        "unit": pl.String,
        "by": pl.String,
        "text": pl.String,
        "status": pl.String,
        "reader": pl.String,
        **dict.fromkeys(("value", "control", "skill", "skill_low", "skill_high", "q"), pl.Float64),
        "fits": pl.Int64,
        "fits_of": pl.Int64,
        "own": pl.String,
        "own_status": pl.String,
        "own_value": pl.Float64,
        "own_skill": pl.Float64,
    },
    key=("description",),
)
"""Each description that was brought, by the reader who decides of it, beside the unit's own. `fits` counts
the other units of the study, of `fits_of`, to which it fits at least as well as to its own (F1 on score
examples): many, and it is vague; null where it does not fit its own (no skill), and where a reader that costs
decides."""


def check_descriptions(
    descriptions: str | Path | pl.DataFrame | Others,
    study: str | Path | Study,
    *,
    out: str | Path,
    settings: CheckSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: str | SentenceEncoder | None = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Put somebody else's descriptions of a study's units to the test, beside the study's own.

    `descriptions`  a file, folder or table in any form of `saywell.data.others`, or what is read from one.
    `study`         a finished study of any kind that has units; its responses and examples are the test.
    `out`           a folder for the check, which is a study of its own (kind "check", table `checked`).
    `settings`, `options`: the fields of `CheckSettings`, as a record or one by one.
    `llm`, `encoder`  who reads beside those that need neither; the encoder is the study's by default.

    Descriptions of units that the study does not have are counted and said. Raises InputError where none
    belongs to it, where they are of several places (`only` chooses), and for a study without responses.
    """
    asked = settings_of(CheckSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    _need_no_features(asked)
    of = study if isinstance(study, Study) else Study(study)
    others = descriptions if isinstance(descriptions, Others) else read_descriptions(descriptions)
    with opened_llm(asked, Path(out), llm, progress) as opened:
        question, examples, resources = _posed(of, others, asked, opened, encoder, progress)
        return run(question, examples, out=out, resources=resources, command=command)


def check_features(
    descriptions: str | Path | pl.DataFrame | Others,
    examples: Any,
    *,
    model: Any,
    dictionary: str | Path | Dictionary,
    out: str | Path,
    settings: CheckSettings | None = None,
    llm: LanguageModel | str | None = None,
    encoder: Any = None,
    tokenizer: Any = None,
    command: Sequence[str] = (),
    progress: Progress = automatic,
    **options: Any,
) -> Study:
    """Put somebody else's descriptions of a dictionary's latents to the test on texts or pictures of yours.

    `descriptions` as for `check_descriptions`, the other arguments as for `describe_features`: the study is
    one of features whose describers are those who wrote. Latents that nobody describes are left out. Raises
    InputError as either does.
    """
    asked = settings_of(CheckSettings, settings, {**options, **named(llm=llm, encoder=encoder)})
    if asked.train is not None or dictionary is None:
        raise InputError("descriptions are of latents that there are: give --dictionary, and no --train")
    if asked.latents is not None or asked.some is not None:
        raise InputError("which latents are studied the descriptions say: leave out --latents and --some")
    others = descriptions if isinstance(descriptions, Others) else read_descriptions(descriptions)
    loaded = dictionary if isinstance(dictionary, Dictionary) else load_dictionary(dictionary).dictionary
    units = source_units([f"{KIND}/{number}" for number in range(loaded.latents)], KIND)
    found = matched(others, units, asked.only, model if isinstance(model, str) else "")
    numbers = dict(units.select("id", "index").iter_rows())
    latents = sorted(numbers[unit] for unit in found.units)
    return describe_features(
        examples,
        out=out,
        model=model,
        dictionary=dictionary,
        settings=settings_of(CheckSettings, asked, {"latents": latents}),
        llm=llm,
        encoder=encoder,
        tokenizer=tokenizer,
        given=found.writers,
        command=command,
        progress=progress,
    )


# ---- whose they are


class Matched(NamedTuple):
    """Descriptions of units that there are, by who wrote them."""

    writers: Sequence[Given]

    @property
    def units(self) -> set[str]:
        """All that anybody wrote of."""
        return {unit for writer in self.writers for unit in writer.texts}


def _claims(of: Study) -> dict[str, str]:
    """The study's own sentences that are claims, with these."""
    own = of.descriptions
    if "claim" not in own.columns:
        return {}
    return dict(own.filter(pl.col("claim").fill_null("") != "").select("text", "claim").iter_rows())


def matched(
    others: Others,
    units: pl.DataFrame,
    only: Sequence[str] = (),
    model: str = "",
    claims: Mapping[str, str] = MappingProxyType({}),
) -> Matched:
    """The descriptions as those of the units of a study, by their ids or numbers.

    `units`: id, index, layer, sign. `only`: COLUMN=VALUE, of which descriptions alone. A number means the
    side of a unit that goes high. `model`: whose units they are. `claims`: what sentences claim that are
    given without one. Raises InputError where none of them belongs to these units, and where it cannot be
    told which of several places they are of.
    """
    others = others.only(_wanted(only))
    high = units.filter(pl.col("sign").fill_null(1) > 0).select("id", "index", "layer")
    layered = high["layer"].drop_nulls().n_unique() > 1 and "layer" in others.origin
    _need_one_place(others, ("layer",) if layered else ())
    by_number: dict[tuple[str, int], list[str]] = {}
    for id, index, layer in high.iter_rows():
        if index is not None:
            by_number.setdefault((str(layer) if layered else "", index), []).append(id)
    ids = set(units["id"])
    several: dict[tuple[str, int], list[str]] = {}

    def whose(unit: str | None, index: int | None, layer: str) -> str | None:
        if unit in ids:
            return unit
        if index is None and unit is not None and re.fullmatch(r"\d{1,18}", unit):
            index = int(unit)
        if index is None:
            return None
        found = by_number.get((layer if layered else "", index), [])
        if len(found) > 1:
            several[layer, index] = found
        return found[0] if len(found) == 1 else None

    layers = others.table["layer"].to_list() if "layer" in others.origin else [""] * others.table.height
    rows = others.table.select("unit", "index", "text", "by", "claim").iter_rows()
    texts: dict[tuple[str, int], dict[str, tuple[str, str]]] = {}
    lost = []
    for (unit, index, text, by, claim), layer in zip(rows, layers, strict=True):
        own = whose(unit, index, layer)
        if own is None:
            lost.append(unit if index is None else index)
            continue
        number = 1
        while own in texts.get((by, number), {}):  # another text by the same writer
            number += 1
        claim = claim if is_claim(claim) else text if is_claim(text) else claims.get(text, "")
        said = english(parse(claim)) if claim == text and claim else text
        texts.setdefault((by, number), {})[own] = said, claim
    if not texts:
        near = ", ".join(map(repr, units["id"].head(3)))
        if several:
            (layer, index), found = next(iter(several.items()))
            raise InputError(
                f"{others.name} tells units by their number, and number {index} is that of"
                f" {', '.join(map(repr, found[:3]))}: give a column unit with their ids, or layer"
            )
        raise InputError(
            f"none of the {others.table.height} descriptions in {others.name} is of a unit of the study: they"
            f" are of {str(lost[0])[:_SHOWN]!r}, ..., its units are {near}, ...: another model, layer or"
            " dictionary?"
        )
    notes = list(others.notes)
    if lost:
        some = ", ".join(str(one)[:_SHOWN] for one in lost[:3])
        notes.append(
            f"{len(lost)} of {others.table.height} descriptions are of units that the study does not have"
            f" ({some}{', ...' if len(lost) > 3 else ''}) and are left out."
        )
    theirs = others.table["model"].unique().to_list() if "model" in others.origin else []
    if theirs and theirs[0] and model and _bare(theirs[0]) != _bare(model):
        notes.append(
            f"The descriptions say that they are of the model {theirs[0]!r}; the units are of {model!r}."
        )
    writers = [
        Given(
            {unit: text for unit, (text, _) in own.items()},
            _called(by, number, len(texts)),
            {unit: claim for unit, (_, claim) in own.items() if claim},
            some=True,
            notes=notes,
        )
        for (by, number), own in texts.items()
    ]
    return Matched(writers)


def _called(by: str, number: int, of: int) -> str:
    if of == 1:
        return GIVEN
    name = f"{GIVEN}, {by[:_SHOWN]}" if by else GIVEN
    return name if number == 1 else f"{name} ({number})"


def _bare(model: str) -> str:
    """A model's name without its owner, whatever signs part its words."""
    return re.sub(r"[^a-z0-9]+", "", model.rstrip("/").rsplit("/", 1)[-1].lower())


def _wanted(only: Sequence[str]) -> dict[str, str]:
    wrong = next((one for one in only if not re.fullmatch(r"[^=]+=.+", one)), None)
    if wrong is not None:
        raise InputError(f"only={wrong[:_SHOWN]!r} (--only) is no COLUMN=VALUE, such as layer=3")
    return dict(one.split("=", 1) for one in only)  # type: ignore[misc]


def _need_no_features(asked: CheckSettings) -> None:
    able = {"only", "reader", "encoder", "device", "llm_units", *get_annotations(LlmSettings)}
    fields = CheckSettings.model_fields
    for name in (name for name in fields if name not in able):
        value = getattr(asked, name)
        if value != fields[name].get_default(call_default_factory=True):
            raise InputError(
                f"{name}={str(value)[:_SHOWN]!r} (--{name.replace('_', '-')}) is of examples and latents, and"
                " those of the study are as they are: leave it out"
            )


def _need_one_place(others: Others, apart: Sequence[str]) -> None:
    places = others.origins((*apart, "source") if "layer" in others.origin else apart)
    if places.height > 1:
        several = [name for name in places.columns if places[name].n_unique() > 1]
        how = " ".join(f"--only {name}={places[name][0][:_SHOWN]}" for name in several)
        raise InputError(
            f"{others.name} describes units of {places.height} places, told apart by {', '.join(several)},"
            f" and a number means another unit in each; say which: {how}"
        )


# ---- the question


def _posed(
    of: Study,
    others: Others,
    asked: CheckSettings,
    llm: LanguageModel | None,
    encoder: str | SentenceEncoder | None,
    progress: Progress,
) -> tuple[Question, Examples, Resources]:
    from saywell.studies.questions import own_of  # which knows checks, too

    if of.manifest.status != "complete":
        raise InputError(f"{str(of.path)!r} is not finished; run its command to the end")
    kept = stored_run(of, *own_of(of))
    config, examples = of.manifest.config, kept.examples
    found = matched(others, of.units, asked.only, str(config.get("model") or ""), _claims(of))
    resources = Resources(
        encoder or asked.encoder or str(config.get("encoder") or "minilm"),
        kept.resources.dual,
        llm=llm,
        seed=kept.resources.seed,
        progress=progress,
        prompts=asked.prompts,
        device=asked.device or "auto",
    )
    same = encoder is None and asked.encoder in (None, config.get("encoder"))
    source = OfStudy(of, kept, sorted(found.units), same)
    if same:
        for file, (_, array) in STORED_VECTORS.items():
            if of.has(file):
                resources.keep(examples, read_array(of.file(file), array), file)
    readers = _readers(kept, asked, examples.kind)
    settled = {
        "only": asked.only,
        "seed": resources.seed,
        "encoder": asked.encoder or config.get("encoder"),
        "model": config.get("model"),
        "checked": of.manifest.kind,
        "literal": False,
        "beside": [OWN],
        "readers": [reader.name for reader in readers],
        "llm": asked.llm,
        "llm_units": asked.llm_units,
        "threshold": config.get("threshold", 0.5),
        "caveats": dict(kept.question.caveats),
        "peaks": peaks_shared(others, of),
    }
    extras: list[Extra] = [TokenScores(), Compared(settled["peaks"], of)]
    question = Question(
        "check",
        source,
        [*found.writers, Standing(of)],
        readers,
        settled,
        {"study": source.fingerprint, "descriptions": combined(*(one.fingerprint for one in found.writers))},
        StoredTags(of) if examples.tags is not None else None,
        floors=kept.question.floors,
        extras=extras,
        strongest=kept.question.strongest,
        budget=Budget(asked.llm_units),
        caveats=kept.question.caveats,
        shared=kept.question.shared,
        beside=frozenset([OWN]),
        shuffled=True,
    )
    return question, examples, resources


def _readers(kept: Run, asked: CheckSettings, kind: Kind) -> list[Reader]:
    """Who is named, else who read for the study and costs nothing; claims are executed, and nothing else."""
    named_ = [find_reader(name, kind) for name in asked.reader]
    usual = [one for one in kept.question.readers if not one.costly and not isinstance(one, AsksElse)]
    readers = named_ or usual
    return [replace(one, literal=False) if isinstance(one, ClaimReader) else one for one in readers]


@dataclass(frozen=True)
class OfStudy:
    """Some units of a study that was made, with what it stored of them."""

    study: Study
    kept: Run
    ids: Sequence[str]
    vectors: bool
    """Whether those of its encoder are of use."""

    @property
    def kind(self) -> str:
        """As of the study."""
        return str(self.study.units["kind"][0])

    @property
    def name(self) -> str:
        """The model that they are of, else the study's folder."""
        return self.kept.question.source.name or self.study.path.name

    @property
    def fingerprint(self) -> str:
        """Of the study's responses, and of what it says of its units."""
        manifest = self.study.manifest
        names = (EXEMPLARS.name, DESCRIPTIONS.name, "units", "examples")
        return combined(manifest.steps[RESPONSES].hash, *(manifest.tables[name].hash for name in names))

    @property
    def firing(self) -> Firing:
        """As of the study."""
        return self.kept.question.source.firing

    def units(self) -> pl.DataFrame:
        """As the study has them, without statistics."""
        own = self.study.units.filter(pl.col("id").is_in(self.ids))
        return own.select(name for name in SOURCE if name in own.columns)

    def collect(self, examples: Examples, folder: Path, resources: Resources) -> Responses:
        """What is stored, linked or copied, and with it the vectors of its encoder."""
        _copy(self.study.arrays(RESPONSES), folder)
        for file, (step, _) in STORED_VECTORS.items() if self.vectors else ():
            if resources.study is not None and self.study.has(file):
                into = resources.study.path / file
                resources.study.step(
                    step,
                    lambda f=file, i=into: _link(self.study.file(f), i),
                    files=(file,),
                    uses=("examples",),
                )
        return open_responses(folder, len(examples))

    def control(self, seed: int) -> None:
        """None but its own units shuffled."""

    def locate(self, examples: Examples) -> Locate:
        """Where the study says that its exemplars responded."""
        return nowhere if self._places is None else self._located

    def _located(self, places: np.ndarray, examples: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
        asked = pl.DataFrame({"place": places, "row": examples, "position": positions}).cast(pl.Int64)
        assert self._places is not None
        return asked.join(self._places, on=asked.columns, how="left", maintain_order="left").drop(
            asked.columns
        )

    @cached_property
    def _places(self) -> pl.DataFrame | None:
        """Of every exemplar its place, example and position, with its span or region."""
        stored = self.study.exemplars
        spans = [name for name in _SPANS if name in stored.columns]
        if stored.height == stored.select(spans).null_count().row(0)[0] and "region_left" not in spans:
            return None
        seen: list[pl.DataFrame] = []

        def spy(places: np.ndarray, rows: np.ndarray, positions: np.ndarray) -> pl.DataFrame:
            seen.append(pl.DataFrame({"place": places, "row": rows, "position": positions}).cast(pl.Int64))
            return nowhere(places, rows, positions)

        asked = {
            name: rows
            for name, rows in self.kept.examples.parts._asdict().items()
            if name in set(stored["part"])
        }
        activations: Activations = self.kept.subject.activations
        made = exemplar_table(activations, self.kept.examples.ids, asked, self.kept.question.strongest, spy)
        made = made.select("unit", "part", "rank").hstack(pl.concat(seen))
        found = made.join(stored.select("unit", "part", "rank", *spans), on=["unit", "part", "rank"])
        return found.drop("unit", "part", "rank").unique(["place", "row", "position"], keep="first")


def _copy(source: Path, folder: Path) -> None:
    for file in sorted(source.rglob("*")):
        if file.is_file():
            _link(file, folder / file.relative_to(source))


def _link(file: Path, into: Path) -> None:
    """The same file in another place; files of studies are replaced, never written into."""
    into.parent.mkdir(parents=True, exist_ok=True)
    into.unlink(missing_ok=True)
    with suppress(OSError):
        os.link(file, into)
        return
    shutil.copyfile(file, into)


@dataclass(frozen=True)
class Standing:
    """The descriptions that stand for the units of a study, as they were written."""

    study: Study
    name: str = OWN
    version: int = 1
    kinds: Sequence[Kind] = ("text", "image", "pair")
    needs_tags: bool = False
    tables: Sequence[Table] = ()

    def describe(self, evidence: Evidence, resources: Resources, study: StudyWriter) -> list[Description]:
        """Of each unit what the study says."""
        written = self.study.table(DESCRIPTIONS).filter("selected", pl.col("text") != "")
        said = {own.unit: own for own in stored_descriptions(self.study, written)}
        return [said.get(unit) or Description(unit, "", UNGIVEN) for unit in evidence.ids]


@dataclass(frozen=True)
class StoredTags:
    """Who carries what, as a study has it."""

    study: Study
    name: str = "stored tags"
    tables: Sequence[Table] = (DESCRIPTORS, TAGS)

    def tag(self, examples: Examples, resources: Resources, study: StudyWriter) -> Examples:
        """The examples, which have their tags."""

        def tags() -> pl.DataFrame:
            lost = self.study.table(UNANSWERED).filter(step="tags")
            study.unanswered("tags", lost.with_columns(status=pl.lit("stored")) if lost.height else lost)
            return self.study.table(TAGS)

        study.table(DESCRIPTORS, lambda: self.study.table(DESCRIPTORS))
        study.table(TAGS, tags)
        return examples


# ---- how they compare


def peaks_shared(others: Others, of: Study) -> list[int] | None:
    """Of how many units somebody's peak tokens are among the study's own; None where none are known."""
    exemplars = of.exemplars
    examples = of.examples
    if not others.peaks or "text" not in examples.columns or exemplars["span_start"].null_count():
        return None
    high = of.units.filter(pl.col("sign").fill_null(1) > 0, pl.col("index").is_in(list(others.peaks)))
    ids = dict(high.select("id", "index").iter_rows())
    own = top_words(exemplars, examples.select("id", "text"), list(ids))
    pairs = [(mine, others.peaks[index]) for mine, index in zip(own, ids.values(), strict=True) if mine]
    agree = sum(
        any(peak.strip(" ▁Ġ#,.").lower() in mine for peak in theirs if peak.strip(" ▁Ġ#,."))
        for mine, theirs in pairs
    )
    return [agree, len(pairs)] if pairs else None


@dataclass(frozen=True)
class Compared:
    """Table `checked`, and by how much what was brought and the study's own differ, on the same units."""

    peaks: Sequence[int] | None = None
    of: Study | None = None
    tables: Sequence[Table] = (CHECKED,)

    def add(self, run: Run) -> list[Metric]:
        """The differences."""
        if self.of is not None and THUMBNAILS.name in self.of.manifest.tables:
            run.study.table(THUMBNAILS, lambda: self.of.table(THUMBNAILS) if self.of else THUMBNAILS.empty())
        if self.peaks is not None and 2 * self.peaks[0] < self.peaks[1]:
            run.study.note(
                f"Of {self.peaks[1]} units of which others show what they respond to, {self.peaks[0]} respond"
                " to any of it here: are the descriptions of another dictionary, layer or model?"
            )
        every = Activations(run.subject.activations.responses, self._units(run), run.question.source.firing)
        return self._figures(run, run.study.table(CHECKED, lambda: checked_table(run, every)))

    def again(self, run: Run) -> tuple[list[pl.DataFrame], list[Metric]]:
        """The table as it is stored, and the figures that follow from it."""
        table = run.study.table(CHECKED)
        return [table], self._figures(run, table)

    def _units(self, run: Run) -> pl.DataFrame:
        return run.study.units if self.of is None else self.of.units

    def _figures(self, run: Run, table: pl.DataFrame) -> list[Metric]:
        found = []
        for by in table["by"].unique(maintain_order=True):
            both = table.filter(pl.col("own_value").is_not_null(), pl.col("value").is_not_null(), by=by)
            gains = {
                "verified": (both["status"] == "verified").cast(pl.Float64)
                - (both["own_status"] == "verified").cast(pl.Float64),
                "F1": both["value"] - both["own_value"],
            }
            for figure, gain in gains.items():
                mean = bootstrap_mean(gain.to_numpy(), seed=run.resources.seed)
                none = mean.n == 0
                found.append(
                    Metric(
                        name=f"{figure}, {by} less own",
                        figure="gain over own",
                        by={"describer": by, "measure": figure},
                        value=None if none else mean.value,
                        ci_low=None if none else mean.low,
                        ci_high=None if none else mean.high,
                        n=mean.n,
                        of="units that both describe",
                        controls={"own": None if none else 0.0},
                        note="Above 0: better than what the study itself says of the same units.",
                    )
                )
        return found


def checked_table(run: Run, every: Activations) -> pl.DataFrame:
    """Table `checked`; `every`: what all units of the study do."""
    study = run.study
    written = study.table(DESCRIPTIONS).filter(pl.col("text") != "")
    scores = deciding_rows(study.scores)
    scored = written.join(
        scores.drop("unit", "describer"), left_on="id", right_on="description", how="left", suffix="_score"
    )
    scored = scored.with_columns(status=pl.col("status_score").fill_null("not tested"))
    own = scored.filter(describer=OWN).select(
        "unit", own="text", own_status="status", own_value="value", own_skill="skill"
    )
    given = scored.filter(pl.col("describer") != OWN)
    fits = _fits(run, given, every)
    return (
        given.with_columns(fits=fits, fits_of=pl.lit(every.units.height - 1, pl.Int64))
        .join(own, on="unit", how="left", maintain_order="left")
        .select(
            description="id",
            by="describer",
            **{n: n for n in CHECKED.columns if n not in ("description", "by")},
        )
        .select(list(CHECKED.columns))
    )


def _fits(run: Run, given: pl.DataFrame, every: Activations) -> pl.Series:
    """Of each description the number of other units to which it fits as well, as who decides reads it."""
    rows = run.examples.parts.score.rows
    ids = every.units["id"].to_list()
    place = {id: number for number, id in enumerate(ids)}
    fires = np.concatenate(
        [every.both(ids[start : start + _AT_ONCE], rows)[1] for start in range(0, len(ids), _AT_ONCE)]
        or [np.zeros((0, len(rows)), dtype=bool)]
    ).astype(np.float32)
    counted: list[int | None] = [None] * given.height
    said = stored_descriptions(run.study, given)
    for reader in run.question.readers:
        mine = np.flatnonzero((given["reader"] == reader.name).fill_null(False).to_numpy())
        if reader.costly or not len(mine):
            continue
        predict = reader.open(run.examples, run.resources)
        for start in range(0, len(mine), _AT_ONCE):
            some = mine[start : start + _AT_ONCE]
            thresholds = given["threshold"].gather(some).fill_null(np.inf).to_numpy()
            yes = (decide(predict([said[n] for n in some], rows), thresholds) == 1).astype(np.float32)
            hits = yes @ fires.T
            f1 = 2 * hits / np.maximum(yes.sum(1)[:, None] + fires.sum(1)[None], 1)
            for line, n in zip(f1, some, strict=True):
                own = place[given["unit"][int(n)]]
                if (given["skill"][int(n)] or 0) > 0:
                    counted[int(n)] = int((line >= line[own]).sum()) - 1
    return pl.Series("fits", counted, dtype=pl.Int64)
