"""Reading what is asked: texts or pairs, what goes with them, what is held equal, and who sees which.

An item is a row of the source. Its text, or each of its two, is an example, of which there is one for all
rows with the same text: so copies are read once, their outcomes all count, and none is in two parts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Int

from saywell.data.covariates import LENGTH, covariate_columns, length_columns
from saywell.data.duplicates import near_duplicate_groups
from saywell.data.examples import Examples
from saywell.data.parts import PARTS, SPLIT_OF
from saywell.data.sides import first_favoured
from saywell.data.splits import check_parts, content_ids, hash_numbers
from saywell.data.texts import FEWEST, NEAR, refusals_in, too_few
from saywell.data.together import (
    components,
    firsts,
    parts_together,
    parts_told,
    same_value,
    shares_of,
    without_leaks,
)
from saywell.errors import InputError
from saywell.scorers.outcomes import Outcome
from saywell.studies.hypotheses.columns import GRADED, MAX_CHARS, SIDES, Rows, read_rows
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.targets import outcomes_of
from saywell.studies.settings import HypothesisSettings

FRACTIONS = (0.25, 0.25, 0.5)
"""Shares of describe, select and score: what is said of texts is counted on half of them."""
GIANT = 0.2
"""Share of all items that hang together, from which that is said."""
STOCK = 5
"""Values of `group` with a text, or one like it, up to which it is kept with all of theirs."""
Link = tuple[Int[np.ndarray, " links"], Int[np.ndarray, " links"]]


def load_asked(source: Any, asked: HypothesisSettings, versus: Any = None) -> Asked:
    """Texts or pairs of texts with what goes with them, each in one part, and what is held equal.

    `source` and `versus` are what `load_texts` reads; with `versus` each row of `source` is 1 and each row
    of it 0. Else `asked.target` or `asked.between` names what is to be explained; of pairs without a
    target, the first text is the one that is favoured.

    Texts that are near duplicates or have the same `asked.group`, and the two texts of a pair, are in one
    part and cluster, as is whatever hangs together through them. A column `asked.split` with train,
    validation and test decides the parts instead, save that copies and near duplicates of a text to be
    tested on are left out of the others.

    Raises InputError for what cannot be used, MissingPackage as `load_texts`.
    """
    read = read_rows(source, asked, versus)
    rows = read.table
    kept = _limited(rows.filter(pl.col("reason").is_null()), asked)
    texts, kept = _indexed(kept)
    near = near_duplicate_groups(texts["text"], NEAR)
    kept, leaks, on_split = _with_split(kept, near, asked)
    texts, near, kept = _used(texts, near, kept)
    rejected = pl.concat([refusals_in(rows), leaks]).sort("row")
    usable = min(texts.height, kept.height)
    if usable < FEWEST:
        raise InputError(too_few(read.source, usable, rows.height, rejected, MAX_CHARS, asked.limit))

    kept, on_missing = _without_unknown(kept, read)
    kept, outcomes, on_target = _outcomes(kept, texts["id"], read, asked)
    covariates, names, on_covariates = covariate_columns(_covariates(kept, read, texts["text"]), kept.height)
    links = _links(kept, near, asked)
    group = components(texts.height, *links.values())
    parts = _parts(kept, texts["id"], group, asked.seed)
    on_groups = _notes_on_groups(kept, group, links, parts)
    first, *second = (kept[side].to_numpy() for side in SIDES if side in kept.columns)
    _, clusters = np.unique(group[first], return_inverse=True)
    notes = (*read.notes, *on_split, *on_missing, *on_target, *on_covariates, *on_groups)
    return Asked(
        examples=_examples(texts, kept, parts, group, rejected, rows.height).noted(notes),
        items=Items(first, second[0] if second else None, parts[first], kept["row"].to_numpy()),
        outcomes=outcomes,
        covariates=covariates,
        names=names,
        clusters=clusters if clusters.max() + 1 < len(clusters) else None,
        raters=kept["by"].alias(asked.by) if asked.by is not None else None,
        notes=notes,
    )


# ---- texts, and the split that a source brings


def _limited(rows: pl.DataFrame, asked: HypothesisSettings) -> pl.DataFrame:
    """As many as are wanted, by a hash of what they say."""
    if asked.limit is None or len(rows) <= asked.limit:
        return rows
    said = rows.select(pl.concat_str([side for side in SIDES if side in rows.columns], separator="\n"))
    order = np.argsort(hash_numbers(said.to_series(), asked.seed, "limit"), kind="stable")
    return rows[np.sort(order[: asked.limit])]


def _indexed(rows: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The different texts (id, text), sorted by id, and the rows with their places instead of texts.

    Rows are sorted by texts and then by all that is said of them, so that their order in the source
    changes nothing.
    """
    sides = [side for side in SIDES if side in rows.columns]
    texts = pl.concat([rows[side].alias("text") for side in sides]).unique().to_frame()
    texts = texts.with_columns(id=pl.Series(content_ids(texts["text"]), dtype=pl.String)).sort("id")
    if texts["id"].is_duplicated().any():
        twice = texts.filter(pl.col("id").is_duplicated())["text"]
        raise InputError(f"two different texts have the same id: leave one of them out ({twice[0][:80]!r})")
    place = texts.select("text", place=pl.int_range(pl.len(), dtype=pl.Int64))
    for side in sides:
        there = rows.select(text=side).join(place, on="text", how="left", maintain_order="left")["place"]
        rows = rows.with_columns(there.alias(side))
    rows = rows.drop("reason", "problem")
    others = [column for column in rows.columns if column not in (*sides, "row")]
    return texts, rows.sort(*sides, *others, "row")


