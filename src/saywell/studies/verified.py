"""How many descriptions are verified, by whom, and how many would be where there is nothing to find."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from saywell.report.card import VERIFIED, reader_name
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.study import Metric

if TYPE_CHECKING:
    from saywell.studies.spine import Run


def verified_metrics(run: Run, beside: pl.DataFrame | None) -> list[Metric]:
    """A figure for each describer and reader of a scored study; `beside` is table `control_scores`."""
    scores, metrics = run.study.scores, []
    pairs = scores.select("describer", "reader").unique(maintain_order=True).rows()
    several = len({describer for describer, _ in pairs}) > 1
    same = tuple(one.name for one in run.of_control) if run.of_control is not None else ()
    for describer, reader in pairs:
        own = _share_verified(scores.filter(describer=describer, reader=reader))
        controls, of, beaten = {}, "descriptions", ""
        if beside is not None and run.control is not None and (describer, reader) == same:
            found, called = _share_verified(beside), run.control.name
            controls[called] = None if np.isnan(found.value) else found.value
            of = f"descriptions; with {called} of {found.n:,}"
            if found.value >= own.value:
                beaten = f"With {called}, where there is nothing to find, as many are verified."
        caveat = run.question.caveats.get(reader, "") if describer == pairs[0][0] else ""
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
                note=" ".join(filter(None, (caveat, beaten))),
            )
        )
    return metrics


def _share_verified(scores: pl.DataFrame) -> Interval:
    return share_interval((scores["status"] == VERIFIED).cast(pl.Float64).to_numpy())
