"""How many descriptions are verified, by whom, and how many would be where there is nothing to find."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from saywell.report.card import VERIFIED, reader_name
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.study import Metric


def verified_metrics(
    scores: pl.DataFrame, control: pl.DataFrame | None, called: str, caveats: Mapping[str, str]
) -> list[Metric]:
    """A figure for each describer and reader; `control` has the scores of the first of each.

    `called` is what the control is; `caveats` say of a reader what has to be known.
    """
    metrics: list[Metric] = []
    pairs = scores.select("describer", "reader").unique(maintain_order=True).rows()
    several = len({describer for describer, _ in pairs}) > 1
    for describer, reader in pairs:
        own = _share_verified(scores.filter(describer=describer, reader=reader))
        controls, of = {}, "descriptions"
        if control is not None and not metrics:
            found = _share_verified(control)
            controls[called] = None if found.value != found.value else found.value
            of = f"descriptions; with {called} of {found.n:,}"
        metrics.append(
            Metric(
                name=f"verified by {reader_name(reader)}" + f", {describer}" * several,
                figure=VERIFIED,
                by={"describer": describer, "reader": reader},
                value=own.value,
                ci_low=own.low,
                ci_high=own.high,
                n=own.n,
                of=of,
                controls=controls,
                note=caveats.get(reader, "") if not several or describer == pairs[0][0] else "",
            )
        )
    return metrics


def _share_verified(scores: pl.DataFrame) -> Interval:
    return share_interval((scores["status"] == VERIFIED).cast(pl.Float64).to_numpy())