def _with_split(
    rows: pl.DataFrame, near: np.ndarray, asked: HypothesisSettings
) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """Rows with the `part` that the source gives them, those refused for being in two, and notes.

    Without a column that says parts, `part` is null; so it is for train rows where they have to stand in
    for a part that is not said.
    """
    none = refusals_in(rows.clear().with_columns(reason=pl.lit(""), problem=pl.lit("")))
    if "split" not in rows.columns:
        return rows.with_columns(part=pl.lit(None, dtype=pl.String)), none, []
    assert asked.split is not None
    parts, said = parts_told(rows["split"], asked.split)
    notes = []
    if unsaid := parts.null_count():
        notes.append(f"{unsaid} rows say nothing in {asked.split!r} and were taken for train.")
        parts = parts.fill_null(PARTS[0])
    sides = [rows[side].to_numpy() for side in SIDES if side in rows.columns]
    keep = without_leaks(parts, [near[side] for side in sides])
    rows = rows.with_columns(part=parts)
    leaks = rows.filter(~keep).select("row", reason=pl.lit("in two splits"), detail=pl.lit(""))
    if leaks.height:
        notes.append(
            f"{leaks.height} rows have copies or near duplicates in a split that is more worth keeping (test,"
            " then validation) and were left out."
        )
    rows = rows.filter(keep)
    missing = [part for part in PARTS if part not in said]
    if missing:
        listed = " and no ".join(SPLIT_OF[part] for part in missing)
        notes.append(f"The column {asked.split!r} has no {listed} split; it was taken from train.")
        rows = rows.with_columns(part=pl.when(pl.col("part") != PARTS[0]).then("part"))
    if "group" in rows.columns:
        spread = rows.group_by("group").agg(pl.col("part").n_unique()).filter(pl.col("group").is_not_null())
        if count := int((spread["part"] > 1).sum()):
            notes.append(f"{count} values of {asked.group!r} are in more than one split.")
    return rows, leaks, notes


def _used(
    texts: pl.DataFrame, near: np.ndarray, rows: pl.DataFrame
) -> tuple[pl.DataFrame, np.ndarray, pl.DataFrame]:
    """The texts that rows have, and the rows with their places among these."""
    sides = [side for side in SIDES if side in rows.columns]
    used = np.zeros(texts.height, dtype=bool)
    for side in sides:
        used[rows[side].to_numpy()] = True
    place = np.cumsum(used) - 1
    places = {side: pl.Series(place[rows[side].to_numpy()]) for side in sides}
    return texts.filter(used), firsts(near[used]), rows.with_columns(**places)


# ---- what goes with them


