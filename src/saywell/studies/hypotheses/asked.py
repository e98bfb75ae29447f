"""Reading what is asked: texts or pairs, what goes with them, what is held equal, and who sees which.

An item is a row of the source. Its text, or each of its two, is an example, of which there is one for all
rows with the same text: so copies are read once, their outcomes all count, and none is in two parts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from saywell.data.covariates import covariate_columns, log_words
from saywell.data.duplicates import near_duplicate_groups
from saywell.data.examples import Examples
from saywell.data.parts import PARTS, SPLIT_OF
from saywell.data.sides import first_favoured
from saywell.data.splits import check_parts, content_ids, hash_numbers
from saywell.data.tables import TEXT, Column, SourceTable, open_table, stacked
from saywell.data.texts import FEWEST, NEAR, column_values, pair_rows, refusals_in, text_rows, too_few
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
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.targets import outcomes_of
from saywell.studies.settings import HypothesisSettings

FRACTIONS = (0.25, 0.25, 0.5)
"""Shares of describe, select and score: what is said of texts is counted on half of them."""
MAX_CHARS = 10_000
"""Longer texts are refused; answers of language models, which are compared in pairs, are long."""
LENGTH = "length"
COVARIATE, SECOND = "covariate ", " of the second"
"""Of columns as they are called here: before the name of a covariate, and after that of the second text."""
GIANT = 0.2
"""Share of all items that hang together, from which that is said."""
SIDES = ("first", "second")


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
    _check(asked, versus)
    table, begins = _opened(source, versus)
    table, columns = _columns(table, asked)
    rows = _rows(table, columns, asked, begins)
    kept = _limited(rows.filter(pl.col("reason").is_null()), asked)
    texts, kept = _indexed(kept)
    near = near_duplicate_groups(texts["text"], NEAR)
    kept, leaks, on_split = _with_split(kept, near, asked)
    texts, near, kept = _used(texts, near, kept)
    rejected = pl.concat([refusals_in(rows), leaks]).sort("row")
    usable = min(texts.height, kept.height)
    if usable < FEWEST:
        raise InputError(too_few(table.name, usable, len(rows), rejected, MAX_CHARS, asked.limit))

    name = columns["target"][0] if "target" in columns else _name(source, versus)
    kept, outcomes, on_target = _outcomes(kept, columns, texts["id"], asked, name)
    covariates, names, known, on_covariates = covariate_columns(
        kept.height, _covariates(kept, columns, texts["text"])
    )
    if names:
        unknown = np.where(known, 0.0, np.nan)
        outcomes = tuple(replace(outcome, values=outcome.values + unknown) for outcome in outcomes)

    links = _links(kept, near, asked)
    group = components(texts.height, *links.values())
    parts = _parts(kept, texts["id"], group, asked.seed)
    first = kept["first"].to_numpy()
    second = kept["second"].to_numpy() if asked.pair is not None else None
    _, clusters = np.unique(group[first], return_inverse=True)
    on_groups = _notes_on_groups(kept, group, links, parts, asked)
    notes = (*table.notes, *on_split, *on_target, *on_covariates, *on_groups)
    return Asked(
        examples=_examples(texts, kept, parts, group, rejected, len(rows)).noted(notes),
        items=Items(first, second, parts[first], kept["row"].to_numpy()),
        outcomes=outcomes,
        covariates=covariates,
        names=names,
        clusters=clusters if len(np.unique(clusters)) < len(clusters) else None,
        raters=kept["by"].alias(columns["by"][0]) if "by" in columns else None,
        notes=notes,
    )


# ---- reading


def _check(asked: HypothesisSettings, versus: Any) -> None:
    """InputError for what is no question."""
    given = [f"{name} (--{name})" for name in ("target", "between") if getattr(asked, name) is not None]
    given += ["versus (--versus)"] * (versus is not None)
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} both say what is to be explained; give one of them")
    if not given and asked.pair is None:
        raise InputError(
            "what is to be explained? Name a column with target=... (--target) or between=... (--between), or"
            " give other texts with versus=... (--versus)"
        )
    if asked.pair is not None and given and "target" not in given[0]:
        raise InputError(
            f"pair={asked.pair!r} (--pair) is of pairs of which one text is favoured, and {given[0]} of"
            " single texts: say which is favoured with target=... (--target), or leave pair out"
        )


def _opened(source: Any, versus: Any) -> tuple[SourceTable, int]:
    """The table that is asked about, and how many of its rows are not of `versus`."""
    table = open_table(source)
    if versus is None:
        return table, 0
    other = open_table(versus)
    both = stacked([table, other], f"{table.name} and {other.name}")
    begins = len(table.take([next(iter(table.kinds))])[0]) if table.kinds else 0
    return both, begins


def _name(source: Any, versus: Any) -> str:
    """What goes with rows of `source` and not of `versus`; of pairs without a target, what is favoured."""
    if versus is None:
        return "favoured"
    one, other = (Path(x).name.split(".")[0] if isinstance(x, str | Path) else "" for x in (source, versus))
    return f"source={one}" if one and one != other else "source=first"


def _columns(table: SourceTable, asked: HypothesisSettings) -> tuple[SourceTable, dict[str, list[str]]]:
    """What is read of the source: by what it is for, the columns; two of a covariate of each text of a pair.

    The covariate `length` has none where it is counted.
    """
    table, text = table.choose(asked.text, "text", TEXT, "text")
    columns = {"first": [text]}
    if asked.pair is not None:
        columns["second"] = [table.require(asked.pair, "pair")]
        if asked.pair == text:
            raise InputError(f"text and pair are both the column {text!r} (--text, --pair); a pair needs two")
    target = asked.target if asked.target is not None else asked.between
    option = "target" if asked.target is not None else "between"
    wanted = {option: target, "by": asked.by, "group": asked.group, "split": asked.split}
    for option, column in wanted.items():
        if column is not None:
            ours = "target" if option == "between" else option
            columns[ours] = [table.require(column, option)]
    for name in asked.covariate:
        if name in (target, text, asked.pair) or f"{COVARIATE}{name}" in columns:
            what = "named twice" if f"{COVARIATE}{name}" in columns else "asked about itself"
            raise InputError(f"the covariate {name!r} (--covariate) is {what}; leave it out")
        columns[f"{COVARIATE}{name}"] = _columns_of_covariate(table, name, columns)
    return table, columns


def _columns_of_covariate(table: SourceTable, name: str, columns: Mapping[str, list[str]]) -> list[str]:
    """Its own column, of pairs also two, called as the columns of the texts or NAME_a and NAME_b are."""
    if "second" in columns:
        endings = _apart(columns["first"][0], columns["second"][0])
        for first, second in (endings, ("a", "b"), ("1", "2"), ("first", "second")):
            if first and name in table.kinds:
                continue
            for form in ("{name}_{end}", "{end}_{name}", "{name}{end}", "{end}{name}", "{name}-{end}"):
                two = [form.format(name=name, end=end) if end else name for end in (first, second)]
                if all(column in table.kinds for column in two):
                    return two
    if name == LENGTH and name not in table.kinds:
        return []
    return [table.require(name, "covariate")]


def _apart(first: str, second: str) -> tuple[str, str]:
    """What two names differ in: a and b of answer_a and answer_b; nothing and b of text and text_b."""
    one, other = (re.split(r"[\W_]+", name) for name in (first, second))
    while one and other and one[0] == other[0]:
        one, other = one[1:], other[1:]
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    return "_".join(one), "_".join(other)


def _rows(
    table: SourceTable, columns: Mapping[str, list[str]], asked: HypothesisSettings, begins: int
) -> pl.DataFrame:
    """All rows of the source: texts, why they cannot be used, and what else is read.

    Columns `row`, `reason`, `problem`, `first` and, of pairs, `second`; then those of `columns`, the second
    of two under the name of the first and `SECOND`.
    """
    named = {
        f"{ours}{SECOND * place}": column
        for ours, some in columns.items()
        for place, column in enumerate(some)
    }
    taken = dict(zip(named, table.take(list(named.values())), strict=True))
    sides = [text_rows(taken.pop(side), named[side], table, MAX_CHARS) for side in SIDES if side in taken]
    if len(sides) == 2:
        same = pl.col("reason").is_null() & (pl.col("first") == pl.col("second"))
        rows = pair_rows(*sides).with_columns(
            reason=pl.when(same).then(pl.lit("equal texts")).otherwise("reason"),
            problem=pl.when(same).then("first").otherwise("problem"),
        )
    else:
        rows = sides[0].rename({"text": "first"})
    if rows.is_empty():
        raise InputError(f"{table.name} has no rows")
    values = [_values(taken[ours], ours, named[ours], table.name, asked) for ours in taken]
    if asked.target is None and asked.between is None and asked.pair is None:
        values.append(pl.Series("target", np.arange(len(rows)) < begins).cast(pl.Float64))
    return rows.hstack(values).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))


def _values(column: Column, ours: str, called: str, name: str, asked: HypothesisSettings) -> pl.Series:
    """Numbers where they are wanted as such, else strings, of whole numbers without a decimal point."""
    if ours == "target":
        graded = asked.kind in ("ordinal", "count", "real")
        numbers = graded if asked.pair is not None else asked.between is None and asked.kind != "nominal"
    else:
        numbers = ours.startswith(COVARIATE)
    values = column_values(column, called, name, numbers=numbers).alias(ours)
    if numbers or (isinstance(column, pl.Series) and column.dtype == pl.String):
        return values
    written = not isinstance(column, pl.Series) and any(isinstance(value, str) for value in column)
    return values if written else values.str.replace(r"\.0$", "")


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
    used = np.unique(np.concatenate([rows[side].to_numpy() for side in sides]))
    places = {side: pl.Series(np.searchsorted(used, rows[side].to_numpy())) for side in sides}
    return texts[used], firsts(near[used]), rows.with_columns(**places)


# ---- what goes with them


def _outcomes(
    rows: pl.DataFrame, columns: Mapping[str, list[str]], ids: pl.Series, asked: HypothesisSettings, name: str
) -> tuple[pl.DataFrame, tuple[Outcome, ...], list[str]]:
    """The rows and their outcomes, half of the pairs turned about where all favour the same side."""
    if asked.pair is None or asked.kind in ("ordinal", "count", "real"):
        outcomes, notes = outcomes_of(name, rows["target"], asked.kind)
        if asked.target is None and asked.between is None:
            notes[0] = f"{name!r} is 1 of the first texts, and 0 of those that they are compared with."
        return rows, outcomes, [*_missing(rows, asked, name), *notes]
    texts = (columns["first"][0], columns["second"][0])
    if "target" not in rows.columns:
        said, notes = (
            np.ones(len(rows)),
            [f"Of each pair the text in {texts[0]!r} is the one that is favoured."],
        )
    else:
        said, tied, note = first_favoured(rows["target"], texts, name, asked.first)
        notes = [*_missing(rows, asked, name), note]
        if tied:
            notes.append(f"{tied} pairs are tied and are not tested on.")
    known = said[~np.isnan(said)]
    if not len(known):
        raise InputError(f"no pair has a favourite in {name!r}, so that there is nothing to explain")
    if known.min() == known.max():
        rows, said = _dealt(rows, said, ids, asked.seed)
        notes.append(
            "All pairs favour the same side: which text is the first was drawn anew, by a hash of the texts."
        )
    return rows, (Outcome(name, "binary", said),), notes


def _dealt(
    rows: pl.DataFrame, said: np.ndarray, ids: pl.Series, seed: int
) -> tuple[pl.DataFrame, np.ndarray]:
    """Pairs, half of them the other way round, and whether the first is favoured now."""
    two = np.sort(np.stack([rows[side].to_numpy() for side in SIDES]), axis=0)
    keys = [f"{one} {other}" for one, other in zip(ids.gather(two[0]), ids.gather(two[1]), strict=True)]
    _, rank = np.unique(hash_numbers(keys, seed, "sides"), return_inverse=True)
    turn = rank % 2 == 1
    pairs = [SIDES, *((c.removesuffix(SECOND), c) for c in rows.columns if c.endswith(SECOND))]
    turned = {
        name: rows[other].zip_with(pl.Series(turn), rows[one])
        for one, other in pairs
        for name, other, one in ((one, other, one), (other, one, other))
    }
    return rows.with_columns(**turned), np.where(turn, 1 - said, said)


def _missing(rows: pl.DataFrame, asked: HypothesisSettings, name: str) -> list[str]:
    count = rows["target"].null_count()
    what = "pairs" if asked.pair is not None else "texts"
    return [f"{count} {what} have no value in {name!r} and are not tested on."] if count else []


def _covariates(
    rows: pl.DataFrame, columns: Mapping[str, list[str]], texts: pl.Series
) -> dict[str, list[pl.Series]]:
    """What is held equal, by name: of the items, or of both texts of each."""
    found: dict[str, list[pl.Series]] = {}
    for ours, own in columns.items():
        if ours.startswith(COVARIATE):
            name = ours.removeprefix(COVARIATE)
            if own:
                found[name] = [rows[f"{ours}{SECOND * place}"] for place in range(len(own))]
            else:
                lengths = log_words(texts)
                found[name] = [lengths.gather(rows[side]) for side in SIDES if side in rows.columns]
    return found


# ---- what belongs together, and who sees it


def _links(rows: pl.DataFrame, near: np.ndarray, asked: HypothesisSettings) -> dict[str, tuple[Any, Any]]:
    """Which texts are in one part, by what they have in common."""
    first = rows["first"].to_numpy()
    links: dict[str, tuple[Any, Any]] = {"near duplicates": (np.arange(len(near)), near)}
    if "group" in rows.columns:
        links[f"the same {asked.group!r}"] = same_value(rows["group"], first)
    if "second" in rows.columns:
        links["texts that pairs share"] = (first, rows["second"].to_numpy())
    return links


def _parts(rows: pl.DataFrame, ids: pl.Series, group: np.ndarray, seed: int) -> np.ndarray:
    """The part of each text: what its rows are said to be, else that of all it belongs together with."""
    said = rows["part"].to_numpy().astype(object)
    free = rows["part"].is_null().to_numpy()
    if free.any():
        wanted = [part for part in PARTS if part not in said[~free]]
        leaders, place, sizes = np.unique(
            group[rows["first"].to_numpy()[free]], return_inverse=True, return_counts=True
        )
        dealt = parts_together(ids.gather(leaders), sizes, seed, shares_of(wanted, FRACTIONS))
        said[free] = dealt[place]
    parts = np.empty(len(ids), dtype=object)
    for side in SIDES:
        if side in rows.columns:
            parts[rows[side].to_numpy()] = said
    check_parts(pl.Series(parts.tolist(), dtype=pl.String), seed)
    return parts


def _notes_on_groups(
    rows: pl.DataFrame,
    group: np.ndarray,
    links: Mapping[str, tuple[Any, Any]],
    parts: np.ndarray,
    asked: HypothesisSettings,
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
    what = "pairs" if asked.pair is not None else "texts"
    return [
        f"{largest:,} of {len(first):,} {what} hang together through {why}: they are all in one part"
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
    digest = blake2b("\n".join(texts["id"]).encode(), digest_size=16)
    for values in rows.drop("row").iter_rows():
        digest.update(f"\n{json.dumps(values)}".encode())
    return Examples(table, "text", digest.hexdigest(), rejected, total)
