"""Batches for Neuronpedia's POST /api/feature/upload-batch: files of 128 features at most, one a call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saywell.exports.shown import Feature, Shot, Shown, exact
from saywell.exports.writing import as_json, batches

MOST_FEATURES, MOST_LETTERS, MOST_LOGITS = 128, 512, 20
LONG = (
    f"{{}} descriptions have more than the {MOST_LETTERS} characters that Neuronpedia takes and are left out"
)


def write_neuronpedia(shown: Shown, folder: Path) -> None:
    """SOURCE/batch-N.json: modelId, source, and features with what each is said to be and its texts.

    A feature that fires in no text has no place there and is left out; so is a description of more than 512
    characters, as a part of it was not put to the test. The methods and models of explanations have to be
    known there by name, so none is named.
    """
    for layer in shown.layers:
        source = shown.source(layer)
        (folder / source).mkdir(parents=True)
        for number, some in enumerate(batches(shown.firing(layer), MOST_FEATURES)):
            entries = [_entry(feature, shown) for feature in some]
            whole = {"modelId": shown.model, "source": source, "features": entries}
            (folder / source / f"batch-{number}.json").write_bytes(as_json(whole))


def _entry(feature: Feature, shown: Shown) -> dict[str, Any]:
    told: dict[str, Any] = {"index": feature.index, "density": exact(feature.density or 0.0)}
    if len(feature.text) > MOST_LETTERS:
        shown.tell(LONG, [feature.unit])
    elif feature.text:
        told["explanations"] = [{"text": feature.text}]
    for name, moved in (("topLogits", feature.raises), ("bottomLogits", feature.lowers)):
        if moved:
            told[name] = [{"token": token, "value": value} for token, value in moved[:MOST_LOGITS]]
    return told | {"activations": [_activation(shot) for shot in feature.shots]}


def _activation(shot: Shot) -> dict[str, Any]:
    told: dict[str, Any] = {"tokens": shot.tokens, "values": shot.values}
    if shot.within is not None:
        low, high, share = map(exact, shot.within)
        told |= {"quantileMin": low, "quantileMax": high, "quantileFraction": share}
    return told