def _without_unknown(rows: pl.DataFrame, read: Rows) -> tuple[pl.DataFrame, list[str]]:
    """The rows, of which none has a target and lacks a covariate, and how many lack either."""
    what = _what(rows)
    notes = []
    if missing := rows["target"].null_count():
        notes.append(f"{missing:,} {what} have no value in {read.target!r} and are not tested on.")
    for name, columns in read.covariates.items():
        known = pl.all_horizontal(pl.col(columns).is_not_null()) if columns else pl.lit(True)
        lost = rows.filter(~known & pl.col("target").is_not_null()).height
        if lost:
            notes.append(f"{lost:,} {what} have no value of the covariate {name!r} and are not tested on.")
            rows = rows.with_columns(target=pl.when(known).then("target"))
    if rows["target"].null_count() == rows.height:
        raise InputError(f"no row has a value in {read.target!r} and in all covariates: {' '.join(notes)}")
    return rows, notes


def _what(rows: pl.DataFrame) -> str:
    return "pairs" if "second" in rows.columns else "texts"


def _outcomes(
    rows: pl.DataFrame, ids: pl.Series, read: Rows, asked: HypothesisSettings
) -> tuple[pl.DataFrame, tuple[Outcome, ...], list[str]]:
    """The rows and their outcomes, half of the pairs turned about where all favour the same side."""
    target = rows["target"].alias(read.target)
    if asked.pair is None or asked.kind in GRADED:
        outcomes, notes = outcomes_of(target, asked.kind)
        if asked.pair is None and asked.target is None and asked.between is None:
            notes.insert(
                0, f"{read.target!r} is 1 of the first texts, and 0 of those they are compared with."
            )
            both = (
                rows.group_by("first").agg(pl.col("target").n_unique()).filter(pl.col("target") == 2).height
            )
            notes += [f"{both:,} texts are among both."] if both else []
        return rows, outcomes, notes
    said, tied, note = first_favoured(target, read.texts, asked.first)
    notes = [note] if asked.target is not None else []
    if tied:
        notes.append(f"{tied:,} pairs are tied and are not tested on.")
    known = said[~np.isnan(said)]
    if not len(known):
        raise InputError(f"all pairs are tied in {read.target!r}, so that there is nothing to explain")
    if known.min() == known.max():
        rows, said = _dealt(rows, said, ids, read, asked.seed)
        favoured = read.texts[0 if known[0] else 1]
        notes.append(
            f"All pairs favour the text in {favoured!r}: which one is the first was drawn anew, by a hash of"
            " the two."
        )
    return rows, (Outcome(read.target, "binary", said),), notes


def _dealt(
    rows: pl.DataFrame, said: np.ndarray, ids: pl.Series, read: Rows, seed: int
) -> tuple[pl.DataFrame, np.ndarray]:
    """Pairs, half of them the other way round, and whether the first is favoured now."""
    two = np.sort(np.stack([rows[side].to_numpy() for side in SIDES]), axis=0)
    keys = [f"{one} {other}" for one, other in zip(ids.gather(two[0]), ids.gather(two[1]), strict=True)]
    # By rank, so that it is half of them; by the two texts, so that copies of a pair stay copies.
    _, rank = np.unique(hash_numbers(keys, seed, "sides"), return_inverse=True)
    turn = pl.Series(rank % 2 == 1)
    for two_columns in (SIDES, *(columns for columns in read.covariates.values() if len(columns) == 2)):
        one, other = (rows[column] for column in two_columns)
        turned = (other.zip_with(turn, one), one.zip_with(turn, other))
        rows = rows.with_columns(**dict(zip(two_columns, turned, strict=True)))
    return rows, np.where(turn.to_numpy(), 1 - said, said)


def _covariates(rows: pl.DataFrame, read: Rows, texts: pl.Series) -> dict[str, list[pl.Series]]:
    """What is held equal, by name: of the items, or of both texts of each."""
    found = {name: [rows[column] for column in columns] for name, columns in read.covariates.items()}
    if any(not columns for columns in read.covariates.values()):
        del found[LENGTH]
        for column in length_columns(texts):
            found[column.name] = [column.gather(rows[side]) for side in SIDES if side in rows.columns]
    return found


