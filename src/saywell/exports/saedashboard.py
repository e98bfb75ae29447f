"""The batches of SAEDashboard, which Neuronpedia's own tools read: batch-N.json and skipped_indexes.json."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from saywell.exports.neuronpedia_jsonl import logits
from saywell.exports.shown import Feature, Shot, Shown, exact
from saywell.exports.writing import as_json, batches

FEATURES = 128
"""Of a batch, as its runner has by default."""
WORDLESS = "{} descriptions are left out, as SAEDashboard has no place for words"
_UNKNOWN = (
    *("neuron_alignment_indices", "neuron_alignment_values", "neuron_alignment_l1"),
    *("correlated_neurons_indices", "correlated_neurons_l1", "correlated_neurons_pearson"),
    *("correlated_features_indices", "correlated_features_l1", "correlated_features_pearson"),
    "freq_hist_data_bar_values",
    *("freq_hist_data_bar_heights", "logits_hist_data_bar_heights", "logits_hist_data_bar_values"),
    *("decoder_weights_dist", "vector"),
)
"""Lists that a reader wants to be there; what a study does not know is empty."""
_STRONGEST = (-1.0, 99.0, -1.0)
"""What SAEDashboard says in place of a range of the strongest texts."""


def write_saedashboard(shown: Shown, folder: Path) -> None:
    """batch-N.json and skipped_indexes.json, of several layers in a folder for each."""
    units = shown.units
    for layer in shown.layers:
        own = folder / shown.source(layer) if len(shown.layers) > 1 else folder
        own.mkdir(parents=True, exist_ok=True)
        told = {"model_id": shown.model, "layer": layer, "sae_set": shown.source_set, "sae_id_suffix": None}
        kept: set[int] = set()
        for number, some in enumerate(batches(shown.firing(layer), FEATURES)):
            kept.update(feature.index for feature in some)
            shown.tell(WORDLESS, [feature.unit for feature in some if feature.text])
            (own / f"batch-{number}.json").write_bytes(
                as_json({**told, "features": [_entry(f, shown) for f in some]})
            )
        highest = int(units.filter(layer=layer)["index"].max())  # type: ignore[arg-type]
        skipped = sorted(set(range(highest + 1)) - kept)
        del told["sae_id_suffix"]
        entry = told | {"layer": str(layer), "log_sparsity": None, "skipped_indexes": skipped}
        (own / "skipped_indexes.json").write_bytes(as_json(entry))


def _entry(feature: Feature, shown: Shown) -> dict[str, Any]:
    lists: dict[str, Any] = {name: [] for name in _UNKNOWN} | logits(feature)
    return lists | {
        "feature_index": feature.index,
        "frac_nonzero": exact(feature.density or 0.0),
        "n_prompts_total": shown.study.examples.height,
        "n_tokens_in_prompt": shown.longest,
        "dataset": "",
        "activations": [_activation(shot) for shot in feature.shots],
    }


def _activation(shot: Shot) -> dict[str, Any]:
    low, high, share = shot.within or (_STRONGEST[0], max(shot.values), _STRONGEST[2])
    return {
        "bin_min": exact(low),
        "bin_max": exact(high),
        "bin_contains": exact(share),
        "tokens": shot.tokens,
        "values": shot.values,
        "qualifying_token_index": shot.peak,
    }
