"""Neuronpedia's import folder: MODEL/SOURCE, with features, activations and explanations in batches.

Where descriptions are scored, their scores are in the notes of explanations, and whole in `scores`, in the
columns of Neuronpedia's table ExplanationScore, which its import leaves alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from saywell.errors import InputError
from saywell.exports.names import identifier
from saywell.exports.shown import Feature, Shown, exact
from saywell.exports.writing import batches, write_lines

BATCH = 1024
AUTHOR = "clkht01d40000jv08hvalcvly"
"""What Neuronpedia's own scripts name as author unless told otherwise; an instance must know it."""
WITHOUT_TEXTS = "The study keeps no activations by token, so that there are descriptions and no texts."
_NOWHERE = (
    *("topkCosSimIndices", "topkCosSimValues", "neuron_alignment_indices", "neuron_alignment_values"),
    *("neuron_alignment_l1", "correlated_neurons_indices", "correlated_neurons_pearson"),
    *("correlated_neurons_l1", "correlated_features_indices", "correlated_features_pearson"),
    "correlated_features_l1",
    *("freq_hist_data_bar_heights", "freq_hist_data_bar_values", "logits_hist_data_bar_heights"),
    *("logits_hist_data_bar_values", "decoder_weights_dist", "vector"),
)


def write_neuronpedia_jsonl(shown: Shown, folder: Path) -> list[str]:
    """MODEL/SOURCE/... and config/...; gives a sentence where there are descriptions alone."""
    try:
        by_token = shown.tokens is not None
    except InputError:
        by_token = False
    types: dict[str, str] = {}
    models: dict[str, str] = {}
    for layer in shown.layers:
        own = folder / shown.model / shown.source(layer)
        _metadata(shown, layer, own)
        every = shown.features(layer, shots=by_token)
        for number, some in enumerate(batches(every, BATCH)):
            name = f"batch-{number}.jsonl.gz"
            whose = {"modelId": shown.model, "layer": shown.source(layer)}
            if by_token:
                write_lines(own / "features" / name, [_feature(one, whose, shown) for one in some])
                shots = [row for one in some for row in _activations(one, whose)]
                write_lines(own / "activations" / name, shots)
            said = [one for one in some if one.text]
            for one in said:
                types[type_name(one.describer)] = one.describer
                if one.llm:
                    models[identifier(one.llm)] = one.llm
            rows = [_explanation(one, whose) for one in said]
            write_lines(own / "explanations" / name, rows)
            scored = [
                _score(one, row["id"]) for one, row in zip(said, rows, strict=True) if _known(one.score)
            ]
            write_lines(own / "scores" / name, scored)
    write_lines(folder / "config" / "explanation_type.jsonl", explanation_types(types))
    write_lines(folder / "config" / "explanation_model_type.jsonl", explanation_models(models))
    return [] if by_token else [WITHOUT_TEXTS]


def type_name(describer: str) -> str:
    """What Neuronpedia calls a describer."""
    return f"saywell_{identifier(describer)}"


