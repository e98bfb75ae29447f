"""A run of delphi's: latents it caches and reads itself, explanations, and scores.

Texts stand one after another in rows of 256 tokens, as delphi has them: so no row is mostly padding, and
what a latent does at a token is at that token's place. The last row is filled with token 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from saywell.exports.names import file_name
from saywell.exports.shown import Shown
from saywell.exports.writing import as_json

CONTEXT = 256
MOST_CODES = 1 << 24
"""Of a file, about."""
WIDE = "Activations of {} files are float32, as float16 would lose some"


def write_delphi(shown: Shown, folder: Path) -> None:
    """latents/HOOK/START_END.safetensors and config.json, explanations/HOOK_latentN.txt."""
    from safetensors.numpy import save_file

    hook = file_name(shown.hook or "hook")
    own = folder / "latents" / hook
    own.mkdir(parents=True)
    tokens = _tokens(shown)
    files = 0
    for start, stop in _splits(shown):
        locations, values = _codes(shown, start, stop)
        small = locations.max(initial=0) < 2**16
        half = values.astype(np.float16)
        if not np.isfinite(half).all() or ((half == 0) & (values != 0)).any():
            half = values
            shown.tell(WIDE, [f"{start}_{stop - 1}"])
        arrays = {
            "locations": locations.astype(np.uint16 if small else np.uint32),
            "activations": half,
            "tokens": tokens,
        }
        save_file(arrays, own / f"{start}_{stop - 1}.safetensors")
        files += 1
    (own / "config.json").write_bytes(as_json(_config(shown, tokens, files)))
    said = folder / "explanations"
    said.mkdir()
    for feature in shown.features(None, shots=False):
        if feature.text:
            (said / f"{hook}_latent{feature.index}.txt").write_bytes(as_json(feature.text))


def _tokens(shown: Shown) -> np.ndarray:
    """Ids [rows, context] of all texts, end to end."""
    packed = shown.tokens.tokens
    assert packed is not None
    rows = -(-len(packed.ids) // CONTEXT)
    whole = np.zeros(rows * CONTEXT, dtype=np.int64)
    whole[: len(packed.ids)] = packed.ids
    return whole.reshape(rows, CONTEXT)


def _splits(shown: Shown) -> Iterator[tuple[int, int]]:
    """Stretches of latents, one after the other, each of about as many codes as a file is to have."""
    start = 0
    for places in shown.tokens.blocks_of(np.arange(shown.tokens.width), MOST_CODES):
        stop = int(places[-1]) + 1
        yield start, stop
        start = stop


def _codes(shown: Shown, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Row, position and latent (from `start`) of every code above 0, by latent; and the codes."""
    packed = shown.tokens.tokens
    assert packed is not None
    located, values = [np.zeros((0, 3), dtype=np.int64)], [np.zeros(0, dtype=np.float32)]
    for first in range(start, stop, 256):
        places = range(first, min(stop, first + 256))
        for place, fired in zip(places, shown.tokens.fired_each(list(places)), strict=True):
            at = packed.starts[fired.rows] + fired.positions
            latent = np.full(len(at), place - start)
            located.append(np.stack([at // CONTEXT, at % CONTEXT, latent], axis=1))
            values.append(fired.values)
    return np.concatenate(located), np.concatenate(values)


def _config(shown: Shown, tokens: np.ndarray, files: int) -> dict[str, Any]:
    """delphi's CacheConfig, and the model's name; the data set is the study's own."""
    return {
        "dataset_repo": shown.study.path.name,
        "dataset_split": "all",
        "dataset_name": "",
        "dataset_column": "text",
        "batch_size": 32,
        "cache_ctx_len": CONTEXT,
        "n_tokens": int(tokens.size),
        "n_splits": files,
        "model_name": str(shown.study.manifest.config.get("model") or shown.model),
    }
