"""How many descriptions are verified, by whom, and how many would be where nothing was learned."""

from __future__ import annotations

import numpy as np
import polars as pl

from saywell.data.parts import parts_of
from saywell.data.splits import hash_numbers
from saywell.report.card import VERIFIED, reader_name
from saywell.scorers.intervals import Interval, share_interval
from saywell.store.schemas import empty_table
from saywell.store.study import Metric, Study
from saywell.studies.neuron_descriptions import by_lift, most_lifted
from saywell.studies.neuron_scores import BY_TAGS, Described, Reading, fires_on, score_described, tag_reader
from saywell.studies.neuron_subject import Subject, Tags
from saywell.studies.score_tables import score_tables

MOST_OF_CONTROL = 1000
"""Units of the model with random weights that are scored at most."""


def score_control(
    control: Subject, descriptors: pl.DataFrame, examples: pl.DataFrame, tags: Tags, seed: int
) -> pl.DataFrame:
    """Table `control_scores`: how descriptions of the model with random weights fare, by tags.

    They are made and scored as those of the trained model are, floors and false discovery rate and
    all; of many described units, 1,000 drawn by their ids.
    """
    named = most_lifted(control.calibration)
    places = np.flatnonzero(named.any(1))
    ids = control.units["id"].to_numpy()[places].tolist()
    drawn = np.argsort(hash_numbers(ids, seed, "units of the control"), kind="stable")
    kept = np.sort(drawn[:MOST_OF_CONTROL])
    texts = descriptors["text"].to_list()
    words = [", ".join(texts[d] for d in by_lift(control.calibration, int(n), named)) for n in places[kept]]
    distinct = list(dict.fromkeys(words))
    number = {text: n for n, text in enumerate(distinct)}
    own = np.array([number[text] for text in words], dtype=np.int64)
    names = np.zeros((len(distinct), len(texts)), dtype=bool)
    names[own] = named[places[kept]]
    units = [ids[n] for n in kept]
    described = Described(places[kept], units, units, own, distinct, names)
    if not units:
        return empty_table("control_scores")
    reading = Reading(parts_of(examples), {BY_TAGS: tag_reader(tags, names)}, fires_on(control, units))
    found = score_described(reading, described, control, seed)
    scores, _ = score_tables(units, units, found)
    wanted = empty_table("control_scores").columns
    return scores.with_columns(text=pl.Series(words, dtype=pl.String)).select(wanted)


def tagged_by_itself(study: Study, model: str) -> bool:
    """Whether the encoder that tags is the model under study."""
    return study.manifest.config["encoder"] == model


def verified_metrics(scores: pl.DataFrame, control: pl.DataFrame | None, *, own_tags: bool) -> list[Metric]:
    """How many of the descriptions each reader verifies, and by tags with random weights.

    `own_tags`: the tags are by the encoder under study.
    """
    metrics = []
    for reader in scores["reader"].unique(maintain_order=True):
        own = _share_verified(scores.filter(reader=reader))
        controls, of, note = {}, "descriptions", ""
        if reader == BY_TAGS:
            note = "Verified means true of the unit, not that the model learned it."
            if own_tags:
                note = (
                    "The tagger's encoder is the model under study: tags and neurons may agree for"
                    " that reason alone. " + note
                )
            if control is not None:
                found = _share_verified(control)
                controls["random weights"] = None if np.isnan(found.value) else found.value
                of = f"descriptions; with random weights of {found.n:,}"
        metrics.append(
            Metric(
                name=f"verified by {reader_name(reader)}",
                figure=VERIFIED,
                by={"reader": reader},
                value=own.value,
                ci_low=own.low,
                ci_high=own.high,
                n=own.n,
                of=of,
                controls=controls,
                note=note,
            )
        )
    return metrics


def _share_verified(scores: pl.DataFrame) -> Interval:
    return share_interval((scores["status"] == "verified").cast(pl.Float64).to_numpy())
