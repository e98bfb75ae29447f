"""Do two studies say the same? Of equal units by their words, of different ones by their exemplars."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from saywell.data.parts import DESCRIBE
from saywell.errors import InputError
from saywell.explorer.tables import Tables
from saywell.scorers.intervals import bootstrap_mean

TOP = 20
"""Strongest sentences that are compared: fifty would reward units for being common."""
SEED = 0


class Agreement(NamedTuple):
    """How far two studies agree on the units that both know; Jaccards run from 0 to 1 (the same)."""

    table: pl.DataFrame
    """unit, text_a, text_b, both, only_a, only_b (words), jaccard, same; least alike first."""
    shared: int
    """Units with the same id in both."""
    only_one: int
    """Of these, units that have a description in one study and none in the other."""
    value: float
    """Mean Jaccard over units described in both."""
    low: float
    high: float
    n: int
    same: int
    """Units whose descriptions say the same words."""
    control: float
    """Mean Jaccard with the other study's description of another unit."""


def words_of(tables: Tables) -> pl.DataFrame:
    """What a study says of each unit (or class): id, text, words; null where it says nothing.

    The words are descriptors where the study has them; else a description counts as one.
    """
    spoken = "case when status = 'described' then text end"
    words = "descriptors" if tables.has("descriptors") else "class_texts"
    if not tables.has(words):
        return tables.frame(
            f"select id, {spoken} as text, case when status = 'described'"
            " then [lower(trim(text))] end as words from cards"
        )
    return tables.frame(f"""
        select c.id, {spoken} as text, coalesce(w.words,
            case when status = 'described' then [lower(trim(c.text))] end) as words
        from cards c left join (
            select id, list(distinct word) as words from (
                select c.id, lower(trim(d.text)) as word
                from (select id, unnest(descriptors) as descriptor from cards) c
                join {words} d on d.id = c.descriptor) group by id) w on w.id = c.id""")


def agreement(a: Tables, b: Tables) -> Agreement:
    """Compare the descriptions of units that have the same id in both studies.

    Raises InputError for studies of different kinds.
    """
    kinds = a.study.manifest.kind, b.study.manifest.kind
    if kinds[0] != kinds[1]:
        raise InputError(f"a study of {kinds[0]} cannot be compared with one of {kinds[1]}")
    joined = words_of(a).join(words_of(b), on="id", suffix="_b").sort("id")
    both = joined.drop_nulls(["words", "words_b"])
    table = _jaccard(both, "words", "words_b").with_columns(
        same=pl.col("text").str.strip_chars().str.to_lowercase()
        == pl.col("text_b").str.strip_chars().str.to_lowercase(),
        both=pl.col("words").list.set_intersection("words_b").list.sort(),
        only_a=pl.col("words").list.set_difference("words_b").list.sort(),
        only_b=pl.col("words_b").list.set_difference("words").list.sort(),
    )
    control = float("nan")
    if both.height > 1:
        control = float(_jaccard(_turned(both), "words", "other")["jaccard"].to_numpy().mean())
    found = bootstrap_mean(table["jaccard"].to_numpy().astype(float), seed=SEED)
    one = joined.filter(pl.col("words").is_null() != pl.col("words_b").is_null()).height
    return Agreement(
        table.select("id", "text", "text_b", "both", "only_a", "only_b", "jaccard", "same").sort(
            "jaccard", "id", maintain_order=True
        ),
        joined.height,
        one,
        found.value,
        found.low,
        found.high,
        found.n,
        int(table["same"].sum()),
        control,
    )


class Match(NamedTuple):
    """The unit of the other study that shares most of a unit's strongest sentences."""

    unit: str
    text: str | None
    verdict: str
    common: int
    of: int


class Matches(NamedTuple):
    """The best match of each unit, and what chance would give."""

    best: Mapping[str, Match]
    mean: float
    """Mean share of sentences in common with the best match, 0 to 1."""
    control: float
    """The same after the units' sentences were dealt anew among them."""
    known: bool
    """Whether the two studies have any of these sentences in common at all."""


def best_matches(a: Tables, b: Tables, units: Sequence[str]) -> Matches:
    """For some units of `a`, the unit of `b` whose strongest sentences overlap most with theirs.

    The studies need the same sentences, not the same model: sentence ids are made from content.
    """
    nothing = Matches({}, float("nan"), float("nan"), False)
    if not (a.has("exemplars", "unit", "example") and b.has("exemplars", "unit", "example")):
        return nothing
    pairs = a.frame(
        f"select unit, example from exemplars where unit in (select unnest(?)) and rank < {TOP}"
        f" and part = '{DESCRIBE}'",
        [list(units)],
    ).sort("unit", "example")
    if pairs.is_empty():
        return nothing
    dealt = pairs.with_columns(
        example=pl.Series(
            np.random.default_rng(SEED).permutation(pairs["example"].to_numpy()), dtype=pl.String
        )
    ).unique(maintain_order=True)
    best, control = _best(b, pairs), _best(b, dealt)
    sizes = dict(pairs["unit"].value_counts().iter_rows())
    found = {
        row["unit"]: Match(row["match"], row["text"], row["verdict"], row["common"], sizes[row["unit"]])
        for row in best
    }
    known = bool(
        b.rows("select 1 from examples where id in (select unnest(?)) limit 1", [pairs["example"].to_list()])
    )
    by_chance = {row["unit"]: row["common"] for row in control}
    return Matches(
        found,
        float(np.mean([found[u].common / n if u in found else 0.0 for u, n in sizes.items()])),
        float(np.mean([by_chance.get(u, 0) / n for u, n in sizes.items()])),
        known,
    )


def _best(b: Tables, pairs: pl.DataFrame) -> list[dict[str, Any]]:
    return b.rows(
        f"""with wanted as (select unnest(?) as unit, unnest(?) as example),
        common as (
            select w.unit, e.unit as match, count(*) as common from wanted w
            join exemplars e on e.example = w.example and e.rank < {TOP} and e.part = '{DESCRIBE}'
            group by 1, 2
            qualify row_number() over (partition by w.unit order by count(*) desc, e.unit) = 1)
        select common.*, c.text, c.verdict from common join cards c on c.id = common.match""",
        [pairs["unit"].to_list(), pairs["example"].to_list()],
    )


def _turned(both: pl.DataFrame) -> pl.DataFrame:
    """Each unit with the words of another one."""
    order = np.random.default_rng(SEED).permutation(both.height)
    shuffled = both[order]
    return shuffled.with_columns(other=pl.concat([shuffled["words_b"][1:], shuffled["words_b"][:1]]))


def _jaccard(table: pl.DataFrame, first: str, second: str) -> pl.DataFrame:
    common = pl.col(first).list.set_intersection(second).list.len()
    either = pl.col(first).list.set_union(second).list.len()
    return table.with_columns(jaccard=(common / either).fill_nan(0.0))
