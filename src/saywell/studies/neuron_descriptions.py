"""Steps 6 and 8 of the neuron study as tables: what each unit got, in words, and how it scored."""

from __future__ import annotations

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE, SCORE, SELECT
from saywell.describers.associations import Associations
from saywell.describers.descriptors.asking import FIND, TAG
from saywell.language_models import LanguageModel
from saywell.language_models.providers import EXTRACTIVE
from saywell.scorers.intervals import bootstrap_f1, confusion, f1_of
from saywell.store.schemas import empty_table
from saywell.store.study import Study, StudyWriter
from saywell.studies.neuron_scores import BY_TAGS
from saywell.studies.neuron_subject import Subject, Tags

MOST_NAMED = 5
"""Descriptors that a description names at most."""


def association_table(study: Study, subject: Subject, threshold: float) -> pl.DataFrame:
    """Every pair that either rule assigns, in calibration or validation."""
    names = study.table("descriptors")["id"].to_numpy()
    units = subject.units["id"].to_numpy()
    exemplars = study.exemplars.group_by("unit", "part").agg(exemplars=pl.len().cast(pl.Int32))
    frames = []
    for split in (DESCRIBE, SELECT):
        found = subject.found(split)
        composed, enriched = found.composed(threshold), found.enriched()
        unit, descriptor = (composed | enriched).nonzero()
        frames.append(
            pl.DataFrame(
                {
                    "unit": units[unit],
                    "part": [split] * len(unit),
                    "descriptor": names[descriptor],
                    "hits": found.hits[unit, descriptor],
                    "composition": found.composition[unit, descriptor].astype(np.float64),
                    "lift": found.lift[unit, descriptor].astype(np.float64),
                    "p": found.p[unit, descriptor].astype(np.float64),
                    "q": found.q[unit, descriptor].astype(np.float64),
                    "composed": composed[unit, descriptor],
                    "enriched": enriched[unit, descriptor],
                },
                schema_overrides={"unit": pl.String, "part": pl.String, "descriptor": pl.String},
            )
        )
    return pl.concat(frames).join(exemplars, on=["unit", "part"], maintain_order="left")


def description_table(study: StudyWriter, subject: Subject, llm: LanguageModel | None) -> pl.DataFrame:
    """Step 8: a unit's enriched descriptors in words, or why there are none."""
    descriptors = study.table("descriptors")
    described = most_lifted(subject.calibration)
    evidence = _evidence(study, described)
    texts, ids = descriptors["text"].to_list(), descriptors["id"].to_list()
    writer = "llm descriptors" if llm else "gold tags" if study.manifest.config["tags"] else EXTRACTIVE
    prompts = study.manifest.config["prompts"]
    hashes = ",".join(prompts[name] for name in (FIND, TAG) if name in prompts) or None
    written = []
    for number, (unit, state) in enumerate(subject.units.select("id", "state").iter_rows()):
        named = by_lift(subject.calibration, number, described)
        status = "described" if named else _why_not(state, subject, number)
        written.append(
            {
                "id": f"{unit}#0",
                "unit": unit,
                "text": ", ".join(texts[d] for d in named),
                "describer": writer,
                "llm": llm.name if llm else None,
                "prompt_hash": hashes,
                "sources": evidence.get(unit, []),
                "descriptors": [ids[d] for d in named],
                "rank": 0,
                "selected": bool(named),
                "status": status,
            }
        )
    schema = {name: kind for name, kind in empty_table("descriptions").schema.items() if name != "selection"}
    return pl.DataFrame(written, schema=schema)


def most_lifted(found: Associations) -> np.ndarray:
    """Units x descriptors: the enriched descriptors of highest lift, as many as a text names."""
    enriched = found.enriched()
    lift = np.where(enriched, found.lift, -np.inf)
    best = np.argsort(-lift, axis=1, kind="stable")[:, :MOST_NAMED]
    chosen = np.zeros_like(enriched)
    np.put_along_axis(chosen, best, True, axis=1)
    return chosen & enriched


def by_lift(found: Associations, unit: int, described: np.ndarray) -> list[int]:
    """A unit's descriptors, the most lifted first."""
    named = np.flatnonzero(described[unit])
    return named[np.argsort(-found.lift[unit, named], kind="stable")].tolist()


def _why_not(state: str, subject: Subject, unit: int) -> str:
    if state == "constant":
        return "no description: it gives the same value on every sentence"
    if state == "flat":
        return "no description: too many sentences reach its top value"
    if subject.calibration.hits[unit].sum() == 0:
        return "no description: its exemplars carry no descriptor"
    return "no description: no descriptor is enriched among its exemplars"


def _evidence(study: StudyWriter, described: np.ndarray, most: int = 5) -> dict[str, list[str]]:
    """Per unit the strongest exemplars that carry one of its descriptors."""
    units = study.units["id"].to_numpy()
    names = study.table("descriptors")["id"].to_numpy()
    unit, descriptor = described.nonzero()
    pairs = pl.DataFrame(
        {"unit": units[unit], "descriptor": names[descriptor]},
        schema={"unit": pl.String, "descriptor": pl.String},
    )
    tags = study.table("tags").select("example", "descriptor")
    shown = (
        study.exemplars.filter(part=DESCRIBE)
        .join(pairs, on="unit")
        .join(tags, on=["example", "descriptor"])
        .unique(["unit", "example"])
        .sort("unit", "rank")
        .group_by("unit")
        .agg(pl.col("example").head(most))
    )
    return dict(shown.iter_rows())


def recovered_table(study: StudyWriter, examples: pl.DataFrame, tags: Tags, seed: int) -> pl.DataFrame:
    """Table `recovered`: what became of each gold descriptor."""
    descriptors, verified = (
        study.table("descriptors"),
        study.scores.filter(reader=BY_TAGS, status="verified"),
    )
    named = study.descriptions.join(verified.select("unit"), on="unit").explode("descriptors")
    units = dict(named["descriptors"].value_counts().iter_rows())
    golds = examples["tags"].to_list()
    found = (tags.matrix > 0).toarray()
    split = examples["part"].to_numpy()
    rows = []
    for name in sorted({tag for tagged in golds for tag in tagged or ()}):
        carries = np.array([name in (tagged or ()) for tagged in golds])
        learn, check = (tags.known & (split == part) for part in (DESCRIBE, SCORE))
        best = int(np.argmax(f1_of(confusion(carries[learn], found[learn]))))
        cells = confusion(carries[check], found[check][:, [best]])
        value, low, high = bootstrap_f1(cells, seed=seed)[0].tolist()
        always = f1_of(confusion(carries[check], np.ones((check.sum(), 1), dtype=bool)))[0]
        identity = descriptors["id"][best]
        rows.append(
            (
                name,
                identity,
                descriptors["text"][best],
                value,
                low,
                high,
                always,
                int(carries[check].sum()),
                units.get(identity, 0),
                low > always,
            )
        )
    return pl.DataFrame(rows, schema=empty_table("recovered").schema, orient="row")
