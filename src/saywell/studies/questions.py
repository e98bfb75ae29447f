"""The questions that add something of their own to the loop, by the kind of their studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from saywell.store.study import Study
from saywell.studies import check, classes, features, hypotheses, neurons, usual
from saywell.studies.meanings import MEANINGS, Meanings
from saywell.studies.spine import Extra
from saywell.studies.token_scores import TokenScores


def own_of(study: Study) -> tuple[Sequence[Extra], Mapping[str, str]]:
    """The extras of a stored study's question, and what has to be known of each reader's verdicts."""
    config = study.manifest.config
    if study.manifest.kind == "neurons":
        return neurons.extras_of(config), neurons.caveats_of(config)
    if study.manifest.kind == "classes":
        return classes.DERIVED, {}
    if study.manifest.kind == "units":
        kept = MEANINGS.name in study.manifest.tables
        return [Meanings()] if kept else [], usual.caveats_of(config)
    if study.manifest.kind == "features":
        return features.extras_of(config), usual.caveats_of(config)
    if study.manifest.kind == "hypotheses":
        return hypotheses.extras_of(config), {}
    if study.manifest.kind == "check":
        return [TokenScores(), check.Compared(config["peaks"])], config["caveats"]
    return (), {}