# ---- what belongs together, and who sees it


def _links(rows: pl.DataFrame, near: np.ndarray, asked: HypothesisSettings) -> dict[str, Link]:
    """Which texts are in one part, by what they have in common."""
    first = rows["first"].to_numpy()
    links: dict[str, Link] = {"near duplicates": (np.arange(len(near)), near)}
    if "group" in rows.columns:
        # "Thank you!" is of no author: it would join all of them.
        groups = rows.select("group", near=pl.Series(near[first]))
        own = groups.select(pl.col("group").n_unique().over("near") <= STOCK).to_series()
        links[f"the same {asked.group!r}"] = same_value(rows["group"].filter(own), first[own.to_numpy()])
    if "second" in rows.columns:
        links["texts that pairs share"] = (first, rows["second"].to_numpy())
    return links


def _parts(rows: pl.DataFrame, ids: pl.Series, group: np.ndarray, seed: int) -> np.ndarray:
    """The part of each text: what its rows are said to be, else that of all it belongs together with."""
    said = rows["part"].to_numpy().astype(object)
    free = rows["part"].is_null().to_numpy()
    if free.any():
        wanted = [part for part in PARTS if part not in said[~free]]
        leaders, place = np.unique(group[rows["first"].to_numpy()[free]], return_inverse=True)
        # By different texts: a text is read once, however often it is there.
        sizes = np.bincount(group, minlength=len(ids))[leaders]
        dealt = parts_together(ids.gather(leaders), sizes, seed, shares_of(wanted, FRACTIONS))
        said[free] = dealt[place]
    parts = np.empty(len(ids), dtype=object)
    for side in SIDES:
        if side in rows.columns:
            parts[rows[side].to_numpy()] = said
    check_parts(pl.Series(parts.tolist(), dtype=pl.String), seed)
    return parts


def _notes_on_groups(
    rows: pl.DataFrame, group: np.ndarray, links: Mapping[str, Link], parts: np.ndarray
) -> list[str]:
    """That very many hang together, and through what."""
    first = rows["first"].to_numpy()
    sizes = np.bincount(group[first])
    largest = int(sizes.max())
    if largest <= GIANT * len(first):
        return []
    alone = {"copies of one text": (), **{why: (link,) for why, link in links.items()}}
    shares = {why: np.bincount(components(len(group), *some)[first]).max() for why, some in alone.items()}
    why = next((why for why, size in shares.items() if 2 * size >= largest), " and ".join(links))
    return [
        f"{largest:,} of {len(first):,} {_what(rows)} hang together through {why}: they are all in one part"
        f" ({parts[int(sizes.argmax())]}) and count as one case."
    ]


def _examples(
    texts: pl.DataFrame,
    rows: pl.DataFrame,
    parts: np.ndarray,
    group: np.ndarray,
    rejected: pl.DataFrame,
    total: int,
) -> Examples:
    """The different texts, each in its part; `group` is the smallest id of those it belongs together with."""
    place = np.full(texts.height, total)
    for side in SIDES:
        if side in rows.columns:
            np.minimum.at(place, rows[side].to_numpy(), rows["row"].to_numpy())
    code = np.array([PARTS.index(part) for part in parts])
    table = texts.select(
        "id",
        "text",
        part=pl.Series(parts.tolist(), dtype=pl.String),
        tags=pl.lit(None, dtype=pl.List(pl.String)),
        row=pl.Series(place),
        group=texts["id"].gather(firsts(group * len(PARTS) + code)),
    ).select("id", "part", "text", "tags", "row", "group")
    return Examples(table, "text", _fingerprint(texts["id"], rows.drop("row")), rejected, total)


def _fingerprint(ids: pl.Series, rows: pl.DataFrame) -> str:
    """32 hex digits, of the texts and of all that is said of the rows."""
    digest = blake2b("\n".join(ids).encode(), digest_size=16)
    for column in rows.iter_columns():
        digest.update(f"\n{column.name} {len(column)}\n".encode())
        if column.dtype == pl.String:
            digest.update(json.dumps(column.to_list()).encode())
        else:
            numbers = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
            digest.update(numbers.astype("<f8").tobytes())
    return digest.hexdigest()
