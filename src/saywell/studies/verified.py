"""How many descriptions are verified, by whom, and how many would be where there is nothing to find."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from saywell.data.parts import SCORE
from saywell.report.card import reader_name
from saywell.report.tables import selected_descriptions, tried, verifying
from saywell.scorers.deciding import VERIFIED
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.study import Metric, deciding_rows

if TYPE_CHECKING:
    from saywell.studies.spine import Run, Subject

__all__ = ["VERIFIED", "Beside", "verified_metrics"]
TRIED, READ = "units tried", "descriptions that it read"
AS_MANY = (
    "With {} as many are verified: words can be true of such units too, and say nothing of what was learned."
)
UNASKED = "A description of the control need not point at anything, so that more of them are verified."


@dataclass(frozen=True)
class Beside:
    """A control by name, how many of its units could be described, and table `control_scores` of it.

    `placed`: whether its descriptions have to point at what is responsible, as those of units do; of shuffled
    examples there is no such thing.
    """

    name: str
    tried: int
    scores: pl.DataFrame
    placed: bool

    @staticmethod
    def of(subject: Subject, scores: pl.DataFrame) -> Beside:
        """As `tried` counts: units with exemplars, or described without."""
        units = pl.concat([subject.exemplars["unit"], scores["unit"]])
        spans = subject.exemplars.filter(pl.col("part") == SCORE)["span_end"].count()
        return Beside(subject.name, units.n_unique(), scores, bool(spans))


def verified_metrics(run: Run, controls: Sequence[Beside]) -> list[Metric]:
    """Of the units tried how many have a verified description, and one that each reader alone verifies.

    With several describers also for all that each wrote. What is not described is not verified, of the units
    and of those of the control alike.
    """
    scores, study = verifying(run.study.scores), run.study
    if scores.is_empty():
        return []
    standing = scores.filter(
        pl.col("description").is_in(selected_descriptions(study, id="id")["id"].implode())
    )
    placed, units = scores["localised"].count() > 0, tried(study)
    stood = [replace(each, scores=each.scores.filter("selected")) for each in controls]
    unasked = UNASKED if placed and stood and not stood[0].placed else ""
    figures = [_figure("verified", {}, _decided(standing), units, _by(stood, _decided), unasked)]
    readers = scores["reader"].unique(maintain_order=True).to_list()
    costly = {reader.name for reader in run.question.readers if reader.costly}
    for reader in readers if len(readers) > 1 or placed else ():
        own = standing.filter(reader=reader)
        beside = {} if reader in costly else _by(stood, lambda rows, name=reader: _alone(rows, name))
        shares = "It shares its model with the units: it supports, and does not decide."
        notes = [run.question.caveats.get(reader, ""), shares if reader in run.question.shared else ""]
        name, n = f"verified by {reader_name(reader)} alone", own.height if reader in costly else units
        figure = _figure(name, {"reader": reader}, _alone(own, reader), n, beside, *notes)
        figures.append(figure.model_copy(update={"of": READ}) if reader in costly else figure)
    describers = scores["describer"].unique(maintain_order=True).to_list()
    for describer in describers if len(describers) > 1 else ():
        wrote = [replace(each, scores=each.scores.filter(describer=describer)) for each in controls]
        found, n = _decided(scores.filter(describer=describer)), tried(study, describer)
        name = f"verified, {describer}"
        figures.append(_figure(name, {"describer": describer}, found, n, _by(wrote, _decided)))
    return figures


def _figure(
    name: str, by: Mapping[str, str], found: int, n: int, controls: Mapping[str, Interval], *notes: str
) -> Metric:
    """A share of the units tried, beside those of the controls."""
    own = _share(found, n)
    as_many = [called for called, beside in controls.items() if beside.value >= max(own.value, 1e-9)]
    return Metric(
        name=name,
        figure=VERIFIED,
        by=dict(by),
        value=own.value,
        ci_low=own.low,
        ci_high=own.high,
        n=n,
        of=TRIED,
        controls={called: beside.value if beside.n else None for called, beside in controls.items()},
        controls_n={called: beside.n for called, beside in controls.items()},
        note=" ".join([*filter(None, notes), *map(AS_MANY.format, as_many)]),
    )


def _by(controls: Sequence[Beside], count: Callable[[pl.DataFrame], int]) -> dict[str, Interval]:
    """Of each control, by name, the share of its units that were tried."""
    return {each.name: _share(count(each.scores), each.tried) for each in controls}


def _decided(scores: pl.DataFrame) -> int:
    """How many descriptions are verified."""
    return deciding_rows(scores).filter(status=VERIFIED).height


def _alone(scores: pl.DataFrame, reader: str) -> int:
    """How many are by one reader, whoever decides."""
    return scores.filter(pl.col("verifies").fill_null(False), reader=reader).height


def _share(count: int, n: int) -> Interval:
    return share_interval(np.repeat([1.0, 0.0], [count, n - count]))
