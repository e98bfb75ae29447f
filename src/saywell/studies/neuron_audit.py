"""What a study of neurons claims, derived again from its stored activations and tags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE, SELECT, parts_of
from saywell.encoders.sentence import open_sentence_encoder
from saywell.report.card import VERIFIED, unknown_unit
from saywell.scorers.skill import RESAMPLES
from saywell.store.study import Metric, Study
from saywell.studies.neuron_descriptions import association_table
from saywell.studies.neuron_descriptors import stored_vectors, tag_matrix
from saywell.studies.neuron_evaluation import curve_table, headline
from saywell.studies.neuron_scores import Described, described_units, open_reading, score_described
from saywell.studies.neuron_subject import FIRES, Subject, Tags, make_control, make_subject, strongest_texts
from saywell.studies.neuron_verified import score_control, tagged_by_itself, verified_metrics
from saywell.studies.score_tables import score_tables
from saywell.units.responses import Responses, Shards
from saywell.units.statistics import SOURCE, unit_table, with_places


def tables(study: Study) -> Iterator[tuple[str, pl.DataFrame]]:
    """Tables as they follow from what they were made of, one after the other."""
    stored = Shards(study.arrays("activations"))
    yield "units", _units(study, stored)
    found = strongest_texts(stored, study.units, study.examples, study.manifest.config["top"])
    yield "exemplars", found.drop("span_start", "span_end")
    subject, carried = _subject(study)
    config = study.manifest.config
    yield "associations", association_table(study, subject, config["threshold"])
    yield "curves", _curves(study, subject, carried)
    control = _control(study, carried["all"])
    if control is not None and "control_scores" in study.manifest.tables:
        descriptors, seed = study.table("descriptors"), config["seed"]
        found = score_control(control, descriptors, study.examples, carried["all"], seed)
        yield "control_scores", found
    del control
    described = described_units(study.units, study.descriptions, study.table("descriptors"))
    if described.ids:
        with _reading(study, subject, described, carried["all"]) as reading:
            scores = score_described(reading, described, subject, config["seed"])
        both = score_tables(described.ids, described.descriptions, scores)
        yield from zip(("scores", "floors"), both, strict=True)


def figures(study: Study) -> list[Metric]:
    """The headline figures."""
    subject, carried = _subject(study)
    config = study.manifest.config
    found = headline(
        study.table("curves"), subject, _control(study, carried["all"]), config["threshold"], config["seed"]
    )
    if any(metric.figure == VERIFIED for metric in study.headline()):
        own_tags = tagged_by_itself(study, study.units["model"][0])
        of_control = None
        if "control_scores" in study.manifest.tables:
            of_control = study.table("control_scores")
        found += verified_metrics(study.scores, of_control, own_tags=own_tags)
    return found


def claims(study: Study, unit: str) -> list[tuple[str, Any, Any]]:
    """What is stored of a unit, and what follows from its activations: (claim, stored, again).

    Raises InputError for a unit that the study does not have.
    """
    units = study.units
    if unit not in units["id"]:
        raise unknown_unit(unit, units["id"].to_list())
    subject, carried = _subject(study)
    place = units["id"].index_of(unit)
    stored = subject.activations.responses
    again = _units(study, stored).row(place, named=True)
    result = [
        (name, value, again[name])
        for name, value in units.row(place, named=True).items()
        if name in ("mean", "std", "minimum", "maximum", "threshold", "fires", "state")
    ]
    found = strongest_texts(stored, units, study.examples, study.manifest.config["top"])
    for split in (DESCRIBE, SELECT):
        stored, derived = (
            table.filter(unit=unit, part=split).sort("rank")["example"].to_list()
            for table in (study.exemplars, found)
        )
        result.append((f"exemplars, {split}", stored, derived))
    threshold, seed = (study.manifest.config[name] for name in ("threshold", "seed"))
    stored, derived = (
        table.filter(unit=unit, part=DESCRIBE)
        .sort("descriptor")
        .select("descriptor", "hits", "lift", "q", "enriched")
        .rows()
        for table in (study.table("associations"), association_table(study, subject, threshold))
    )
    result.append(("descriptors", stored, derived))
    described = described_units(units, study.descriptions, study.table("descriptors"))
    if unit in described.ids:
        only = np.array([described.ids.index(unit)])
        kept = study.scores.filter(unit=unit)
        if "resamples" not in kept.columns:
            kept = kept.with_columns(resamples=pl.lit(RESAMPLES))
        resamples = {
            reader: np.array([number]) for reader, number in kept.select("reader", "resamples").iter_rows()
        }
        with _reading(study, subject, described, carried["all"]) as reading:
            scores = score_described(reading, described, subject, seed, only, resamples)
        again, _ = score_tables([unit], [described.descriptions[only[0]]], scores)
        for row in again.iter_rows(named=True):
            old = kept.row(by_predicate=pl.col("reader") == row["reader"], named=True)
            result += [
                (f"{row['measure']} by {row['reader']}: {name}", old[name], row[name])
                for name in ("value", "ci_low", "ci_high", "control", "floor", "skill", "skill_low")
            ]
    return result


def _subject(study: Study) -> tuple[Subject, dict[str, Tags]]:
    carried = {"all": tag_matrix(study)}
    if "encoder" in study.table("tags")["source"]:
        carried["lexical"] = tag_matrix(study, ("lexical",))
    stored = Shards(study.arrays("activations"))
    made = make_subject(stored, study.units, study.exemplars, study.examples, carried["all"])
    return made, carried


def _control(study: Study, tags: Tags) -> Subject | None:
    if not study.manifest.config["random_control"]:
        return None
    stored, top = Shards(study.arrays("activations-random")), study.manifest.config["top"]
    return make_control(stored, _source_units(study), study.examples, tags, top)


def _curves(study: Study, subject: Subject, carried: dict[str, Tags]) -> pl.DataFrame:
    config = study.manifest.config
    control = _control(study, carried["all"])
    return curve_table(study, subject, control, carried, config["threshold"], config["seed"])


def _source_units(study: Study) -> pl.DataFrame:
    """What was known of the units before anything was collected."""
    return with_places(study.units).select(name for name in SOURCE if name in (*study.units.columns, "place"))


def _units(study: Study, stored: Responses) -> pl.DataFrame:
    """Table `units`, with the columns that it has."""
    made = unit_table(_source_units(study), stored, FIRES, parts_of(study.examples).describe)
    return made.select(study.units.columns)


def _reading(study: Study, subject: Subject, described: Described, tags: Tags):
    vectors, encoder = stored_vectors(study), None
    if vectors is not None:
        encoder = open_sentence_encoder(study.manifest.config["encoder"])
    return open_reading(study, subject, described, tags, study.examples, encoder, vectors)
