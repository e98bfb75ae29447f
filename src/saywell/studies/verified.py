"""How many descriptions are verified, by whom, and how many would be where there is nothing to find."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from saywell.report.card import reader_name
from saywell.report.tables import selected_descriptions, verifying
from saywell.scorers.deciding import VERIFIED
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.study import Metric, deciding_rows

if TYPE_CHECKING:
    from saywell.studies.spine import Run

__all__ = ["VERIFIED", "verified_metrics"]
UNASKED = "A description of the control need not point at anything, so that more of them are verified."


def verified_metrics(run: Run, beside: pl.DataFrame | None) -> list[Metric]:
    """How many of the descriptions that stand for their units are verified, and by each reader alone.

    With several describers also of all that each wrote. `beside` is table `control_scores`.
    """
    scores, caveats = verifying(run.study.scores), run.question.caveats
    if scores.is_empty():
        return []
    standing = scores.filter(
        pl.col("description").is_in(selected_descriptions(run.study, id="id")["id"].implode())
    )
    control = None if beside is None else beside.filter("selected")
    placed = scores["localised"].count() > 0
    unasked = UNASKED if placed and control is not None else ""
    figures = [_figure(run, "verified", {}, _decided(standing), _decided(control), unasked)]
    readers = scores["reader"].unique(maintain_order=True).to_list()
    if len(readers) > 1 or placed:
        for reader in readers:
            own, same = (None if t is None else t.filter(reader=reader) for t in (standing, control))
            shares = "It shares its model with the units: it supports, and does not decide."
            notes = [caveats.get(reader, ""), shares if reader in run.question.shared else ""]
            name = f"verified by {reader_name(reader)} alone"
            figures.append(_figure(run, name, {"reader": reader}, _alone(own), _alone(same), *notes))
    describers = scores["describer"].unique(maintain_order=True).to_list()
    for describer in describers if len(describers) > 1 else ():
        own, same = (None if t is None else t.filter(describer=describer) for t in (scores, beside))
        name = f"verified, {describer}"
        figures.append(_figure(run, name, {"describer": describer}, _decided(own), _decided(same)))
    return figures


def _figure(
    run: Run, name: str, by: Mapping[str, str], own: pl.Series, beside: pl.Series, *notes: str
) -> Metric:
    """A share of descriptions, beside that of the control."""
    found, controls, of = _share(own), {}, "descriptions"
    if run.control is not None and len(beside):
        control, called = _share(beside), run.control.name
        controls[called], of = control.value, f"descriptions; with {called} of {control.n:,}"
        if control.value >= found.value:
            notes = (
                *notes,
                f"With {called} as many are verified: words can be true of such units too, and say nothing of"
                " what was learned.",
            )
    return Metric(
        name=name,
        figure=VERIFIED,
        by=dict(by),
        value=found.value,
        ci_low=found.low,
        ci_high=found.high,
        n=found.n,
        of=of,
        controls=controls,
        note=" ".join(filter(None, notes)),
    )


def _decided(scores: pl.DataFrame | None) -> pl.Series:
    """Whether each description is verified."""
    return _NOBODY if scores is None else deciding_rows(scores)["status"] == VERIFIED


def _alone(scores: pl.DataFrame | None) -> pl.Series:
    """Whether each is by one reader, whoever decides."""
    return _NOBODY if scores is None else scores["verifies"].fill_null(False)


_NOBODY = pl.Series(dtype=pl.Boolean)


def _share(yes: pl.Series) -> Interval:
    return share_interval(yes.cast(pl.Float64).to_numpy())
