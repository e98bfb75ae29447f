"""Which units a describer wrote of, beside what says which of them are alike: what readers are given."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.data.tags import Tags
from saywell.describers.associations import exemplar_matrix
from saywell.describers.describer import Describer, Evidence
from saywell.describers.descriptors.tables import DESCRIPTORS
from saywell.description import DESCRIBED, Description
from saywell.resources import Resources
from saywell.scorers.floors import Described, top_words
from saywell.store.study import Study
from saywell.store.table import Table
from saywell.transfer.zero_shot import class_embeddings

DESCRIPTIONS = Table(
    "descriptions",
    {
        "id": pl.String,
        "unit": pl.String,
        "text": pl.String,
        "claim": pl.String,
        "describer": pl.String,
        "tagger": pl.String,
        "llm": pl.String,
        "prompt_hash": pl.String,
        "sources": pl.List(pl.String),
        "descriptors": pl.List(pl.String),
        "rank": pl.Int32,
        "selected": pl.Boolean,
        "status": pl.String,
    },
    key=("id",),
    optional=frozenset({"claim"}),
)
"""Text about a unit by a describer, or why there is none (`status`); `claim` is what it says in canonical
form, null where it is no claim. Of a unit's descriptions that have words
the one that reads best on select examples is `selected`. `tagger` found the descriptors that it names."""


def described_units(
    describer: str, number: int, said: Sequence[Description], evidence: Evidence, resources: Resources | None
) -> Described:
    """The units that have words, in the order of the evidence; `number` is the describer's.

    With `resources` they get profiles, which say which of them are alike.
    """
    places = np.array([place for place, own in enumerate(said) if own.text], dtype=np.int64)
    own = [said[place] for place in places]
    units = [description.unit for description in own]
    names = evidence.units["name"].gather(places).to_list() if "name" in evidence.units.columns else None
    return Described(
        describer,
        units,
        [description_id(unit, number) for unit in units],
        own,
        None if resources is None else _profiles(own, evidence, resources),
        names,
        _top_words(units, evidence),
    )


def description_id(unit: str, number: int) -> str:
    """Of what the describer of that number wrote of a unit."""
    return f"{unit}#{number}"


def _profiles(
    own: Sequence[Description], evidence: Evidence, resources: Resources
) -> Float[np.ndarray, "units dim"]:
    """What tells which units are alike: the share of exemplars with each tag, else what is said of them."""
    tags, examples = evidence.examples.tags, evidence.examples
    if tags is None:
        parts = [description.parts or (description.text,) for description in own]
        flat = [text for texts in parts for text in texts]
        whose = np.repeat(np.arange(len(parts)), [len(texts) for texts in parts])
        if not flat:
            return np.zeros((0, 1), dtype=np.float32)
        reads = resources.reads(examples, flat)
        vectors = resources.encode(examples, [text for text, own in zip(flat, reads, strict=True) if own])
        return np.nan_to_num(class_embeddings(vectors, whose[reads], len(parts)))
    known = np.flatnonzero(tags.known)
    units = [description.unit for description in own]
    exemplars = exemplar_matrix(evidence.exemplars, units, [examples.ids[row] for row in known])
    drawn = np.maximum(1, np.diff(exemplars.indptr))
    hits = np.asarray((exemplars @ tags.matrix[known]).todense())
    return (hits / drawn[:, None]).astype(np.float32)


def _top_words(units: Sequence[str], evidence: Evidence) -> list[str] | None:
    """Per unit the words that gave its strongest texts their activation; None of what has no spans."""
    if evidence.examples.kind != "text" or evidence.exemplars["span_start"].null_count():
        return None
    texts = pl.DataFrame({"id": evidence.examples.ids, "text": evidence.examples.texts})
    return top_words(evidence.exemplars, texts, units)


def description_table(
    describers: Sequence[Describer],
    written: Sequence[Sequence[Description]],
    selected: Sequence[str],
    tags: Tags | None,
) -> pl.DataFrame:
    """Table `descriptions`: what every describer says of every unit, or why it says nothing."""
    chosen = set(selected)
    rows = [
        (
            description_id(own.unit, number),
            own.unit,
            own.text,
            own.claim or None,
            describer.name,
            tags.tagger if tags is not None and describer.needs_tags else None,
            own.llm,
            own.prompt_hash,
            list(own.sources),
            list(own.descriptors),
            number,
            description_id(own.unit, number) in chosen,
            own.status if not own.text else DESCRIBED,
        )
        for number, (describer, said) in enumerate(zip(describers, written, strict=True))
        for own in said
    ]
    return DESCRIPTIONS.frame(rows)


def stored_descriptions(study: Study, written: pl.DataFrame) -> list[Description]:
    """Rows of table `descriptions` as what they were when written, with their parts."""
    texts: dict[str, str] = {}
    for name in (DESCRIPTORS.name, "class_texts"):
        if name in study.manifest.tables:
            texts |= dict(study.table(name).select("id", "text").iter_rows())
    claims = [""] * len(written)
    if "claim" in written.columns:
        claims = written["claim"].fill_null("").to_list()
    columns = written.select("unit", "text", "status", "descriptors").iter_rows()
    return [
        Description(
            unit,
            text,
            status,
            claim,
            parts=tuple(texts[name] for name in names if name in texts),
            descriptors=tuple(names),
        )
        for (unit, text, status, names), claim in zip(columns, claims, strict=True)
    ]
