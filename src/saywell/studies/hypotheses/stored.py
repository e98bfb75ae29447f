"""What a study keeps of its question, so that what it says follows from its own tables."""

from __future__ import annotations

import numpy as np
import polars as pl

from saywell.data.examples import Examples
from saywell.scorers.outcomes import Outcome
from saywell.store.study import Study
from saywell.studies.hypotheses.items import Asked, Items
from saywell.studies.hypotheses.tables import ITEMS, OUTCOMES


def kept(asked: Asked) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables `outcomes` and `items`."""
    items, ids = asked.items, pl.Series(asked.examples.ids, dtype=pl.String)
    outcomes = [(each.name, each.kind, each.unit) for each in asked.outcomes]
    values = np.stack([each.values for each in asked.outcomes], axis=1)
    table = pl.DataFrame(
        {
            "item": pl.Series(items.rows).cast(pl.String),
            "first": ids.gather(items.first),
            "second": None if items.second is None else ids.gather(items.second),
            "outcomes": _lists(values),
            "covariates": _lists(asked.covariates),
            "cluster": None if asked.clusters is None else pl.Series(asked.clusters, dtype=pl.Int64),
            "rater": None if asked.raters is None else asked.raters.cast(pl.String),
        },
        schema=dict(ITEMS.columns),
    )
    return OUTCOMES.frame(outcomes), table


def stored_asked(study: Study, examples: Examples) -> Asked:
    """What `kept` was given, without its notes and names. `examples`: those of the study."""
    outcomes, table = study.table(OUTCOMES), study.table(ITEMS)
    place = pl.Series(range(len(examples)), dtype=pl.Int64)
    ids = list(examples.ids)

    def places(column: str) -> np.ndarray:
        return table[column].replace_strict(ids, place, return_dtype=pl.Int64).to_numpy()

    first = places("first")
    values = _rows(table["outcomes"], outcomes.height)
    return Asked(
        examples=examples,
        items=Items(
            first,
            None if table["second"].null_count() else places("second"),
            examples.table["part"].to_numpy()[first],
            table["item"].cast(pl.Int64).to_numpy(),
        ),
        outcomes=tuple(
            Outcome(name, kind, np.ascontiguousarray(values[:, number]), unit)
            for number, (name, kind, unit) in enumerate(outcomes.iter_rows())
        ),
        covariates=_rows(table["covariates"], len(table["covariates"][0])),
        clusters=None if table["cluster"].null_count() else table["cluster"].to_numpy(),
        raters=table["rater"] if study.manifest.config["by"] is not None else None,
    )


def _lists(values: np.ndarray) -> pl.Series:
    """A list for each row, NaN as null."""
    width = values.shape[1]
    flat = pl.Series(values.reshape(-1), dtype=pl.Float64).fill_nan(None)
    return flat.reshape((len(values), width)).arr.to_list() if width else pl.Series([[]] * len(values))


def _rows(lists: pl.Series, columns: int) -> np.ndarray:
    """What `_lists` was given."""
    if not columns:
        return np.zeros((len(lists), 0))
    return lists.explode().fill_null(float("nan")).to_numpy().reshape(len(lists), columns)