def explanation_types(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of config/explanation_type.jsonl, from names to who wrote."""
    return [
        {
            "name": name,
            "displayName": name,
            "description": f"saywell, written by {what}",
            "featured": False,
            "isAttention": False,
            "creatorName": "saywell",
            "creatorId": AUTHOR,
        }
        for name, what in sorted(names.items())
    ]


def explanation_models(names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Rows of config/explanation_model_type.jsonl, from names to language models."""
    return [
        {"name": name, "displayName": what, "description": what, "featured": False, "creatorName": "saywell"}
        for name, what in sorted(names.items())
    ]


def row_id(*parts: Any) -> str:
    """An id in the form that Neuronpedia has, the same for the same content."""
    return "c" + hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def score_words(score: Mapping[str, Any] | None, verdict: str) -> str:
    """A score in a line, as explanations carry it in their notes; empty where nothing was tested."""
    if not _known(score):
        return ""
    assert score is not None
    control = "" if score["control"] is None else f", control {score['control']:.2f}"
    low, high = score["ci_low"], score["ci_high"]
    between = "" if low is None or high is None else f" (95 % {low:.2f} to {high:.2f})"
    return f"{score['measure']} by {score['reader']} {score['value']:.2f}{between}{control}, {verdict}"


def _known(score: Mapping[str, Any] | None) -> bool:
    return score is not None and score.get("value") is not None


def _metadata(shown: Shown, layer: int, own: Path) -> None:
    """Of the release, model, source set and source, with what Neuronpedia needs to make them."""
    creator = {"creatorId": AUTHOR, "creatorName": "saywell"}
    model, source, set_ = shown.model, shown.source(layer), shown.source_set
    release = f"{model}-{set_}"
    every = {
        "release": {
            "name": release,
            "description": release,
            "descriptionShort": release,
            "urls": [],
            **creator,
        },
        "model": {
            "id": model,
            "displayNameShort": model,
            "displayName": model,
            "creatorId": AUTHOR,
            "instruct": False,
            "layers": max(shown.layers) + 1,
            "neuronsPerLayer": 0,
            "owner": "",
        },
        "sourceset": {
            "modelId": model,
            "name": set_,
            "description": set_,
            "type": str(shown.units["kind"][0]),
            "visibility": "PUBLIC",
            "releaseName": release,
            "urls": [],
            **creator,
        },
        "source": {
            "id": source,
            "modelId": model,
            "setName": set_,
            "visibility": "PUBLIC",
            "hasDashboards": True,
            "creatorId": AUTHOR,
            "num_prompts": shown.study.examples.height,
        },
    }
    for name, row in every.items():
        write_lines(own / f"{name}.jsonl", [row])


def _feature(feature: Feature, whose: Mapping[str, str], shown: Shown) -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in _NOWHERE} | logits(feature)
    return (
        {**whose, "index": str(feature.index), "creatorId": AUTHOR, "maxActApprox": exact(feature.highest)}
        | {"hasVector": False, "hookName": shown.hook, "sourceSetName": shown.source_set}
        | {"frac_nonzero": exact(feature.density or 0.0)}
        | lists
    )


def logits(feature: Feature) -> dict[str, list[Any]]:
    """The tokens that it raises and lowers, in the columns of Neuronpedia and SAEDashboard."""
    return {
        "pos_str": [token for token, _ in feature.raises],
        "pos_values": [value for _, value in feature.raises],
        "neg_str": [token for token, _ in feature.lowers],
        "neg_values": [value for _, value in feature.lowers],
    }


def _activations(feature: Feature, whose: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    for number, shot in enumerate(feature.shots):
        low, high, share = (None, None, None) if shot.within is None else map(exact, shot.within)
        yield {
            "id": row_id(*whose.values(), feature.index, number, shot.example),
            **whose,
            "index": str(feature.index),
            "creatorId": AUTHOR,
            "tokens": shot.tokens,
            "values": shot.values,
            "maxValue": max(shot.values),
            "maxValueTokenIndex": shot.peak,
            "minValue": min(shot.values),
            "dataIndex": shot.example,
            "dataSource": None,
            "dfaValues": [],
            "dfaTargetIndex": None,
            "dfaMaxValue": None,
            "lossValues": [],
            "logitContributions": None,
            "binMin": low,
            "binMax": high,
            "binContains": share,
            "qualifyingTokenIndex": shot.peak,
            "zIndices": None,
            "zValues": None,
        }


def _explanation(feature: Feature, whose: Mapping[str, str]) -> dict[str, Any]:
    said = feature.text.replace("\x00", " ")
    verdict = (feature.score or {}).get("status") or ""
    return {
        "id": row_id(*whose.values(), feature.index, said),
        **whose,
        "index": str(feature.index),
        "authorId": AUTHOR,
        "description": said,
        "typeName": type_name(feature.describer),
        "explanationModelName": identifier(feature.llm) if feature.llm else None,
        "notes": score_words(feature.score, verdict) or None,
    }


def _score(feature: Feature, explanation: str) -> dict[str, Any]:
    """A row of ExplanationScore: F1 on held-out examples by who decides, with its floor and interval."""
    score = feature.score
    assert score is not None
    names = ("status", "floor", "control", "skill", "skill_low", "skill_high", "ci_low", "ci_high", "q", "n")
    details = {name: score[name] for name in names if score.get(name) is not None}
    return {
        "id": row_id(explanation, score["reader"]),
        "explanationId": explanation,
        "value": exact(score["value"]),
        "explanationScoreTypeName": f"saywell_{score['measure']}",
        "explanationScoreModelName": f"saywell_{identifier(score['reader'])}",
        "jsonDetails": json.dumps(details),
    }
