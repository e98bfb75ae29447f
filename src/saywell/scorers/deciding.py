"""Who decides whether a description is verified, and what it comes to with them.

A reader decides that does not share its model with the units and is asked whether they fire. Of several that
read a description the strictest decides; of one that claims something in so many terms, who executes claims.
The others can only support it. And where it is known which part of a text made a unit respond, the
description has to point at it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl
from jaxtyping import Float

from saywell.readers.reader import CLAIMS
from saywell.scorers.localisation import COLUMNS, LEAST

VERIFIED, NOT_VERIFIED, NOT_TESTED = "verified", "not verified", "not tested"
SUPPORTED, ELSEWHERE, UNPLACED = "supported", "elsewhere", "unplaced"
"""Would be verified, but: only readers say so who share the units' model; it points at other parts of the
texts than those that are responsible; nobody can say where it points."""


def decided(
    scores: pl.DataFrame,
    localised: pl.DataFrame | None = None,
    *,
    claimed: Collection[str] = (),
    supporting: Collection[str] = (),
    placed: Collection[str] = (),
) -> pl.DataFrame:
    """Table `scores` of one describer, with who decides of each description, and what it then is.

    `scores` has what each reader makes of each description alone, readers in their order; `localised` how far
    each points at responsible spans (see `Responsible`), beside what is in `scores` already. `claimed`: ids
    of descriptions that claim something; `supporting`: readers that can only support; `placed`: units of
    which responsible spans are known.
    """
    deciding = deciding_readers(scores, claimed=claimed, supporting=supporting)
    supports = pl.col("reader").is_in(list(supporting))
    by = ["description", "reader"]
    if localised is None:
        localised = scores.select(*by, *COLUMNS).clear()
    table = scores.join(localised, on=by, how="left", suffix="_found", maintain_order="left").with_columns(
        pl.coalesce(f"{name}_found", name).alias(name) for name in COLUMNS
    )
    decider = pl.col("description").replace_strict(deciding, return_dtype=pl.String)
    table = table.with_columns(decides=pl.col("reader") == decider)
    of_others = table.filter(~supports, pl.col("localised").is_not_null())
    of_others = of_others.unique("description", keep="first", maintain_order=True)
    table = table.join(
        of_others.select("description", *COLUMNS),
        on="description",
        how="left",
        suffix="_other",
        maintain_order="left",
    )
    borrows = pl.col("decides") & pl.col("localised").is_null()
    table = table.with_columns(
        pl.when(borrows).then(f"{name}_other").otherwise(name).alias(name) for name in COLUMNS
    )
    there = (pl.col("localised") >= LEAST) & (pl.col("localised_low") > pl.col("by_chance"))
    status = (
        pl.when(~(pl.col("decides") & (pl.col("status") == VERIFIED)))
        .then("status")
        .when(pl.col("unit").is_in(list(placed)) & pl.col("localised").is_null())
        .then(pl.lit(UNPLACED))
        .when(~there)
        .then(pl.lit(ELSEWHERE))
        .when(supports)
        .then(pl.lit(SUPPORTED))
        .otherwise(pl.lit(VERIFIED))
    )
    return table.with_columns(status=status).select(scores.columns)


def deciding_readers(
    scores: pl.DataFrame, *, claimed: Collection[str] = (), supporting: Collection[str] = ()
) -> dict[str, str]:
    """By description who decides about it.

    Of those who read it and may decide, who executes its claim, else the strictest; where all only support,
    the strictest of these; where nobody read it, the first. Strictest is who does not verify it, then who is
    less sure (q), then who sees less skill in it.
    """
    supports, read = pl.col("reader").is_in(list(supporting)), pl.col("verifies").is_not_null()
    executes = (pl.col("reader") == CLAIMS) & pl.col("description").is_in(list(claimed))
    tier = pl.when(~read).then(3).when(executes).then(0).when(~supports).then(1).otherwise(2)
    ranked = scores.with_row_index("_row").sort(
        tier, "verifies", -pl.col("q"), "skill", "_row", nulls_last=True
    )
    first = ranked.unique("description", keep="first", maintain_order=True)
    return dict(first.select("description", "reader").iter_rows())


def strictest_f1(
    by_reader: Mapping[str, Float[np.ndarray, " units"]], claimed: np.ndarray, supporting: Collection[str]
) -> Float[np.ndarray, " units"]:
    """F1 of each description on select examples, to choose by: the least of those readers who may decide.

    NaN is from who read nothing of it, and is passed over. Of what is `claimed` it is that of who executes
    claims; where nobody who may decide has read, the least of the others; NaN where nobody has.
    """

    def least(names: Collection[str]) -> np.ndarray:
        rows = [by_reader[name] for name in by_reader if name in names]
        return np.fmin.reduce([np.full(len(claimed), np.nan), *rows])

    independent = least([name for name in by_reader if name not in supporting])
    found = np.where(np.isnan(independent), least(list(by_reader)), independent)
    executed = least([CLAIMS])
    return np.where(claimed & ~np.isnan(executed), executed, found)
